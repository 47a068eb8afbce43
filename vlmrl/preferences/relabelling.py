"""New rewards for everything an agent learns from, after a refit: embeddings in, rewards out, bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from vlmrl.errors import NonFiniteError, usage_error

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

CHUNK = 8192
"""Embeddings scored at once: 16 MiB at 512 dimensions."""


class RewardOfRows(Protocol):
    """What rewards rows of numbers that stand for frames: an `EmbeddingReward`, or networks that see something else."""

    def reward_of_embeddings(self, embeddings: Float[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
        """Return rewards (B,), float32, detached, of rows (B, D)."""
        ...


def relabel(
    reward: RewardOfRows, embeddings: np.ndarray, out: np.ndarray | None = None, *, chunk: int = CHUNK
) -> np.ndarray:
    """Return rewards float32 (...) of all embeddings (..., D), written into `out` if it is given.

    Every row is scored, whatever a buffer's write position, but for rows of NaN, which say that a reward shall stay as it
    is in `out` (0 without). embeddings may be float16 or memory-mapped: only `chunk` rows are turned into float32 at
    once. `out` must be an array of the embeddings' leading shape, contiguous.
    Raises: UsageError for shapes that do not fit; NonFiniteError for a reward that is not finite, `out` then being as
        it was for all rows from that chunk on.
    """
    shape = embeddings.shape[:-1]
    out = np.zeros(shape, np.float32) if out is None else out
    if out.shape != shape or not out.flags.c_contiguous or chunk < 1:
        got = f"out of shape {out.shape}, chunk {chunk}"
        raise usage_error("relabel", got, f"a contiguous out of shape {shape}, chunk >= 1", "make out anew")
    rows, flat = embeddings.reshape(-1, embeddings.shape[-1]), out.reshape(-1)
    for first in range(0, len(rows), chunk):
        part = rows[first : first + chunk].astype(np.float32)
        scored = np.flatnonzero(~np.isnan(part).all(axis=1))
        if not len(scored):
            continue
        part = part if len(scored) == len(part) else part[scored]
        scores = reward.reward_of_embeddings(torch.from_numpy(part)).cpu().numpy()
        bad = np.flatnonzero(~np.isfinite(scores))
        if len(bad):
            place = np.unravel_index(first + int(scored[bad[0]]), shape)
            step, world = int(place[0]), int(place[1]) if len(place) > 1 else 0
            raise NonFiniteError("learned reward", float(scores[bad[0]]), step, world)
        flat[first + scored] = scores
    return out


class EmbeddingRing:
    """The embeddings of a replay buffer's frames, in the buffer's own places, so that all of it can be relabelled.

    Row `pos` is written by `add` and then moves on; when the ring is full, the oldest row goes first, as in
    stable-baselines3's `ReplayBuffer` of the same capacity (in steps of N envs).

    Args:
        capacity: rows kept.
        num_envs: N.
        dim: D.
        dtype: float16 by default: unit vectors to about 3 decimals, 2 D bytes each (512 MB for 1M of D = 256).
    """

    def __init__(self, capacity: int, num_envs: int, dim: int, dtype: Any = np.float16) -> None:
        for name, value in (("capacity", capacity), ("num_envs", num_envs), ("dim", dim)):
            if value < 1:
                raise usage_error(name, value, "an integer of at least 1", "take the replay buffer's own")
        self.embeddings = np.zeros((capacity, num_envs, dim), dtype)
        self.pos, self.is_full = 0, False

    def __len__(self) -> int:
        """Return how many rows are filled."""
        return len(self.embeddings) if self.is_full else self.pos

    def add(self, embeddings: np.ndarray | torch.Tensor) -> int:
        """Write the embeddings (N, D) of one step into the next row and return its place.

        Raises: UsageError for another shape.
        """
        rows = embeddings.cpu().numpy() if isinstance(embeddings, torch.Tensor) else np.asarray(embeddings)
        if rows.shape != self.embeddings.shape[1:]:
            expected = f"shape {self.embeddings.shape[1:]}"
            raise usage_error("embeddings", f"shape {rows.shape}", expected, "give one step of all envs")
        place = self.pos
        self.embeddings[place] = rows
        self.pos = (place + 1) % len(self.embeddings)
        self.is_full |= self.pos == 0
        return place

    def relabel(self, reward: RewardOfRows, rewards: np.ndarray) -> int:
        """Write new rewards of every filled row into `rewards` (capacity, N), before and after the ring has wrapped.

        Returns how many these were, those that stay included. Raises: as `relabel`, and UsageError for `rewards` of another shape.
        """
        if rewards.shape != self.embeddings.shape[:2]:
            got, expected = f"shape {rewards.shape}", f"shape {self.embeddings.shape[:2]}"
            raise usage_error("rewards", got, expected, "pass the replay buffer's own `rewards`")
        relabel(reward, self.embeddings[: len(self)], rewards[: len(self)])
        return len(self) * rewards.shape[1]
