"""What a reward model has answered so far: a bounded store to learn from, and the record of how well it was predicted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vlmrl.errors import usage_error
from vlmrl.ranks import spearman

LEVELS = 16
"""Levels of reward, equally wide, that answers are dropped by."""


class Answers:
    """Keep up to `size` rows of (features, reward), float32, of all levels of reward.

    When it is full, a new row takes the place of one drawn at random among those of the fullest levels, so that what is
    rare (the goal, at first; the start, at last) stays known.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._features = np.zeros((0, 0), np.float32)
        self._rewards = np.zeros(size, np.float32)
        self._rounds = np.zeros(size, np.int64)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def features(self) -> np.ndarray:
        """Return the features (R, F) that are kept; a view."""
        return self._features[: self._count]

    @property
    def rewards(self) -> np.ndarray:
        """Return the answers (R,) that are kept; a view."""
        return self._rewards[: self._count]

    @property
    def rounds(self) -> np.ndarray:
        """Return the round (R,) in which each was added; a view."""
        return self._rounds[: self._count]

    def add(
        self, features: np.ndarray, rewards: np.ndarray, round_index: int, rng: np.random.Generator
    ) -> None:
        """Take rows (R, F), (R,) in.

        Raises: UsageError for features of another number than before.
        """
        if not len(features):
            return
        if not self._features.size:
            self._features = np.zeros((self.size, features.shape[1]), np.float32)
        if features.shape[1] != self._features.shape[1]:
            expected = f"{self._features.shape[1]}, as before"
            remedy = "make a learned reward for each kind of env"
            raise usage_error("features", f"{features.shape[1]} columns", expected, remedy)
        if len(features) > self.size:
            kept = np.sort(rng.choice(len(features), self.size, replace=False))
            features, rewards = features[kept], rewards[kept]
        free = min(self.size - self._count, len(features))
        victims = self._victims(len(features) - free, rng)
        places = np.concatenate([np.arange(self._count, self._count + free), victims])
        self._count += free
        self._features[places], self._rewards[places] = features, rewards
        self._rounds[places] = round_index

    def _victims(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Draw `count` rows to be given up, from the fullest levels of reward."""
        if count == 0:
            return np.zeros(0, int)
        low, high = float(self.rewards.min()), float(self.rewards.max())
        levels = np.zeros(self._count, int)
        if high > low:
            levels = np.minimum(((self.rewards - low) / (high - low) * LEVELS).astype(int), LEVELS - 1)
        quota = level_quota(np.bincount(levels, minlength=LEVELS), self._count - count)
        order = np.lexsort((rng.random(self._count), levels))  # by level, in random order within
        ordered = levels[order]
        starts = np.searchsorted(ordered, np.arange(LEVELS))
        rank = np.arange(self._count) - starts[ordered]
        return order[rank >= quota[ordered]]

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of what is kept."""
        return {
            "features": self.features.copy(),
            "rewards": self.rewards.copy(),
            "rounds": self.rounds.copy(),
        }

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Take over a `state_dict`. Raises: UsageError for more rows than this store may hold."""
        features, count = state["features"], len(state["rewards"])
        if count > self.size:
            raise usage_error("store_size", self.size, f"room for {count} answers", "take the run's own size")
        self._features = np.zeros((self.size, features.shape[1]) if count else (0, 0), np.float32)
        self._count = count
        self._features[:count] = features
        self._rewards[:count], self._rounds[:count] = state["rewards"], state["rounds"]


def level_quota(counts: np.ndarray, total: int) -> np.ndarray:
    """Return how many of `counts` (L,) to keep so that `total` remain in all, taken off the largest only."""
    keep = counts.copy()
    low, high = 0, int(counts.max(initial=0))
    while low < high:  # the lowest cap that leaves `total` or more
        cap = (low + high) // 2
        low, high = (low, cap) if np.minimum(counts, cap).sum() >= total else (cap + 1, high)
    keep = np.minimum(counts, low)
    for level in np.flatnonzero(keep == low)[: int(keep.sum() - total)]:
        keep[level] -= 1
    return keep


class Record:
    """Remember what was predicted of states drawn at random, before their answers were learned from.

    `window` rows of (prediction, answer) for error and rank correlation; of the last `rounds` rounds the means of
    (estimate, answer), the estimate being what the agent gets, for the comparison of trends.
    """

    def __init__(self, window: int, rounds: int) -> None:
        self.window, self.rounds = window, rounds
        self.rows = np.zeros((0, 2))
        self.means = np.zeros((0, 2))

    def add(self, rows: np.ndarray) -> None:
        """Take a round's random share in: rows (R, 3) of (estimate, prediction, answer)."""
        if not len(rows):
            return
        self.rows = np.concatenate([self.rows, rows[:, 1:]])[-self.window :]
        self.means = np.concatenate([self.means, rows[:, [0, 2]].mean(axis=0)[None]])[-self.rounds :]

    def bias(self) -> float | None:
        """Return the mean of prediction less answer; None before there are any."""
        return float((self.rows[:, 0] - self.rows[:, 1]).mean()) if len(self.rows) else None

    def rmse(self) -> float | None:
        """Return the root mean squared error of the predictions, in units of reward; None before there are any."""
        return float(np.sqrt(np.square(self.rows[:, 0] - self.rows[:, 1]).mean())) if len(self.rows) else None

    def rank_correlation(self) -> float | None:
        """Return Spearman's rank correlation of predictions and answers; None where either does not vary."""
        return spearman(self.rows[:, 0], self.rows[:, 1]) if len(self.rows) >= 3 else None

    def parting(self, resolution: float) -> Parting | None:
        """Compare the newer half of the rounds with the older; None before there are enough."""
        if len(self.means) < self.rounds:
            return None
        half = self.rounds // 2
        return compare_trends(self.means[:half], self.means[half:], resolution)


class Parting(NamedTuple):
    """How learned and true reward moved from the older to the newer rounds."""

    parted: bool
    """The learned reward rose, or the true one fell, the other did not follow, and chance does not explain it."""
    learned: float
    """Rise of the learned reward."""
    true: float
    """Rise of the reward model's own answers on the same states."""


FOLLOWS = 0.25
"""A true reward that rises by less than this part of the learned one's rise stays behind."""
SURE = 3.0
"""Standard errors beyond which a difference is no chance."""


def compare_trends(older: np.ndarray, newer: np.ndarray, resolution: float) -> Parting:
    """Tell whether estimates and answers part, from the rounds' means (H, 2) and (H, 2) of (estimate, answer).

    They part where one moves and the other does not follow by a quarter of it: the estimates rise, or the answers fall. The
    move must exceed `resolution`, and it and the growth of the gap three standard errors over rounds (rows of one round
    depend on another).
    """
    learned, true = newer.mean(axis=0) - older.mean(axis=0)
    gap = learned - true
    rises = learned > max(resolution, SURE * _error(older[:, 0], newer[:, 0]))
    grows = gap > SURE * _error(older[:, 0] - older[:, 1], newer[:, 0] - newer[:, 1])
    falls = -true > max(resolution, SURE * _error(older[:, 1], newer[:, 1]))
    parted = grows and ((rises and true < FOLLOWS * learned) or (falls and learned > FOLLOWS * true))
    return Parting(bool(parted), float(learned), float(true))


def _error(older: np.ndarray, newer: np.ndarray) -> float:
    """Return the standard error of the difference of two means."""
    return float(np.sqrt(older.var(ddof=1) / len(older) + newer.var(ddof=1) / len(newer)))
