"""Where a learned reward gets its features and its answers from: frames that are there, or states that are drawn late."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from vlmrl.errors import EmbeddingError, usage_error
from vlmrl.rewards.protocol import EmbeddingReward, Reads, RewardModel

CHUNK = 2048
"""States drawn and scored at once: 24 MiB of frames at 64 px."""
COARSE = 64
"""Frames are thinned out to about this many pixels a side before they are averaged."""


class Source(Protocol):
    """What the networks see of a batch, and what the reward model answers."""

    reads: Reads

    def features(self, batch: np.ndarray) -> np.ndarray:
        """Return float32 (B, F)."""
        ...

    def ask(self, batch: np.ndarray) -> np.ndarray:
        """Return the reward model's answers, float32 (B,), which need not be finite."""
        ...


class FrameSource:
    """Frames uint8 (B, H, W, 3), seen by the networks as small grey pictures."""

    reads: Reads = "frames"

    def __init__(self, reward_model: RewardModel, side: int) -> None:
        self._reward_model, self._side = reward_model, side
        check_embeds(reward_model)

    def features(self, batch: np.ndarray) -> np.ndarray:
        """Return grey pictures of `side` pixels square as rows, 0..1."""
        return thumbnails(batch, self._side)

    def ask(self, batch: np.ndarray) -> np.ndarray:
        """Score frames."""
        return ask_frames(self._reward_model, batch)


class StateSource:
    """States float64 (B, S) of a World, drawn only to be asked about, or of a model that reads states itself."""

    reads: Reads = "states"

    def __init__(self, reward_model: RewardModel, world: Any = None) -> None:
        self._reward_model, self._world = reward_model, world
        check_embeds(reward_model)

    def features(self, batch: np.ndarray) -> np.ndarray:
        """Return what the World's frames can show of the states; whole states where it has no `visible_features`."""
        visible = getattr(self._world, "visible_features", None)
        return np.ascontiguousarray(batch if visible is None else visible(batch), np.float32)

    def ask(self, batch: np.ndarray) -> np.ndarray:
        """Draw and score states, in chunks."""
        parts = [np.zeros(0, np.float32)]
        for first in range(0, len(batch), CHUNK):
            part = batch[first : first + CHUNK]
            if self._reward_model.reads == "states":
                parts.append(as_numbers(self._reward_model.compute_reward(part), len(part)))
            else:
                parts.append(ask_frames(self._reward_model, self._world.render_states(part)))
        return np.concatenate(parts)


def check_embeds(reward_model: RewardModel) -> None:
    """Check that a model which reads embeddings holds the encoder that makes them. Raises: UsageError."""
    if reward_model.reads == "embeddings" and not isinstance(reward_model, EmbeddingReward):
        got = f"{type(reward_model).__name__} that reads embeddings and has no encoder"
        raise usage_error("reward_model", got, "an EmbeddingReward", "give it `encoder` and its method")


def ask_frames(reward_model: RewardModel, frames: np.ndarray) -> np.ndarray:
    """Return a model's rewards float32 (B,) of frames, which a model of embeddings has embedded first."""
    if isinstance(reward_model, EmbeddingReward) and reward_model.reads == "embeddings":
        encoder, reward = reward_model.encoder, reward_model.reward_of_embeddings
        return as_numbers(or_nan(lambda part: reward(encoder.embed_images(part)), frames), len(frames))
    return as_numbers(or_nan(reward_model.compute_reward, frames), len(frames))


def or_nan(answer: Callable[[np.ndarray], Any], batch: np.ndarray) -> Any:
    """Return the answers to a batch; NaN for rows that raise EmbeddingError.

    Only a batch that raises is split, so that whoever asked can say which row it was, or leave it out.
    """
    try:
        return answer(batch)
    except EmbeddingError:
        if len(batch) == 1:
            return np.full(1, np.nan, np.float32)
        half = len(batch) // 2
        parts = [or_nan(answer, part) for part in (batch[:half], batch[half:])]
        return np.concatenate([as_numbers(part, len(part)) for part in parts])


def as_numbers(rewards: Any, count: int) -> np.ndarray:
    """Return rewards as float32 (B,). Raises: UsageError for another number of them than was asked for."""
    if hasattr(rewards, "detach"):  # a torch tensor, maybe on an accelerator
        rewards = rewards.detach().cpu()
    found = np.asarray(rewards, np.float32)
    if found.shape != (count,):
        raise usage_error(
            "compute_reward", f"shape {found.shape}", f"shape ({count},)", "return one number a row"
        )
    return found


def thumbnails(frames: np.ndarray, side: int) -> np.ndarray:
    """Return grey pictures of frames uint8 (B, H, W, 3) as rows float32 (B, h * w), 0..1; h = min(H, side), w alike.

    Large frames are thinned out first: the pictures are to be cheap, not beautiful.
    """
    frames = np.asarray(frames)
    frames = frames[:, :: max(1, frames.shape[1] // COARSE), :: max(1, frames.shape[2] // COARSE)]
    grey = frames.mean(axis=3, dtype=np.float32) / 255.0
    for axis in (1, 2):
        length = grey.shape[axis]
        cells = min(side, length)
        starts = np.arange(cells) * length // cells
        sums = np.add.reduceat(grey, starts, axis=axis)
        sizes = np.diff([*starts, length]).astype(np.float32)
        grey = sums / sizes.reshape((-1, 1) if axis == 1 else (-1,))
    return np.ascontiguousarray(grey.reshape(len(frames), -1))
