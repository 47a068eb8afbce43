"""Frames with what is true of them, and the families of them that a batch is drawn from.

Frames of one family are judged against every sentence of that family, and those of others that it says too. In a *graded* family a grammar tells how
true any sentence is of any frame; in a *captioned* one each frame has its own captions and no others are true.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from vlmrl.errors import usage_error
from vlmrl.frames import Interpolation, check_frames, resize_frames

Fits = Callable[[str], bool]
ALWAYS = -1
"""Stands for a fact, of sentences that are true of every frame."""
MAX_TRIES = 100
"""Draws of a sentence that is short enough for the text tower."""


@dataclass(frozen=True)
class Known:
    """What is known of n frames: the degrees of a grammar's facts, or each frame's captions."""

    degrees: np.ndarray | None = None
    """(n, F), 0..1."""
    captions: Sequence[Mapping[str, float]] | None = None
    """Truth by caption, 0..1, of each frame."""


class Store(Protocol):
    """A source of frames with what is known of them."""

    name: str

    @property
    def count(self) -> int:
        """Number of frames to train on; of a store that draws anew, what it stands for."""
        ...

    @property
    def held_out(self) -> int:
        """Number of frames that are never trained on."""
        ...

    def draw(self, rng: np.random.Generator, n: int, held_out: bool = False) -> tuple[np.ndarray, Known]:
        """Draw n frames uint8 (n, S, S, 3), with replacement, and what is known of them."""
        ...


class ArrayStore:
    """Frames in an array, usually memory-mapped: what is drawn is read, nothing else."""

    def __init__(
        self, name: str, frames: np.ndarray, known: Known, train: np.ndarray, held_out: np.ndarray, size: int,
        interpolation: Interpolation = "bicubic",
    ) -> None:  # fmt: skip
        """Hold frames uint8 (n, H, W, 3), drawn at `size` pixels; `train` and `held_out` are rows, disjoint."""
        self.name, self.frames, self.known, self.size = name, frames, known, size
        self.interpolation: Interpolation = interpolation
        self._rows = {False: train, True: held_out}

    @property
    def count(self) -> int:
        """Number of frames to train on."""
        return len(self._rows[False])

    @property
    def held_out(self) -> int:
        """Number of frames that are never trained on."""
        return len(self._rows[True])

    def draw(self, rng: np.random.Generator, n: int, held_out: bool = False) -> tuple[np.ndarray, Known]:
        """Draw n frames uint8 (n, S, S, 3), with replacement, and what is known of them."""
        rows = self._rows[held_out]
        return self.read(rows[rng.integers(len(rows), size=n)])

    def read(self, rows: np.ndarray) -> tuple[np.ndarray, Known]:
        """Return the frames of these rows and what is known of them."""
        frames = fit_square(self.frames[rows], self.size, self.interpolation)
        degrees, captions = self.known.degrees, self.known.captions
        if degrees is not None:
            return frames, Known(degrees=np.asarray(degrees[rows], np.float32))
        assert captions is not None
        return frames, Known(captions=[captions[row] for row in rows])

    def only(self, kept: np.ndarray) -> ArrayStore:
        """Return the same frames without those that `kept`, bool (n,), leaves out, of either part.

        Raises: UsageError if no frame is left of one of them.
        """
        parts = [rows[kept[rows]] for rows in self._rows.values()]
        if not all(len(rows) for rows in parts):
            got = f"{self.name} with {sum(map(len, parts))} frames kept"
            raise usage_error(
                "frames", got, "some to train on and some held out", "draw more, or leave less out"
            )
        return ArrayStore(
            self.name, self.frames, self.known, parts[0], parts[1], self.size, self.interpolation
        )

    def rows(self, held_out: bool) -> np.ndarray:
        """Return the rows that are never trained on, or those that are."""
        return self._rows[held_out]


def fit_square(frames: np.ndarray, size: int, interpolation: Interpolation = "bicubic") -> np.ndarray:
    """Squash frames uint8 (n, H, W, 3) to (n, size, size, 3), as an encoder of this interpolation does.

    Raises: UsageError for other arrays.
    """
    pixels = check_frames(frames)
    if not len(pixels) or pixels.shape[1:3] == (size, size):
        return pixels.numpy().reshape(-1, size, size, 3)
    resized = resize_frames(pixels, size, interpolation=interpolation)
    return resized.permute(0, 2, 3, 1).contiguous().numpy()


def split_tail(n: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to train on and the rows held out: the last `share` of n, one at least."""
    cut = min(int((1 - share) * n), n - 1)
    return np.arange(cut), np.arange(cut, n)


@dataclass(frozen=True)
class Family:
    """Stores that share a way of saying what is true: a grammar, or captions of their own."""

    name: str
    stores: tuple[Store, ...]
    grammar: Any = None
    """`vlmrl_envs.captions.Grammar`, or anything with its `draw(rng, degrees) -> sentence` (`text`, `truth(degrees)`)."""

    def frames(
        self, rng: np.random.Generator, n: int, held_out: bool = False
    ) -> tuple[np.ndarray, list[Known]]:
        """Draw n frames uint8 (n, S, S, 3); large stores give more, though not in proportion."""
        weights = np.array([max(store.count, 1) ** 0.75 for store in self.stores])
        counts = rng.multinomial(n, weights / weights.sum())
        parts = [store.draw(rng, count, held_out) for store, count in zip(self.stores, counts, strict=True)]
        return np.concatenate([frames for frames, _ in parts]), [known for _, known in parts]

    def say(
        self, rng: np.random.Generator, known: list[Known], count: int, fits: Fits
    ) -> tuple[list[str], np.ndarray]:
        """Draw sentences that `fits` finds short enough; return K texts and their truths (n, K) of the frames.

        A grammar says `count` of them, three of four with one of the frames in mind. Captions bring one of
        each frame's own, if one is short enough; equal ones are one sentence, true of every frame that has it.
        """
        if self.grammar is None:
            return _own_captions(rng, [frame for part in known for frame in part.captions or ()], fits)
        degrees = np.concatenate([part.degrees for part in known if part.degrees is not None])
        texts, truth = [], np.zeros((len(degrees), count), np.float32)
        for column in range(count):
            row = degrees[rng.integers(len(degrees))] if rng.random() < 0.75 else None
            sentence = self.grammar.draw(rng, row)
            for _ in range(MAX_TRIES):
                if fits(sentence.text):
                    break
                sentence = self.grammar.draw(rng, row)
            texts.append(sentence.text)
            truth[:, column] = sentence.truth(degrees)
        return texts, truth

    def judge(self, text: str, known: list[Known]) -> np.ndarray | None:
        """Return the truth (n,) of frames for a sentence that another family says; None if it means nothing here.

        Captions say what a frame has that of them; a grammar judges what it says by one fact, or of every frame.
        """
        if self.grammar is None:
            captions = [frame for part in known for frame in part.captions or ()]
            if not any(text in frame for frame in captions):
                return None
            return np.array([frame.get(text, 0.0) for frame in captions], np.float32)
        fact = self._facts_by_text.get(text)
        if fact is None:
            return None
        degrees = np.concatenate([part.degrees for part in known if part.degrees is not None])
        return np.ones(len(degrees), np.float32) if fact == ALWAYS else degrees[:, fact]

    @cached_property
    def _facts_by_text(self) -> dict[str, int]:
        """The fact (column) that a sentence says alone, or ALWAYS, of those that training may hear."""
        grammar = self.grammar
        if not hasattr(grammar, "wordings"):
            return {}
        found: dict[str, int] = {}
        for i in range(len(grammar.facts)):
            found |= {f"{who} {phrase}": i for who in grammar.subjects for phrase in grammar.wordings(i)}
            found |= dict.fromkeys(grammar.wordings(i, scenes=True), i)
        return found | dict.fromkeys(grammar.plain, ALWAYS)


def _own_captions(
    rng: np.random.Generator, captions: list[Mapping[str, float]], fits: Fits
) -> tuple[list[str], np.ndarray]:
    short = [[text for text in frame if fits(text)] for frame in captions]
    chosen = [own[rng.integers(len(own))] for own in short if own]
    texts = list(dict.fromkeys(chosen))
    truth = [[frame.get(text, 0.0) for text in texts] for frame in captions]
    return texts, np.array(truth, np.float32).reshape(len(captions), len(texts))


def family_shares(names: Sequence[str], wished: Mapping[str, float]) -> list[float]:
    """Return the share in a batch of each family, by its name: as wished, the rest evenly over those not named.

    Raises: UsageError if a name is unknown, or nothing is left for a family.
    """
    for name in wished:
        if name not in names:
            raise usage_error("shares", name, f"one of {', '.join(names)}", "correct the name")
    rest = 1.0 - sum(wished.values())
    others = len(names) - len(wished)
    if others and rest <= 1e-6:
        without = ", ".join(name for name in names if name not in wished)
        raise usage_error("shares", dict(wished), f"something left for {without}", "lower the shares")
    given = [wished.get(name, rest / others if others else 0.0) for name in names]
    return [share / sum(given) for share in given]
