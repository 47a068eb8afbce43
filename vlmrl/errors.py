"""One-line errors: name, what was got, what was expected, the remedy."""

from __future__ import annotations


class UsageError(ValueError):
    """Input that the caller can mend; the command line turns it into exit code 2."""


def usage_error(name: str, got: object, expected: str, remedy: str) -> UsageError:
    """Return a `UsageError` whose one line says name, got, expected and remedy.

    Source: house style (one line, no traceback needed to act on it).
    """
    text = " ".join(str(got).split())
    shown = text if len(text) <= 200 else text[:197] + "..."
    return UsageError(f"{name}: got {shown}; expected {expected}; {remedy}")


class Stopped(RuntimeError):
    """Work ended before its end for a reason that one line tells; what was done is kept, and can be gone on with."""


class EmbeddingError(FloatingPointError):
    """An encoder's embedding of some row of a batch is not finite."""


class NonFiniteError(FloatingPointError):
    """A NaN or an infinity, with its place; nothing has been learnt from it and no statistic has seen it.

    Attributes: `name`, `value`, and, where they are known, `step` and `world` (the env's index).
    """

    remedy = "mend its source, or mark the row invalid to leave it out"

    def __init__(self, name: str, value: float, step: int | None = None, world: int | None = None) -> None:
        self.name, self.value, self.step, self.world = name, value, step, world
        place, remedy = self.place(), self.remedy
        if step is None:
            remedy = "the agent is as before this update; lower the learning rate or look at the rewards"
        super().__init__(f"{name}: got {value}{place}; expected finite numbers; {remedy}")

    def place(self) -> str:
        """Return where the number was met, as it stands in the message."""
        return "" if self.step is None else f" at step {self.step}, world {self.world}"
