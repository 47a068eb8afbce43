"""Batches: frames, sentences and truths of one step, drawn from every family, made ahead on one thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor

from vlmrl.adapt.pairs import Family, Fits, Known
from vlmrl.errors import usage_error

SHIFTS = 4
"""Shifts drawn for a batch; each frame that is moved gets one of them."""


@dataclass(frozen=True)
class Batch:
    """What one step sees."""

    frames: UInt8[np.ndarray, "frames side side 3"]
    texts: list[str]
    truth: Float[np.ndarray, "frames texts"]
    """0..1; below 0 where the frame shows nothing or the words are in disorder."""
    same: Float[np.ndarray, "frames texts"]
    """1 where the sentence is one of the frame's own family (others may say it too), the frame shows nothing or the
    words are in disorder; else 0."""
    blocks: dict[str, tuple[slice, slice]]
    """Rows and columns of each family."""


@dataclass(frozen=True)
class Inputs:
    """A batch as tensors, on the CPU."""

    batch: Batch
    images: Float[Tensor, "frames 3 side side"]
    tokens: Int[Tensor, "texts length"]
    truth: Float[Tensor, "frames texts"]
    same: Float[Tensor, "frames texts"]


def split_counts(total: int, shares: Sequence[float]) -> list[int]:
    """Return how many of `total` each share gets, at least one; the last takes what is left.

    Where many small shares are rounded up to more than `total`, the largest counts give way.
    Raises: UsageError if there are more shares than that.
    """
    if total < len(shares):
        remedy = "raise --batch, --captions or --validation-frames, whichever it is"
        raise usage_error("batch", f"{total} for {len(shares)} families", "one at least for each", remedy)
    counts = [max(1, round(total * share)) for share in shares[:-1]]
    counts.append(max(1, total - sum(counts)))
    while sum(counts) > total:
        counts[counts.index(max(counts))] -= 1
    return counts


def draw_batch(
    families: Sequence[Family],
    shares: Sequence[float],
    rng: np.random.Generator,
    frames: int,
    captions: int,
    fits: Fits = lambda text: True,
    empty: float = 0.0,
    jumbled: float = 0.0,
    held_out: bool = False,
) -> Batch:
    """Draw `frames` frames, of which the share `empty` shows nothing, and sentences to judge them by.

    Of the sentences the share `jumbled` has its words in disorder.
    """
    drawn = [f.frames(rng, n, held_out) for f, n in zip(families, split_counts(frames, shares), strict=True)]
    texts: list[str] = []
    said, blocks, row = [], {}, 0
    for family, (shown, known), count in zip(families, drawn, split_counts(captions, shares), strict=True):
        own, truths = family.say(rng, known, count, fits)
        place = slice(row, row + len(shown)), slice(len(texts), len(texts) + len(own))
        blocks[family.name] = place
        said.append((place, truths))
        texts += own
        row += len(shown)
    if not texts:
        remedy = "shorten them, or use --long-captions cut"
        raise usage_error("caption", f"none short enough for {row} frames", "one at least", remedy)
    truth, same = np.zeros((row, len(texts)), np.float32), np.zeros((row, len(texts)), np.float32)
    for place, truths in said:
        truth[place], same[place] = truths, 1.0
    for family, (_, known) in zip(families, drawn, strict=True):
        _judge_others(family, known, texts, blocks[family.name], truth, same)
    all_frames = np.concatenate([shown for shown, _ in drawn])
    if empty:
        where = rng.choice(row, round(empty * row), replace=False)
        all_frames[where] = nothings(rng, all_frames[where])
        truth[where], same[where] = -1.0, 1.0
    if jumbled:
        for column in rng.choice(len(texts), round(jumbled * len(texts)), replace=False):
            words = jumble(rng, texts[column])
            if fits(words) and words not in texts:
                texts[column] = words
                truth[:, column], same[:, column] = -1.0, 1.0
    return Batch(all_frames, texts, truth, same, blocks)


def _judge_others(
    family: Family, known: list[Known], texts: list[str], place: tuple[slice, slice],
    truth: Float[np.ndarray, "frames texts"], same: Float[np.ndarray, "frames texts"],
) -> None:  # fmt: skip
    """Judge a family's frames, in place, by sentences of others that it says too: they mean the same of them."""
    rows, columns = place
    own = range(len(texts))[columns]
    column = {texts[k]: k for k in own}
    for k, text in enumerate(texts):
        if k not in own:
            found = truth[rows, column[text]] if text in column else family.judge(text, known)
            if found is not None:
                truth[rows, k], same[rows, k] = found, 1.0


def jumble(rng: np.random.Generator, text: str) -> str:
    """Return the words of a text in another order, if it has two that differ; marks stay with their words."""
    words = text.split()
    for _ in range(10):
        found = [words[i] for i in rng.permutation(len(words))]
        if found != words:
            break
    return " ".join(found)


def nothings(
    rng: np.random.Generator, frames: UInt8[np.ndarray, "n side side 3"]
) -> UInt8[np.ndarray, "n side side 3"]:
    """Draw frames of nothing: of one colour, of noise at some scale, or of the given frames' pieces, shuffled."""
    n, side = len(frames), frames.shape[1]
    out = np.empty_like(frames)
    for i in range(n):
        kind = i % 4
        colour = rng.uniform(0, 255, 3)
        if kind == 0:  # one colour, now and then one that the worlds use
            out[i] = colour if rng.random() < 0.7 else rng.choice([0, 128, 255])
        elif kind == 1:  # noise of fine grain
            out[i] = rng.uniform(0, 255, (side, side, 3))
        elif kind == 2:  # noise of coarse grain, drawn smooth
            grain = rng.uniform(0, 255, (int(rng.integers(2, 12)),) * 2 + (3,)).astype(np.uint8)
            out[i] = np.asarray(Image.fromarray(grain).resize((side, side), Image.Resampling.BICUBIC))
        else:  # a real frame's tiles out of place
            out[i] = _shuffled(frames[i], side // int(rng.choice([4, 8])), rng)
    return out


def _shuffled(frame: np.ndarray, tile: int, rng: np.random.Generator) -> np.ndarray:
    side = len(frame)
    across = side // tile
    whole = across * tile  # what is left over at the edges stays
    pieces = frame[:whole, :whole].reshape(across, tile, across, tile, 3).swapaxes(1, 2)
    pieces = pieces.reshape(-1, tile, tile, 3)[rng.permutation(across**2)]
    out = frame.copy()
    rows = pieces.reshape(across, across, tile, tile, 3).swapaxes(1, 2)
    out[:whole, :whole] = rows.reshape(whole, whole, 3)
    return out


def augment(
    frames: Float[Tensor, "batch side side 3"], rng: torch.Generator
) -> Float[Tensor, "batch side side 3"]:
    """Shift half of frames, 0..255, by up to a twentieth; brighten, tint and roughen some; in place.

    Which ones is drawn anew each time: a batch lies in the order of its families.
    """
    b, height, width, _ = frames.shape
    most = max(1, round(3 * height / 64))
    for some in torch.randperm(b, generator=rng)[: b // 2].chunk(SHIFTS):
        dx, dy = (int(torch.randint(-most, most + 1, (), generator=rng)) for _ in range(2))
        rows = (torch.arange(height) + dy).clamp(0, height - 1)
        columns = (torch.arange(width) + dx).clamp(0, width - 1)
        frames[some] = frames[some].index_select(1, rows).index_select(2, columns)
    gain = 1 + 0.12 * torch.randn(b, 1, 1, 3, generator=rng) * (torch.rand(b, 1, 1, 1, generator=rng) < 0.5)
    shift = 15 * torch.randn(b, 1, 1, 1, generator=rng) * (torch.rand(b, 1, 1, 1, generator=rng) < 0.5)
    frames.mul_(gain).add_(shift)
    rough = torch.randperm(b, generator=rng)[: b // 5]
    frames[rough] += 8 * torch.randn((len(rough), *frames.shape[1:]), generator=rng)
    return frames.clamp_(0, 255)


def to_images(
    frames: UInt8[np.ndarray, "batch side side 3"],
    mean: Sequence[float],
    std: Sequence[float],
    rng: torch.Generator | None = None,
) -> Float[Tensor, "batch 3 side side"]:
    """Return normalised images, channels last in memory; with a generator, augmented ones."""
    x = torch.as_tensor(frames).float()
    if rng is not None:
        x = augment(x, rng)
    centre, spread = 255 * torch.tensor(mean), 255 * torch.tensor(std)
    return x.sub_(centre).div_(spread).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class BatchMaker:
    """Makes the batch of a step: the same step, the same batch, so that a run resumes where it was."""

    families: Sequence[Family]
    shares: Sequence[float]
    frames: int
    captions: int
    nothings: float
    jumbles: float
    seed: int
    augment: bool
    mean: Sequence[float]
    std: Sequence[float]
    tokenize: Callable[[list[str]], Any]
    """Tokens (K, length) of texts; refuses those that are too long, if they are to be."""
    fits: Fits

    def make(self, step: int) -> Inputs:
        """Draw the batch of a training step, from 0 on."""
        rng = np.random.default_rng([self.seed, step])
        noise = torch.Generator().manual_seed(self.seed * 1_000_003 + step) if self.augment else None
        drawn = draw_batch(
            self.families,
            self.shares,
            rng,
            self.frames,
            self.captions,
            self.fits,
            self.nothings,
            self.jumbles,
        )
        return self.inputs(drawn, noise)

    def make_held_out(self, frames: int) -> Inputs:
        """Draw the batch of held-out frames that validation looks at: the same one each time."""
        rng = np.random.default_rng([self.seed, 2**31])
        drawn = draw_batch(
            self.families, self.shares, rng, frames, self.captions, self.fits, self.nothings, held_out=True
        )
        return self.inputs(drawn, None)

    def inputs(self, batch: Batch, noise: torch.Generator | None) -> Inputs:
        """Turn a batch into tensors, augmented with the generator `noise`."""
        images = to_images(batch.frames, self.mean, self.std, noise)
        truth, same = torch.as_tensor(batch.truth), torch.as_tensor(batch.same)
        return Inputs(batch, images, self.tokenize(batch.texts), truth, same)


class Ahead:
    """Makes the batch after the one in use, on a thread of its own in which torch keeps to one core.

    With more the thread and the model's own would fight over the cores (measured: worth much on two cores).
    """

    def __init__(self, make: Callable[[int], Inputs], first: int) -> None:
        """Begin to make the batch of step `first`."""
        self._threads = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(1, initializer=lambda: torch.set_num_threads(1))
        self._make, self._step = make, first
        self._waiting: Future[Inputs] = self._pool.submit(make, first)

    def next(self) -> Inputs:
        """Return the batch of the next step."""
        inputs = self._waiting.result()
        self._step += 1
        self._waiting = self._pool.submit(self._make, self._step)
        return inputs

    def close(self) -> None:
        """Stop; torch gets its threads back."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(self._threads)
