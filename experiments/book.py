"""The book of results: a JSON list of rows on disk that several processes fill at once, and the lock that lets them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vlmrl.checkpoints import replace_file

try:
    import fcntl
except ImportError:  # Windows: nobody is kept out
    fcntl = None  # type: ignore[assignment]

Row = dict[str, Any]


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[bool]:
    """Hold a folder, or a file that is made if need be, against other processes; the lock ends with its process.

    Yields whether it is held: where another holds it, this waits, or with wait False goes on without.
    """
    if fcntl is None:
        yield True
        return
    descriptor = os.open(path, os.O_RDONLY | (0 if path.is_dir() else os.O_CREAT), 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        held = True
    except BlockingIOError:
        held = False
    except BaseException:
        os.close(descriptor)
        raise
    try:
        yield held
    finally:
        os.close(descriptor)


class Book:
    """A JSON list of rows on disk, kept whole whatever is killed when.

    It is read anew before each answer and each change, so that experiments may fill it side by side.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def rows(self) -> list[Row]:
        """The rows on disk now."""
        return json.loads(self.path.read_text()) if self.path.exists() else []

    def matching(self, **keys: Any) -> list[Row]:
        """Return the rows with these values."""
        return [row for row in self.rows if _matches(row, keys)]

    def has(self, **keys: Any) -> bool:
        """Tell whether a row with these values is there."""
        return bool(self.matching(**keys))

    def add(self, row: Row, **instead_of: Any) -> None:
        """Append a row, in place of those with the given values if any."""
        self.change(
            lambda rows: [*(old for old in rows if not instead_of or not _matches(old, instead_of)), row]
        )

    def change(self, changed: Callable[[list[Row]], list[Row]]) -> None:
        """Write the file anew, atomically, with what `changed` makes of its rows, while no other process changes it."""
        with self.held():
            before = self.rows
            after = changed(before)
            if after != before:
                replace_file(self.path, (json.dumps(after, indent=1) + "\n").encode())

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from all books of this one's folder, and from what is written of them; not reentrant."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with locked(self.path.parent):
            yield


def _matches(row: Row, keys: dict[str, Any]) -> bool:
    return all(row.get(name) == value for name, value in keys.items())
