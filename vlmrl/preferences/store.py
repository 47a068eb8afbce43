"""The store of a run: one SQLite file that holds frames, pairs and answers, so that none is lost or paid for twice.

Frames are kept once (by the SHA-256 of their pixels), without loss. An answer is kept under all that it depends on:
the pair in its order, the question, the labeller's name, model and parameters. WAL mode; every write is one
transaction and synced; several processes may write at once.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vlmrl.errors import usage_error
from vlmrl.preferences import schema
from vlmrl.preferences.asking import answer_groups
from vlmrl.preferences.claims import claimed
from vlmrl.preferences.protocol import Answer, Labeller, Pair, Question, Segment, segments_of
from vlmrl.preferences.rows import (
    COLUMNS,
    INSERT,
    INSERT_AGAIN,
    INSERT_FAILURE,
    UNDER,
    Key,
    answer_key,
    answer_of,
    answer_rows,
    digest,
    question_text,
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


class PreferenceStore:
    """Keep frames, pairs and answers in the file `path`, which is made if there is none.

    Args:
        timeout_s: how long to wait for another process that is writing.

    Raises: StoreError (a UsageError of one line) for a file that is no store, one of another version, and, here and
        in every method, for a disk that is full or may not be written.
    """

    def __init__(self, path: str | Path, timeout_s: float = 60.0) -> None:
        self.path = Path(path)
        self._lock = threading.RLock()
        self._connection = schema.connect(self.path, timeout_s)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

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
        open is asked again by the next call; what the attempt cost is kept.
        Raises: UsageError for a labeller that returns the wrong number of answers; StoreError; what the labeller
            raises, after the answers that it carries (`answers`, in order, None where there is none) were kept.
        """
        if batch_size < 1:
            raise usage_error("batch_size", batch_size, "an integer of at least 1", "256 is a good default")
        different = {pair.key: pair for pair in pairs}
        key = answer_key(labeller, question)
        answers, opened = self._usable(list(different), key, ask_again), dict[str, Answer]()
        missing = [k for k in different if k not in answers]
        found, asked = len(answers), 0
        for first in range(0, len(missing), batch_size):
            part = missing[first : first + batch_size]
            with claimed(self._claims, (digest(k, key) for k in part)):
                answers |= self._usable(part, key, ask_again)  # another process may have answered meanwhile
                still = [different[k] for k in part if k not in answers]
                if still:
                    self.add_pairs(still)
                    opened |= self._ask_missing(labeller, still, question, key, ask_again)
                    asked += len(still)
                    answers |= self._find([pair.key for pair in still], key)
        return Asked([(opened | answers)[pair.key] for pair in pairs], asked, found)

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
        found = self._find([pair.key for pair in pairs], answer_key(labeller, question))
        return [found.get(pair.key) for pair in pairs]

    def _usable(self, keys: list[str], key: Key, ask_again: bool) -> dict[str, Answer]:
        found = self._find(keys, key)
        return {k: a for k, a in found.items() if a.label is not None} if ask_again else found

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

    # -- reading -----------------------------------------------------------------------------------------------

    def pairs(self, keys: Iterable[str] | None = None) -> list[Pair]:
        """Return the pairs of these keys, in their order, or all in the order they came.

        Raises: UsageError for a key that is not there; StoreError for frames that are damaged.
        """
        if keys is None:
            rows = self.rows("SELECT key, first, second FROM pairs ORDER BY number")
        else:
            wanted = list(keys)
            query = "SELECT key, first, second FROM pairs WHERE key IN (SELECT value FROM json_each(?))"
            ends = {row[0]: row for row in self.rows(query, [json.dumps(wanted)])}
            unknown = [k for k in wanted if k not in ends]
            if unknown:
                raise usage_error("pair", unknown[0], "a pair of this store", "take keys from this store")
            rows = [ends[k] for k in wanted]
        segments = self._segments({key for row in rows for key in row[1:]})
        return [Pair(segments[first], segments[second]) for _, first, second in rows]

    def answered(
        self, question: Question | None = None, labeller: str | None = None, *, abstained: bool = False
    ) -> list[tuple[Pair, Answer]]:
        """Return (pair, answer) in the order they came, of one question or labeller, or of all.

        Abstentions are left out unless `abstained`: they are never learned from.
        """
        where, values = ["1" if abstained else "label IS NOT NULL"], list[str]()
        if question is not None:
            where, values = (
                [*where, "question = ?"],
                [question_text(question)],
            )
        if labeller is not None:
            where, values = [*where, "labeller = ?"], [*values, labeller]
        rows = self.rows(
            f"SELECT pair, {COLUMNS} FROM answers WHERE {' AND '.join(where)} ORDER BY number", values
        )
        pairs = {p.key: p for p in self.pairs(dict.fromkeys(row[0] for row in rows))}
        return [(pairs[row[0]], answer_of(row[1:])) for row in rows]

    def pending(self, labeller: Labeller, question: Question) -> list[str]:
        """Return the keys of pairs that this labeller has not answered (nor abstained from), oldest first."""
        query = f"""SELECT key FROM pairs WHERE NOT EXISTS (SELECT 1 FROM answers WHERE pair = pairs.key AND {UNDER})
            ORDER BY number"""
        return [row[0] for row in self.rows(query, answer_key(labeller, question))]

    def totals(self) -> list[dict[str, Any]]:
        """Return what each labeller and model answered and cost: answers, abstentions, tokens, cost, seconds, failures.

        Failures are questions that nobody answered: tokens, cost and seconds are theirs too.
        """
        rows = self.rows("""SELECT labeller, model, sum(kept), sum(kept AND label IS NULL), sum(tokens), sum(cost),
                sum(seconds), sum(NOT kept)
            FROM (SELECT 1 AS kept, * FROM answers UNION ALL SELECT 0 AS kept, * FROM failures)
            GROUP BY labeller, model ORDER BY labeller, model""")
        names = ("labeller", "model", "answers", "abstentions", "tokens", "cost", "seconds", "failures")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def _segments(self, keys: Iterable[str]) -> dict[str, Segment]:
        listed = json.dumps(sorted(keys))
        rows = self.rows(
            "SELECT key, frames, progress FROM segments WHERE key IN (SELECT value FROM json_each(?))",
            [listed],
        )
        names = json.dumps(sorted({name for row in rows for name in json.loads(row[1])}))
        stored = self.rows(
            "SELECT key, height, width, data FROM frames WHERE key IN (SELECT value FROM json_each(?))",
            [names],
        )
        with schema.told_plainly(self.path):
            try:
                frames = {key: schema.unpack(data, height, width) for key, height, width, data in stored}
                found = {}
                for key, listed, progress in rows:
                    known = None if progress is None else np.array(json.loads(progress))
                    found[key] = Segment(
                        np.stack([frames[name] for name in json.loads(listed)]), progress=known
                    )
                return found
            except (ValueError, KeyError) as error:
                remedy = "copy back a backup, or import an export into a new file"
                raise usage_error("store", f"{self.path}: {error}", "whole frames", remedy) from error

    def _find(self, keys: list[str], key: Key) -> dict[str, Answer]:
        query = f"""SELECT pair, {COLUMNS} FROM answers WHERE pair IN (SELECT value FROM json_each(?))
            AND {UNDER}"""
        return {row[0]: answer_of(row[1:]) for row in self.rows(query, [json.dumps(keys), *key])}

    def _known(self, table: str, keys: list[str]) -> set[str]:
        query = f"SELECT key FROM {table} WHERE key IN (SELECT value FROM json_each(?))"
        return {row[0] for row in self.rows(query, [json.dumps(keys)])}

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query that only reads."""
        with self._lock, schema.told_plainly(self.path):
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give the connection for reading the store as it is at one moment, whatever others write meanwhile."""
        with self._lock, schema.told_plainly(self.path):
            self._connection.execute("BEGIN")
            try:
                yield self._connection
            finally:
                self._connection.execute("COMMIT")

    @property
    def _claims(self) -> Path:
        return self.path.with_name(self.path.name + "-claims")
