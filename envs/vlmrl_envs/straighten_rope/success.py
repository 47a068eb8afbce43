"""When the rope is straight: read off its points, before any caption was written; looks at no reward and no frame.

RL-VLM-F counts the rope as straight when its ends are 0.95 of its length apart, which a flat arc and a wavy line still
are. Here they are 0.97 apart, and no point lies further than 0.04 of the length from the line between them.
"""

from __future__ import annotations

import numpy as np

from vlmrl_envs.margins import holds, least, most
from vlmrl_envs.margins import progress as graded

TAUT, STRAY = 0.97, 0.04
"""The distance of the ends, and of any point from the line between them, as shares of the rope's length."""


def chord(points: np.ndarray, length: float) -> np.ndarray:
    """Return the distance of the ends over the rope's length (B,), of points (B, P, 2), metres."""
    return np.linalg.norm(points[:, -1] - points[:, 0], axis=1) / length


def stray(points: np.ndarray, length: float) -> np.ndarray:
    """Return how far the farthest point lies from the line between the ends, over the rope's length (B,)."""
    line = points[:, -1] - points[:, 0]
    line = line / np.maximum(np.linalg.norm(line, axis=1, keepdims=True), 1e-9)
    out = points - points[:, :1]
    return np.abs(out[..., 0] * line[:, None, 1] - out[..., 1] * line[:, None, 0]).max(axis=1) / length


def margins(points: np.ndarray, length: float) -> list[np.ndarray]:
    """Return how far the ends are far enough apart, and the rope near enough to the line between them."""
    return [least(chord(points, length), TAUT, TAUT), most(stray(points, length), STRAY, 0.4)]


def success(points: np.ndarray, length: float) -> np.ndarray:
    """Tell which ropes are straight, bool (B,); points (B, P, 2) and length in metres."""
    return holds(margins(points, length))


def progress(points: np.ndarray, length: float) -> np.ndarray:
    """Return true graded progress, 1 straight .. 0 with both ends together and the rope far to the side."""
    return graded(margins(points, length))
