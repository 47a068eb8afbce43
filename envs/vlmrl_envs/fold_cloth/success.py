"""When the cloth is folded: read off its particles, before any caption was written; looks at no reward and no frame.

RL-VLM-F asks that the particles have come 90% of the way to a stored goal. Here each particle beyond the fold line shall
lie on its mirror image across that line, wherever the cloth has slid to; the fold line must stay stretched, so that a
crumpled cloth is none; and all must lie low.
"""

from __future__ import annotations

import numpy as np

from vlmrl_envs.margins import holds, least, most
from vlmrl_envs.margins import progress as graded

APART = 0.1
"""The mean distance of the mirror images over the table, as a share of that in the flat cloth."""
LINE = 0.9
"""The length of the fold line, from corner to corner, as a share of that in the flat cloth."""
LOW = 0.06
"""The height of the highest particle, metres."""


def apart(points: np.ndarray) -> np.ndarray:
    """Return the mean distance over the table of particles and their mirror images (B,), of points (B, G, G, 3), metres."""
    row, column = np.triu_indices(points.shape[1], 1)
    return np.linalg.norm((points[:, row, column] - points[:, column, row])[..., :2], axis=-1).mean(axis=1)


def margins(points: np.ndarray, flat: np.ndarray) -> list[np.ndarray]:
    """Return how near the mirror images are, how long the fold line is, and how low all lies; flat (G, G, 3)."""
    whole = float(apart(flat[None])[0])
    line = np.linalg.norm(points[:, 0, 0] - points[:, -1, -1], axis=-1) / np.linalg.norm(
        flat[0, 0] - flat[-1, -1]
    )
    return [
        most(apart(points) / whole, APART, 1.0 - APART),
        least(line, LINE, 0.5),
        most(points[..., 2].max(axis=(1, 2)), LOW, 0.6),
    ]


def success(points: np.ndarray, flat: np.ndarray) -> np.ndarray:
    """Tell which cloths are folded, bool (B,); points (B, G, G, 3), and those of the flat cloth (G, G, 3), metres."""
    return holds(margins(points, flat))


def progress(points: np.ndarray, flat: np.ndarray) -> np.ndarray:
    """Return true graded progress (B,): 1 where it is folded, near 0 where it is flat and open.

    Nearness of the mirror images counts four fifths: a cloth that only lies low and straight has come no way.
    """
    near, *others = margins(points, flat)
    nearness = np.clip(1.0 + near, 0.0, 1.0)
    return np.asarray(nearness * (0.8 + 0.2 * graded(others)))
