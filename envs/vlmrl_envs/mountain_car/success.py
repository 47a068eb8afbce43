"""When the car is at the flag: read off the physics, before any caption was written; no reward, no frame."""

from __future__ import annotations

import numpy as np

FLAG = 0.45
"""Where the flag stands, metres along x; Gymnasium's goal position."""
LEFT, RIGHT = -1.2, 0.6
"""The ends of the road."""


def success(x: np.ndarray) -> np.ndarray:
    """Tell where the car is at or beyond the flag, on the peak; x metres (B,), result bool (B,)."""
    return x >= FLAG


def progress(x: np.ndarray) -> np.ndarray:
    """Return true graded progress, 1 at the flag .. 0 at the far end; x metres (B,).

    The cube of the nearness: with the nearness itself, leaning on the slope would pay half of what the flag pays.
    """
    return np.clip(1.0 - (FLAG - x) / (FLAG - LEFT), 0.0, 1.0) ** 3
