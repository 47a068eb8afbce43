"""The answered pairs of a run, in their order, and how they are found again in its store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import overload

import numpy as np

from vlmrl.errors import usage_error
from vlmrl.preferences.protocol import Answer, Labeller, Pair, Question, Segment, segments_of
from vlmrl.preferences.rows import COLUMNS, UNDER, answer_key, answer_of
from vlmrl.preferences.store import PreferenceStore

Answered = tuple[Pair, Answer]


class AnsweredPairs(Sequence[Answered]):
    """All (pair, answer) of a run so far, abstentions included.

    Attributes: `open`, pairs that were asked and nobody answered.
    """

    def __init__(self) -> None:
        self.open: list[Pair] = []
        self._rows: list[Answered] = []
        self._segments: dict[str, Segment] = {}

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Answered: ...
    @overload
    def __getitem__(self, index: slice) -> list[Answered]: ...
    def __getitem__(self, index: int | slice) -> Answered | list[Answered]:
        return self._rows[index]

    def __iter__(self) -> Iterator[Answered]:
        return iter(self._rows)

    def add(self, answered: Iterable[Answered]) -> None:
        """Append pairs with their answers; segments of equal frames become one, the first that came."""
        self._rows += [(self._known(pair), answer) for pair, answer in answered]

    def leave_open(self, pairs: Iterable[Pair]) -> None:
        """Remember these as the pairs that nobody answered, and no others."""
        self.open = [self._known(pair) for pair in pairs]

    def _known(self, pair: Pair) -> Pair:
        return Pair(*(self._segments.setdefault(s.key, s) for s in (pair.first, pair.second)))

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return the pairs' keys, uint8 (P, 32), those of open ones, and of segments embeddings (S, L, D) with their keys.

        Frames, progress and answers are not in it: they are in the store. Embeddings are, since an encoder need not
        make the same of a frame in other company, to the last bit.
        """
        segments = [segment for segment in self._segments.values() if segment.embeddings is not None]
        state = {"pairs": _bytes([pair.key for pair, _ in self._rows])}
        if self.open:
            state["open"] = _bytes([pair.key for pair in self.open])
        if segments:
            state["segments"] = _bytes([segment.key for segment in segments])
            state["embeddings"] = np.stack([np.asarray(s.embeddings, np.float32) for s in segments])
        return state

    def load_state_dict(
        self, state: dict[str, np.ndarray], store: PreferenceStore, labeller: Labeller, question: Question
    ) -> None:
        """Take over a `state_dict`, with what `store` holds. Raises: UsageError where the store lacks a pair or answer."""
        keys = _keys(state["pairs"])
        found = store.pairs([*keys, *(_keys(state["open"]) if "open" in state else [])])
        pairs, left_open = found[: len(keys)], found[len(keys) :]
        known = (
            dict(zip(_keys(state["segments"]), state["embeddings"], strict=True))
            if "segments" in state
            else {}
        )
        self._rows, self._segments = (
            [],
            {
                key: replace(segment, embeddings=known[key].copy() if key in known else None)
                for key, segment in segments_of(found).items()
            },
        )
        answers = store.find(labeller, pairs, question)
        lacking = sum(answer is None for answer in answers)
        if lacking:
            got = f"{store.path} without {lacking} of this run's {len(pairs)} answers"
            raise usage_error("store", got, "the run's own store", "copy it back into the run folder")
        self.add((pair, answer) for pair, answer in zip(pairs, answers, strict=True) if answer is not None)
        self.leave_open(left_open)


def kept_answers(store: PreferenceStore, labeller: Labeller, question: Question) -> list[Answer]:
    """Return all answers of a labeller to a question that a store holds, without their pairs."""
    query = f"SELECT {COLUMNS} FROM answers WHERE {UNDER}"
    return [answer_of(row) for row in store.rows(query, answer_key(labeller, question))]


def failures(store: PreferenceStore, labeller: Labeller, question: Question) -> list[Answer]:
    """Return the open answers of a labeller to a question: each time that it was asked and nobody answered."""
    query = f"SELECT {COLUMNS} FROM failures WHERE {UNDER}"
    rows = store.rows(query, answer_key(labeller, question))
    return [replace(answer_of(row), is_open=True) for row in rows]


def _bytes(keys: Sequence[str]) -> np.ndarray:
    """Return hexadecimal keys as uint8 (K, 32)."""
    return np.array([list(bytes.fromhex(key)) for key in keys], np.uint8).reshape(-1, 32)


def _keys(rows: np.ndarray) -> list[str]:
    return [row.tobytes().hex() for row in rows]
