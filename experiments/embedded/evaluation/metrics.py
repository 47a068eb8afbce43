"""AUC and rank correlation with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlmrl import ranks
from vlmrl.ranks import auc

RESAMPLES = 200
LEVEL = 0.95
"""Of the intervals: percentiles of the resamples."""


@dataclass(frozen=True)
class Estimate:
    """A number and its resamples."""

    value: float
    """The number on all the data."""
    resamples: np.ndarray
    """The number on each bootstrap sample (R,)."""

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% percentile interval."""
        low, high = np.quantile(self.resamples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return float(low), float(high)

    def plain(self) -> dict[str, Any]:
        """Return value and interval as JSON values."""
        return {"value": round(self.value, 4), "interval": [round(v, 4) for v in self.interval]}


def auc_estimate(
    goal: np.ndarray, other: np.ndarray, rng: np.random.Generator, resamples: int = RESAMPLES
) -> Estimate:
    """Return the AUC of goal (G,) above other (O,), each resampled with replacement."""
    drawn = [auc(rng.choice(goal, len(goal)), rng.choice(other, len(other))) for _ in range(resamples)]
    return Estimate(auc(goal, other), np.array(drawn))


def mean_estimate(values: np.ndarray, rng: np.random.Generator, resamples: int = RESAMPLES) -> Estimate:
    """Return the mean of values (K,), resampled with replacement."""
    values = np.asarray(values, float)
    drawn = rng.choice(values, (resamples, len(values))).mean(axis=1)
    return Estimate(float(values.mean()), drawn)


def average(estimates: Sequence[Estimate]) -> Estimate:
    """Return the mean of estimates, resample by resample."""
    values = float(np.mean([e.value for e in estimates]))
    return Estimate(values, np.mean([e.resamples for e in estimates], axis=0))


def of_others(estimates: Sequence[Estimate], seed: int = 0) -> Estimate | None:
    """Return the mean of estimates as a sample of more that could have been: they too are resampled; None of none.

    Without it an interval over sentences would be that of these very sentences on other states.
    """
    if not estimates:
        return None
    fewest = min(len(e.resamples) for e in estimates)
    table = np.stack([e.resamples[:fewest] for e in estimates], axis=1)
    chosen = np.random.default_rng(seed).integers(len(estimates), size=table.shape)
    values = float(np.mean([e.value for e in estimates]))
    return Estimate(values, np.take_along_axis(table, chosen, axis=1).mean(axis=1))


def difference(a: Estimate, b: Estimate) -> Estimate:
    """Return a minus b, resample by resample: of the same states where one generator's beginning drew both."""
    return Estimate(a.value - b.value, a.resamples - b.resamples)


def extreme(estimates: Sequence[Estimate], least: bool = True) -> Estimate:
    """Return the smallest (or largest) of estimates, with its own interval."""
    return (min if least else max)(estimates, key=lambda e: e.value)


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Return the rank correlation of a (K,) and b (K,); 0 where either is constant."""
    return ranks.spearman(a, b) or 0.0
