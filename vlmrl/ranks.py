"""Ranks, and what is computed from them: the probability that one exceeds another, and rank correlation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Values = Sequence[float] | np.ndarray


def average_ranks(values: Values) -> np.ndarray:
    """Return ranks (n,) of values (n,), from 1 on; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(np.asarray(values, np.float64), return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def auc(goal: Values, other: Values) -> float:
    """Return the probability that a value of `goal` exceeds one of `other`, ties counted half.

    goal: (G,), other: (O,), both non-empty. Source: Mann-Whitney U divided by G*O.
    """
    num_goal, num_other = len(goal), len(other)
    ranks = average_ranks(np.concatenate([np.asarray(goal, np.float64), np.asarray(other, np.float64)]))
    return float((ranks[:num_goal].sum() - num_goal * (num_goal + 1) / 2) / (num_goal * num_other))


def spearman(a: Values, b: Values) -> float | None:
    """Return the rank correlation of a (n,) and b (n,), -1..1; None if one of them is constant."""
    ranks = average_ranks(a), average_ranks(b)
    if min(r.std() for r in ranks) == 0:
        return None
    return float(np.corrcoef(*ranks)[0, 1])
