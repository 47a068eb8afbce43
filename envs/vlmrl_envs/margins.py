"""Margins: how far a state is on the right side of a limit, in units of how far it may be missed.

A goal is a list of margins (B,). It holds where every margin is >= 0. A margin of -1 or less counts as no progress.
"""

from __future__ import annotations

import numpy as np


def least(value: np.ndarray, limit: float, slack: float) -> np.ndarray:
    """Return the margin (B,) of `value` being at least `limit`, in units of `slack`."""
    return (value - limit) / slack


def most(value: np.ndarray, limit: float, slack: float) -> np.ndarray:
    """Return the margin (B,) of `value` being at most `limit`, in units of `slack`."""
    return (limit - value) / slack


def holds(margins: list[np.ndarray]) -> np.ndarray:
    """Tell where all margins (B,) are >= 0, bool (B,)."""
    return np.asarray((np.stack(margins) >= 0).all(axis=0))


def progress(margins: list[np.ndarray]) -> np.ndarray:
    """Return true graded progress (B,) in 0..1: the mean over margins of 1 + margin, clipped to 0..1."""
    return np.clip(1.0 + np.stack(margins), 0.0, 1.0).mean(axis=0)
