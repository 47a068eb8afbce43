"""The store of a run: one SQLite file that holds frames, pairs and answers, so that none is lost or paid for twice.

Frames are kept once (by the SHA-256 of their pixels), without loss. An answer is kept under all that it depends on:
the pair in its order, the question, the labeller's name, model and parameters. WAL mode; every write is one
transaction and synced; several processes may write at once.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vlmrl.errors import usage_error
from vlmrl.preferences import schema
from vlmrl.preferences.asking import answer_groups, is_deterministic
from vlmrl.preferences.claims import claimed
from vlmrl.preferences.protocol import Answer, Labeller, Pair, Question, segments_of
from vlmrl.preferences.reading import StoreReading
from vlmrl.preferences.rows import (
    INSERT,
    INSERT_AGAIN,
    INSERT_FAILURE,
    Key,
    answer_key,
    answer_rows,
    digest,
    segment_row,
)
from vlmrl.preferences.schema import StoreError

STORE = "preferences.sqlite"
"""The store's name in a run folder."""
PREDICTIONS = "predictions.json"
"""The file beside it with P(first preferred) of each pair, by the reward learned last."""


@dataclass(frozen=True)
class Asked:
    """What `PreferenceStore.ask` found and asked."""

    answers: list[Answer]
    """One for each pair, in order; open ones are not in the store."""
    asked: int
    """Different pairs that the labeller was asked now."""
    found: int
    """Different pairs whose answer was in the store."""
    reused: int = 0
    """Different pairs whose answer was taken over from elsewhere."""


Elsewhere = Callable[[list[str], Key], dict[str, Answer]]
"""Finds answers that are kept under a key elsewhere, by the pairs' keys."""


class PreferenceStore(StoreReading):
    """Keep frames, pairs and answers in the file `path`, which is made if there is none.

    Args:
        timeout_s: how long to wait for another process that is writing.
        elsewhere: finds answers to pairs' keys that others were given under the same key (`KnownAnswers.find`).

    Raises: StoreError (a UsageError of one line) for a file that is no store, one of another version, and, here and
        in every method, for a disk that is full or may not be written.
    """

    def __init__(
        self, path: str | Path, timeout_s: float = 60.0, *, elsewhere: Elsewhere | None = None
    ) -> None:
        super().__init__(Path(path), schema.connect(Path(path), timeout_s))
        self._elsewhere = elsewhere

    def __enter__(self) -> PreferenceStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- asking ------------------------------------------------------------------------------------------------

    def ask(
        self,
        labeller: Labeller,
        pairs: Sequence[Pair],
        question: Question,
        *,
        batch_size: int = 256,
        ask_again: bool = False,
    ) -> Asked:
        """Answer pairs from the store, and ask the labeller only for what is not there, each different pair once.

        Each batch of answers is kept as soon as it is there; of a `StreamingLabeller` each group. Of two processes
        that want the same, one asks. `ask_again` asks once more where the labeller abstained. A question that stayed
        open is asked again by the next call; what the attempt cost is kept. What a deterministic labeller said elsewhere
        is taken over before it is asked.
        Raises: UsageError for a labeller that returns the wrong number of answers; StoreError; what the labeller
            raises, after the answers that it carries (`answers`, in order, None where there is none) were kept.
        """
        if batch_size < 1:
            raise usage_error("batch_size", batch_size, "an integer of at least 1", "256 is a good default")
        different = {pair.key: pair for pair in pairs}
        key = answer_key(labeller, question)
        answers, opened = self._usable(list(different), key, ask_again), dict[str, Answer]()
        missing = [k for k in different if k not in answers]
        found, asked, reused = len(answers), 0, 0
        for first in range(0, len(missing), batch_size):
            part = missing[first : first + batch_size]
            with claimed(self._claims, (digest(k, key) for k in part)):
                answers |= self._usable(part, key, ask_again)  # another process may have answered meanwhile
                still = [different[k] for k in part if k not in answers]
                if still:
                    self.add_pairs(still)
                    answers |= (taken := self._take_over(labeller, still, key, ask_again))
                    still, reused = [pair for pair in still if pair.key not in taken], reused + len(taken)
                if still:
                    opened |= self._ask_missing(labeller, still, question, key, ask_again)
                    asked += len(still)
                    answers |= self.kept_under([pair.key for pair in still], key)
        return Asked([(opened | answers)[pair.key] for pair in pairs], asked, found, reused)

    def record(
        self, labeller: Labeller, pairs: Sequence[Pair], question: Question, answers: Sequence[Answer]
    ) -> None:
        """Keep answers that were got elsewhere, in one transaction; where one is kept already, that one stays.

        (An abstention gives way to a label.)
        """
        if len(pairs) != len(answers):
            raise usage_error("answers", len(answers), f"{len(pairs)}, one for each pair", "give all of them")
        self.add_pairs(pairs)
        self._write([(p.key, a) for p, a in zip(pairs, answers, strict=True)], answer_key(labeller, question))

    def find(self, labeller: Labeller, pairs: Sequence[Pair], question: Question) -> list[Answer | None]:
        """Return the answers that are in the store, None where there is none; nobody is asked."""
        found = self.kept_under([pair.key for pair in pairs], answer_key(labeller, question))
        return [found.get(pair.key) for pair in pairs]

    def _usable(self, keys: list[str], key: Key, ask_again: bool) -> dict[str, Answer]:
        found = self.kept_under(keys, key)
        return {k: a for k, a in found.items() if a.label is not None} if ask_again else found

    def _take_over(
        self, labeller: Labeller, pairs: list[Pair], key: Key, ask_again: bool
    ) -> dict[str, Answer]:
        """Keep, and return, what was answered elsewhere: of a labeller that would say the same again."""
        if self._elsewhere is None or not is_deterministic(labeller):
            return {}
        found = self._elsewhere([pair.key for pair in pairs], key)
        taken = {k: a for k, a in found.items() if a.label is not None or not ask_again}
        self._write(list(taken.items()), key)
        return taken

    def _ask_missing(
        self, labeller: Labeller, pairs: list[Pair], question: Question, key: Key, again: bool
    ) -> dict[str, Answer]:
        """Ask, keep what comes, and return what stayed open."""
        opened: dict[str, Answer] = {}
        for group in answer_groups(labeller, pairs, question):
            named = [(pairs[place].key, answer) for place, answer in group]
            opened |= {name: answer for name, answer in named if answer.is_open}
            self._write(named, key, again)
        return opened

    # -- writing -----------------------------------------------------------------------------------------------

    def add_pairs(self, pairs: Iterable[Pair]) -> None:
        """Keep pairs with their frames, in one transaction; those that are there stay as they are."""
        pairs = list({pair.key: pair for pair in pairs}.values())
        known = self._known("pairs", [pair.key for pair in pairs])
        pairs = [pair for pair in pairs if pair.key not in known]
        segments = segments_of(pairs)
        known = self._known("segments", list(segments))
        frames: dict[str, np.ndarray] = {}
        rows = [segment_row(segment, frames) for key, segment in segments.items() if key not in known]
        known = self._known("frames", list(frames))  # frames are content-addressed: those are whole and stay
        packed = [
            (key, *frame.shape[:2], schema.pack(frame)) for key, frame in frames.items() if key not in known
        ]
        with self.writing() as connection:
            connection.executemany("INSERT OR IGNORE INTO frames VALUES (?, ?, ?, ?)", packed)
            connection.executemany("INSERT OR IGNORE INTO segments VALUES (?, ?, ?)", rows)
            connection.executemany(
                "INSERT OR IGNORE INTO pairs (key, first, second) VALUES (?, ?, ?)",
                [(pair.key, pair.first.key, pair.second.key) for pair in pairs],
            )

    def _write(self, answers: list[tuple[str, Answer]], key: Key, again: bool = False) -> None:
        values, now = answer_rows([answer for _, answer in answers]), time.time()
        rows: dict[bool, list[Any]] = {False: [], True: []}
        for (pair, answer), value in zip(answers, values, strict=True):
            rows[answer.is_open].append((pair, *key, *value, now))
        try:
            with self.writing() as connection:
                connection.executemany(INSERT_AGAIN if again else INSERT, rows[False])
                connection.executemany(INSERT_FAILURE, rows[True])
        except StoreError as error:
            raise StoreError(str(error), [answer for _, answer in answers]) from error

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Give the connection for one transaction: all that is written inside, or nothing."""
        with self._lock, schema.told_plainly(self.path), schema.transaction(self._connection):
            yield self._connection

    @contextmanager
    def attached(self, other: Path) -> Iterator[sqlite3.Connection]:
        """Give the connection for one transaction, with the store at `other` as "other"."""
        with self._lock, schema.told_plainly(self.path):
            self._connection.execute("ATTACH DATABASE ? AS other", (str(other),))
            try:
                with schema.transaction(self._connection):
                    yield self._connection
            finally:
                self._connection.execute("DETACH DATABASE other")

    @property
    def _claims(self) -> Path:
        return self.path.with_name(self.path.name + "-claims")
