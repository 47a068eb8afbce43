"""When the half-cheetah holds a pose: read off the physics, before any caption was written; no reward, no frame.

The cheetah is flat: it moves in one upright plane, on one hind leg and one front leg. Its back is 1 m long and 0.6 m
above the floor when it stands. Lengths are metres in the world frame.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vlmrl_envs.margins import least, most
from vlmrl_envs.parts import Parts


def _standing(p: Parts) -> list[np.ndarray]:
    """Back level and high, both feet on the floor."""
    return [
        least(p.up[:, 2], 0.9, 0.9),
        least(p.lowest("rump", "shoulder"), 0.4, 0.35),
        most(p.z("back_foot", "front_foot"), 0.15, 0.4),
    ]


def _on_back(p: Parts) -> list[np.ndarray]:
    """Turned over, the whole back near the floor, the feet above it."""
    return [
        most(p.up[:, 2], -0.75, 1.7),
        most(p.z("rump", "shoulder"), 0.45, 0.4),
        least(p.lowest("back_foot", "front_foot") - p.z("torso"), 0.0, 0.5),
    ]


def _upright(p: Parts) -> list[np.ndarray]:
    """Reared up on the hind leg: the back steep with the head on top, the front foot in the air, the rump off the floor."""
    return [
        least(p.forward[:, 2], 0.8, 1.2),
        least(p.z("front_foot"), 0.5, 0.5),
        least(p.z("rump"), 0.25, 0.25),
        most(p.z("back_foot"), 0.15, 0.4),
    ]


def _headstand(p: Parts) -> list[np.ndarray]:
    """Head down: the back steep with the rump on top, the head near the floor, the hind foot in the air."""
    return [
        most(p.forward[:, 2], -0.7, 1.2),
        most(p.lowest("head", "front_foot"), 0.15, 0.4),
        least(p.z("rump"), 0.8, 0.6),
        least(p.z("back_foot"), 0.5, 0.5),
    ]


GOALS: dict[str, Callable[[Parts], list[np.ndarray]]] = {
    "standing": _standing, "on_back": _on_back, "upright": _upright, "headstand": _headstand,
}  # fmt: skip
"""Pose -> its margins."""
