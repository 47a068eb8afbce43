"""A run's store as the place where pairs for a person come from, and where the answers go at once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from vlmrl.errors import usage_error
from vlmrl.preferences.human.sink import Given, Shown
from vlmrl.preferences.protocol import Answer, Labeller, Question
from vlmrl.preferences.rows import ANSWER_NAMES, UNDER, answer_key, answer_rows
from vlmrl.preferences.store import PreferenceStore

_PUT = f"""INSERT INTO answers ({ANSWER_NAMES}) SELECT {", ".join("?" * 14)}
    WHERE EXISTS (SELECT 1 FROM pairs WHERE key = ?) ON CONFLICT DO NOTHING"""


class StoreSink:
    """The pairs of a store that a person has not answered, oldest first, those that come meanwhile too.

    An answer is on the disk when `put` returns. Several processes may have the store open, a training run among them.

    Args:
        labeller: the person, as `HumanLabeller` names it: part of what an answer is kept under.
        question: what is asked of every pair.
        predictions: P(first preferred) of the model so far, by the pair's key.
        only: keys of the pairs to ask; None asks all.
    """

    def __init__(
        self,
        store: PreferenceStore,
        labeller: Labeller,
        question: Question,
        predictions: Mapping[str, float] | None = None,
        only: Iterable[str] | None = None,
    ) -> None:
        self._store, self._labeller, self._question = store, labeller, question
        self._predictions = dict(predictions or {})
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
        return Shown(pair, self._question, self._predictions.get(key))

    def put(self, key: str, answer: Answer) -> bool:
        """Keep `answer` unless the pair has one of this person, a skip included, or is not in the store."""
        (values,) = answer_rows([answer])
        with self._store.writing() as connection:
            return connection.execute(_PUT, (key, *self._key, *values, time.time(), key)).rowcount == 1

    def take_back(self, key: str) -> bool:
        """Delete the person's answer to `key`, and no other."""
        with self._store.writing() as connection:
            query = f"DELETE FROM answers WHERE pair = ? AND {UNDER}"
            return connection.execute(query, (key, *self._key)).rowcount == 1

    def given(self) -> list[Given]:
        """Return the person's answers so far, oldest first, of earlier sittings too."""
        rows = self._store.rows(f"SELECT pair, label FROM answers WHERE {UNDER} ORDER BY number", self._key)
        return [Given(key, label, self._predictions.get(key)) for key, label in rows if self._wants(key)]


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
