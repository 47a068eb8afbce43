"""When the pole stands: read off the physics, before any caption was written; looks at no reward and no frame."""

from __future__ import annotations

import numpy as np

UPRIGHT = np.deg2rad(12.0)
"""Gymnasium's CartPole-v1 ends an episode at the same angle."""


def tilt(angle: np.ndarray) -> np.ndarray:
    """Return the pole's angle from upright, radians in 0..pi, for hinge angles of any number of turns."""
    return np.abs((angle + np.pi) % (2 * np.pi) - np.pi)


def success(angle: np.ndarray) -> np.ndarray:
    """Tell where the pole is within 12 degrees of upright; angle radians (B,), result bool (B,)."""
    return tilt(angle) <= UPRIGHT


def progress(angle: np.ndarray) -> np.ndarray:
    """Return true graded progress, 1 upright .. 0 hanging; angle radians (B,)."""
    return 0.5 * (1.0 + np.cos(angle))
