"""When the water is where it should be: read off the physics, before any caption was written; no reward, no frame.

RL-VLM-F counts a state as a success where the distance (m) plus ten times the spilled share is below 0.36, which at the
circle allows 3.6% to be spilled. Here the container must be nearer, and one droplet in twenty may be spilled.
"""

from __future__ import annotations

import numpy as np

from vlmrl_envs.margins import holds, most

NEAR = 0.08
"""The container's distance from the circle along x, metres."""
SPILLED = 0.05
"""The share of the water that may be outside."""
FAR, LOST = 1.2, 0.5
"""The distance beyond `NEAR`, and the spilled share beyond `SPILLED`, that count as no progress at all."""


def margins(distance: np.ndarray, spilled: np.ndarray) -> list[np.ndarray]:
    """Return how far the container is near enough, and dry enough around it."""
    return [most(distance, NEAR, FAR), most(spilled, SPILLED, LOST)]


def success(distance: np.ndarray, spilled: np.ndarray) -> np.ndarray:
    """Tell where the container stands at the circle with its water, bool (B,); metres, and a share 0..1."""
    return holds(margins(distance, spilled))


def progress(distance: np.ndarray, spilled: np.ndarray) -> np.ndarray:
    """Return true graded progress, float (B,): nearness times the share that is kept, 1 where success holds."""
    near, kept = (np.clip(1.0 + margin, 0.0, 1.0) for margin in margins(distance, spilled))
    return np.asarray(near * kept)
