"""Where pairs for a person come from and where the answers go: a small protocol, and one kept in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from vlmrl.preferences.protocol import Answer, Pair, Question


@dataclass(frozen=True, eq=False)
class Shown:
    """What a person is asked."""

    pair: Pair
    """The two segments."""
    question: Question
    """The goal."""
    prediction: float | None = None
    """P(first preferred) of the model so far, or None; shown to nobody before the answer."""


@dataclass(frozen=True)
class Given:
    """An answer that was given."""

    key: str
    """The pair's key."""
    label: float | None
    """P(first preferred); None: skipped."""
    prediction: float | None = None
    """P(first preferred) of the model as it was before the answer, or None."""


class AnswerSink(Protocol):
    """Holds pairs and keeps answers. Called by one thread at a time; each method is done when it returns."""

    def pending(self) -> Sequence[str]:
        """Return the keys of the pairs without an answer, in the order to ask them."""
        ...

    def shown(self, key: str) -> Shown:
        """Return what to show of the pair `key`. Raises: KeyError if there is none."""
        ...

    def put(self, key: str, answer: Answer) -> bool:
        """Keep `answer` for good; return False, and keep nothing, if the pair has one. Raises: OSError."""
        ...

    def take_back(self, key: str) -> bool:
        """Make the pair `key` pending again; return False if it had no answer. Raises: OSError."""
        ...

    def given(self) -> Sequence[Given]:
        """Return the answers given so far, oldest first, those taken back left out."""
        ...


class MemorySink:
    """Pairs and answers in memory, for one session."""

    def __init__(
        self, pairs: Sequence[Pair], question: Question, predictions: Mapping[str, float] | None = None
    ) -> None:
        """Ask `pairs`, equal ones once; predictions: P(first preferred) of the model so far, by the pair's key."""
        known = predictions or {}
        self._pairs = {pair.key: Shown(pair, question, known.get(pair.key)) for pair in pairs}
        self.answers: dict[str, Answer] = {}

    def pending(self) -> list[str]:
        """Return the keys of the pairs without an answer."""
        return [key for key in self._pairs if key not in self.answers]

    def shown(self, key: str) -> Shown:
        """Return what to show of the pair `key`."""
        return self._pairs[key]

    def put(self, key: str, answer: Answer) -> bool:
        """Keep `answer` unless there is one."""
        return self.answers.setdefault(key, answer) is answer

    def take_back(self, key: str) -> bool:
        """Drop the answer of `key`."""
        return self.answers.pop(key, None) is not None

    def given(self) -> list[Given]:
        """Return the answers so far, oldest first."""
        return [Given(key, a.label, self._pairs[key].prediction) for key, a in self.answers.items()]
