"""Stand-ins for preference learning: frames of one colour, pairs of them, labellers that count and fail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from vlmrl.preferences.oracle import OracleLabeller
from vlmrl.preferences.protocol import Answer, Group, Pair, Question, Segment

QUESTION = Question("red", "blue")


def frame(red: int, green: int = 0, side: int = 8) -> np.ndarray:
    """Return a frame uint8 (side, side, 3) of one colour."""
    return np.broadcast_to(np.array([red, green, 60], np.uint8), (side, side, 3)).copy()


def segment(*reds: int, progress: bool = True, green: int = 0, side: int = 8) -> Segment:
    """Return a segment of frames of these reds; its progress is how red they are, 0..1."""
    frames = np.stack([frame(red, green, side) for red in reds])
    return Segment(frames, progress=np.array(reds) / 255 if progress else None)


def pair(first: int, second: int, **kwargs: Any) -> Pair:
    """Return a pair of segments of one frame each."""
    return Pair(segment(first, **kwargs), segment(second, **kwargs))


def some_pairs(count: int, seed: int = 0, side: int = 8) -> list[Pair]:
    """Return `count` pairs, no two alike, of random reds."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(256 * 255, size=count, replace=False)
    firsts, seconds = chosen // 255, chosen % 255
    seconds = seconds + (seconds >= firsts)
    return [pair(int(a), int(b), side=side) for a, b in zip(firsts, seconds, strict=True)]


def count_oracle(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count how often oracles are asked each pair, by its key."""
    asked: Counter[str] = Counter()
    answer = OracleLabeller.answer

    def counted(self, pairs, question):
        asked.update(pair.key for pair in pairs)
        return answer(self, pairs, question)

    monkeypatch.setattr(OracleLabeller, "answer", counted)
    return asked


class CountingLabeller:
    """Prefer the redder first frame; remember the keys it was asked."""

    model = "counting-1"

    def __init__(self, name: str = "counting", **parameters: Any) -> None:
        self.name = name
        self.parameters = parameters
        self.asked: list[str] = []

    def label(self, pair: Pair) -> float | None:
        return float(pair.first.frames[0, 0, 0, 0] > pair.second.frames[0, 0, 0, 0])

    def answer(self, pairs: Sequence[Pair], question: Question) -> list[Answer]:
        self.asked += [pair.key for pair in pairs]
        return [Answer(self.label(p), self.name, "why", self.model, {"n": 1}, 0.5, 7, 0.01) for p in pairs]


class StreamingFake(CountingLabeller):
    """Answer one by one, backwards; fail after `until` answers."""

    def __init__(self, until: int | None = None) -> None:
        super().__init__("streaming")
        self.until = until

    def stream(self, pairs: Sequence[Pair], question: Question) -> Iterator[Group]:
        for count, place in enumerate(reversed(range(len(pairs)))):
            if count == self.until:
                raise RuntimeError("the line is dead")
            self.asked.append(pairs[place].key)
            yield [(place, Answer(self.label(pairs[place]), self.name))]


class Unreachable(CountingLabeller):
    """Leave every pair open whose key is in `lost`, at a cost of 3 tokens."""

    def __init__(self, *lost: str) -> None:
        super().__init__("unreachable")
        self.lost = set(lost)

    def answer(self, pairs: Sequence[Pair], question: Question) -> list[Answer]:
        answers = super().answer(pairs, question)
        nobody = Answer(None, self.name, "gave up", self.model, tokens=3, is_open=True)
        return [nobody if p.key in self.lost else a for p, a in zip(pairs, answers, strict=True)]


class BudgetSpent(RuntimeError):
    """What a labeller raises in the middle, with the answers given so far."""

    def __init__(self, answers: list[Answer | None]) -> None:
        super().__init__("budget spent")
        self.answers = answers
