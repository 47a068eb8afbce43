"""What a store of preferences can be asked: pairs with their frames, answers, what is pending, what it all cost."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from vlmrl.errors import usage_error
from vlmrl.preferences import schema
from vlmrl.preferences.protocol import Answer, Labeller, Pair, Question, Segment
from vlmrl.preferences.rows import COLUMNS, UNDER, Key, answer_key, answer_of, question_text


class StoreReading:
    """What a store that is written, and one that is only read, have in common; only those are made.

    Raises: StoreError (a UsageError of one line), in every method, for a disk that fails or a file that is damaged.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._connection = connection

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

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

    def kept_under(self, keys: list[str], key: Key) -> dict[str, Answer]:
        """Return the answers that are kept under an `answer_key`, by the pairs' keys."""
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


class ReadOnlyStore(StoreReading):
    """Another run's store, of which nothing is changed.

    Raises: StoreError for a file that is missing, no store, or of another version.
    """

    def __init__(self, path: str | Path, timeout_s: float = 60.0) -> None:
        super().__init__(Path(path), schema.connect(Path(path), timeout_s, reading=True))
