"""What all parts of preference learning speak of: segments, pairs, questions, answers, and whoever answers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from vlmrl.errors import usage_error
from vlmrl.preferences.formulas import pair_key, pixels_key

if TYPE_CHECKING:
    from vlmrl.tasks import Task


@dataclass(frozen=True, eq=False)
class Segment:
    """One or more frames of one episode, in order, with what is known of them."""

    frames: np.ndarray
    """uint8 (L, H, W, 3)."""
    embeddings: np.ndarray | None = None
    """Unit vectors of the frames, float32 (L, D)."""
    states: np.ndarray | None = None
    """Full physics states, float64 (L, S)."""
    progress: np.ndarray | None = None
    """The world's own measure of progress (L,): for oracles and tables only, never learned from."""

    @cached_property
    def key(self) -> str:
        """SHA-256 of shape and pixels: equal frames, equal key."""
        return pixels_key(self.frames)


@dataclass(frozen=True, eq=False)
class Pair:
    """Two segments to choose between; never two of the same frames."""

    first: Segment
    second: Segment

    def __post_init__(self) -> None:
        if self.first.key == self.second.key:
            raise usage_error("pair", "two segments of the same frames", "two that differ", "draw another")

    @cached_property
    def key(self) -> str:
        """Names the pair in this order; the pair turned round has another key."""
        return pair_key(self.first.key, self.second.key)

    @cached_property
    def turned(self) -> Pair:
        """The same two segments, the second first."""
        return Pair(self.second, self.first)


def segments_of(pairs: Iterable[Pair]) -> dict[str, Segment]:
    """Return the different segments of pairs by key, in the order they come."""
    return {segment.key: segment for pair in pairs for segment in (pair.first, pair.second)}


@dataclass(frozen=True)
class Question:
    """What is asked of a pair."""

    goal: str
    """The goal in words: which of the two is closer to it?"""
    baseline: str = ""
    """What is ordinary, for labellers that compare with it."""


def task_question(task: Task) -> Question:
    """Return what is asked of pairs of a task. Raises: UsageError for a task of several goal sentences."""
    if len(task.goal) != 1:
        got = f"{len(task.goal)} sentences"
        raise usage_error("goal", got, "one, which the labeller is asked", "say it in one sentence")
    return Question(task.goal[0], task.baseline[0])


@dataclass(frozen=True)
class Answer:
    """What a labeller said of one pair."""

    label: float | None
    """P(first preferred), 0..1; 0.5 is a tie; None abstains, which is no tie and is never learned from."""
    labeller: str
    """Name of who answered, e.g. encoder, chat, human, oracle."""
    reason: str = ""
    """Why it abstained, or what it said."""
    model: str = ""
    """The model behind it, e.g. an open_clip tag or a chat model's name."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """Prompt's name and everything else that the answer depends on; JSON values."""
    seconds: float = 0.0
    """Time it took."""
    tokens: int = 0
    """Tokens paid for."""
    cost: float = 0.0
    """Money paid, in the currency of the labeller's prices."""
    is_open: bool = False
    """Whether nobody answered, such as over a network that failed for good: no abstention, and never kept as an answer,
    so that the question is asked again another time."""

    def __post_init__(self) -> None:
        if self.is_open and self.label is not None:
            raise usage_error(
                "answer", f"label {self.label} of an open question", "none", "mend the labeller"
            )
        if self.label is not None and not (math.isfinite(self.label) and 0.0 <= self.label <= 1.0):
            raise usage_error(
                "label", self.label, "a number from 0 to 1, or None to abstain", "mend the labeller"
            )


@runtime_checkable
class Labeller(Protocol):
    """Answers which segment of each pair is closer to the goal.

    Attributes:
        name: who answers; part of the store's key.
        model: the model behind it, or "".
        parameters: JSON values that its answers depend on (prompt, temperature, seed, ...); the store's key holds them.
        is_deterministic: False where the same question may get another answer; may be left out otherwise.
    """

    name: str
    model: str
    parameters: dict[str, Any]

    def answer(self, pairs: Sequence[Pair], question: Question) -> list[Answer]:
        """Return an answer for each pair, in order; abstentions included, and open ones where nobody could be asked.

        Raises: UsageError for a setting that is wrong (address, key, model), and a labeller's own error where a
            budget is spent or too many answers fail; it then carries the answers that were given (`answers`).
        """
        ...


Group = Sequence[tuple[int, Answer]]
"""Answers that came together, each with the place of its pair."""


@runtime_checkable
class StreamingLabeller(Labeller, Protocol):
    """A labeller that also gives its answers as they come: the store then keeps each group as soon as it is there."""

    def stream(self, pairs: Sequence[Pair], question: Question) -> Iterator[Group]:
        """Yield groups of (place in `pairs`, answer), each pair once, in any order."""
        ...
