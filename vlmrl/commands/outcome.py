"""What a command gives back, and how it is shown to people."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

if TYPE_CHECKING:
    from vlmrl.progress import ProgressPrinter

RunPath = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
Which = Literal["latest", "best"]


@dataclass(frozen=True)
class Outcome:
    """What a command found."""

    result: Any
    """As JSON values."""
    text: str
    """For people."""
    code: int = 0
    """Exit code: 0 done, 1 not."""


def rows(result: dict[str, Any]) -> str:
    """Return a result for people: a line for each entry, values in a column."""
    width = max(map(len, result), default=0)
    return "\n".join(f"{key:{width}}  {_shown(value)}" for key, value in result.items())


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(map(_shown, value)) if isinstance(value, (list, tuple)) else str(value)


def say(text: str) -> None:
    """Print a line for people to standard error."""
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def progress_line(interrupted: Callable[[], str], **options: Any) -> Iterator[ProgressPrinter]:
    """Show progress on a line of its own; after Ctrl-C say what `interrupted` returns, and raise it again."""
    from vlmrl.progress import ProgressPrinter

    printer = ProgressPrinter(sys.stderr, **options)
    try:
        yield printer
    except KeyboardInterrupt:
        printer.close()
        say(interrupted())
        raise
    finally:
        printer.close()
