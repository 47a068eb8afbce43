"""When the ant holds a pose: read off the physics, before any caption was written; no reward, no frame.

The ant is a ball of 0.25 m with four legs. Its ankles bend 30 to 70 degrees below the level of its back: the torso's
centre is 0.36 m high with the ankles at one end, 0.61 m at the other. Lengths are metres in the world frame.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vlmrl_envs.ant.body import FEET
from vlmrl_envs.margins import least, most
from vlmrl_envs.parts import Parts


def _standing(p: Parts) -> list[np.ndarray]:
    """Level, high on all four feet."""
    return [least(p.up[:, 2], 0.9, 0.9), least(p.z("torso"), 0.48, 0.25), most(p.z(*FEET), 0.22, 0.3)]


def _crouching(p: Parts) -> list[np.ndarray]:
    """Level, low, all four feet on the floor."""
    return [least(p.up[:, 2], 0.9, 0.9), most(p.z("torso"), 0.44, 0.2), most(p.z(*FEET), 0.22, 0.3)]


def _upside_down(p: Parts) -> list[np.ndarray]:
    """On its back on the floor: turned over, the feet above the torso's centre."""
    return [
        most(p.up[:, 2], -0.8, 1.8),
        most(p.z("torso"), 0.4, 0.4),
        least(p.lowest(*FEET) - p.z("torso"), 0.1, 0.6),
    ]


def _one_leg(p: Parts) -> list[np.ndarray]:
    """Three feet on the floor, the fourth at least 0.2 m above the others, not turned over."""
    feet = np.sort([p.z(foot) for foot in FEET], axis=0)
    return [least(p.up[:, 2], 0.8, 0.8), most(feet[2], 0.18, 0.2), least(feet[3] - feet[2], 0.2, 0.2)]


GOALS: dict[str, Callable[[Parts], list[np.ndarray]]] = {
    "standing": _standing, "crouching": _crouching, "upside_down": _upside_down, "one_leg": _one_leg,
}  # fmt: skip
"""Pose -> its margins."""
