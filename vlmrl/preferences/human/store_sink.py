"""A run's store as the place where pairs for a person come from, and where the answers go at once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from vlmrl.errors import usage_error
from vlmrl.preferences.human.sink import Given, Shown
from vlmrl.preferences.protocol import Answer, Labeller, Question
from vlmrl.preferences.rows import ANSWER_NAMES, UNDER, answer_key, answer_rows
from vlmrl.preferences.store import PreferenceStore

PREDICTED = "predicted"
"""Where a person's answer says what the model predicted before it."""
_PUT = f"""INSERT INTO answers ({ANSWER_NAMES}) SELECT {", ".join("?" * 14)}
    WHERE EXISTS (SELECT 1 FROM pairs WHERE key = ?) ON CONFLICT DO NOTHING"""


class StoreSink:
    """The pairs of a store that a person has not answered, oldest first, those that come meanwhile too.

    An answer is on the disk when `put` returns. Several processes may have the store open, a training run among them.
    What a model predicted of a pair is settled before the person answers it, and kept with the answer: a model that
    learned from the answer later is never asked, nor after an undo.

    Args:
        labeller: the person, as `HumanLabeller` names it: part of what an answer is kept under.
        question: what is asked of every pair.
        predict: P(first preferred) of the model so far, of a pair's key, or None.
        only: keys of the pairs to ask; None asks all.
    """

    def __init__(
        self,
        store: PreferenceStore,
        labeller: Labeller,
        question: Question,
        predict: Callable[[str], float | None] = lambda key: None,
        only: Iterable[str] | None = None,
    ) -> None:
        self._store, self._labeller, self._question = store, labeller, question
        self._predict, self._foreseen = predict, dict[str, float | None]()
        self._only = None if only is None else set(only)

    @property
    def _key(self) -> tuple[str, str, str, str]:
        return answer_key(self._labeller, self._question)

    def pending(self) -> list[str]:
        """Return the keys of the pairs without an answer of this person."""
        keys = self._store.pending(self._labeller, self._question)
        return [key for key in keys if self._wants(key)]

    def _wants(self, key: str) -> bool:
        return self._only is None or key in self._only

    def shown(self, key: str) -> Shown:
        """Return the pair `key` with its frames. Raises: KeyError; StoreError for frames that are damaged."""
        if not self._store.rows("SELECT 1 FROM pairs WHERE key = ?", [key]):
            raise KeyError(key)
        (pair,) = self._store.pairs([key])
        return Shown(pair, self._question, self._prediction(key))

    def _prediction(self, key: str) -> float | None:
        """Return what was predicted when the pair was first seen here, unanswered."""
        if key not in self._foreseen:
            self._foreseen[key] = self._predict(key)
        return self._foreseen[key]

    def put(self, key: str, answer: Answer) -> bool:
        """Keep `answer` unless the pair has one of this person, a skip included, or is not in the store."""
        foreseen = {PREDICTED: self._prediction(key)}
        (values,) = answer_rows([replace(answer, parameters={**answer.parameters, **foreseen})])
        with self._store.writing() as connection:
            return connection.execute(_PUT, (key, *self._key, *values, time.time(), key)).rowcount == 1

    def take_back(self, key: str) -> bool:
        """Delete the person's answer to `key`, and no other; what was predicted before it stays."""
        self._foreseen |= {given.key: given.prediction for given in self.given() if given.key == key}
        with self._store.writing() as connection:
            query = f"DELETE FROM answers WHERE pair = ? AND {UNDER}"
            return connection.execute(query, (key, *self._key)).rowcount == 1

    def given(self) -> list[Given]:
        """Return the person's answers so far, oldest first, of earlier sittings too."""
        query = f"SELECT pair, label, json_extract(answered_parameters, '$.{PREDICTED}') FROM answers WHERE {UNDER}"
        rows = self._store.rows(f"{query} ORDER BY number", self._key)
        return [Given(*row) for row in rows if self._wants(row[0])]


class PredictionFile:
    """What a run's reward says of its pairs, read again whenever the run has written it again."""

    def __init__(self, path: Path) -> None:
        """Read the file; a run that has not learned yet has none. Raises: UsageError for one that holds something else."""
        self._path, self._read_at = path, self._written_at(path)
        self._known = read_predictions(path)

    def of(self, key: str) -> float | None:
        """Return P(first preferred) of a pair's key, or None where nothing is said of it."""
        now = self._written_at(self._path)
        if now != self._read_at:
            self._read_at, self._known = now, read_predictions(self._path)
        return self._known.get(key)

    @staticmethod
    def _written_at(path: Path) -> int:
        try:
            return path.stat().st_mtime_ns
        except FileNotFoundError:
            return 0


def read_predictions(path: Path) -> dict[str, float]:
    """Return P(first preferred) by pair key as a run wrote it to `path`; {} where it wrote none.

    Raises: UsageError for a file that holds something else.
    """
    try:
        content = json.loads(path.read_bytes())
        return {str(key): float(value) for key, value in content.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        remedy = "remove it: the run's next refit writes it again"
        raise usage_error(
            "predictions", f"{path} ({error})", "pair keys with probabilities", remedy
        ) from error
