"""Answers that other runs were given: the same question is not paid for twice, whichever run asked it first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vlmrl.errors import usage_error
from vlmrl.preferences.protocol import Answer
from vlmrl.preferences.reading import ReadOnlyStore
from vlmrl.preferences.rows import REUSED, Key
from vlmrl.preferences.store import STORE


class KnownAnswers:
    """Look for answers in the stores of other runs, which are only read.

    Args:
        paths: stores, or run folders that hold one; the first that knows an answer is believed.

    Raises: UsageError for a path without a store; StoreError for a file that is none, or of another version.
    """

    def __init__(self, paths: Sequence[str | Path]) -> None:
        self._files = [_store_file(Path(path)) for path in paths]
        self._stores: list[ReadOnlyStore] = []
        self._open()  # what is wrong with one is said before anything is asked
        self.close()

    def find(self, pairs: list[str], key: Key) -> dict[str, Answer]:
        """Return the answers kept under `key` of these pairs, by the pair's key.

        Nobody is paid for them again: they cost nothing here, and say in their parameters where they are from.
        """
        self._open()
        found: dict[str, Answer] = {}
        for store in self._stores:
            missing = [pair for pair in pairs if pair not in found]
            found |= {
                pair: replace(
                    answer, parameters={**answer.parameters, REUSED: str(store.path)}, seconds=0.0, tokens=0, cost=0.0
                )
                for pair, answer in store.kept_under(missing, key).items()
            }  # fmt: skip
        return found

    def close(self) -> None:
        """Close the stores; `find` opens them again."""
        for store in self._stores:
            store.close()
        self._stores = []

    def _open(self) -> None:
        if not self._stores:
            self._stores = [ReadOnlyStore(file) for file in self._files]


def _store_file(path: Path) -> Path:
    file = path / STORE if path.is_dir() else path
    if not file.is_file():
        expected = f"a store, or a run folder with {STORE}"
        raise usage_error("preferences.known", path, expected, "check the path, or leave it out")
    return file
