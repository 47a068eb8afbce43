"""When the hopper holds a pose: read off the physics, before any caption was written; no reward, no frame.

The hopper is flat: a torso on one leg, 1.5 m tall. Its hip bends one way only, towards the heel's side, and so does its
knee: it can bend its trunk over its heel, but it cannot squat with an upright trunk. Lengths are metres in the world
frame.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vlmrl_envs.margins import least, most
from vlmrl_envs.parts import Parts


def _standing(p: Parts) -> list[np.ndarray]:
    """Upright on its foot, leg straight."""
    return [least(p.up[:, 2], 0.9, 0.9), least(p.z("hip"), 0.9, 0.6), most(p.z("heel", "toe"), 0.2, 0.3)]


def _bent(p: Parts) -> list[np.ndarray]:
    """On its foot with the hip high, the trunk bent down at least 60 degrees."""
    return [most(p.up[:, 2], 0.5, 0.5), least(p.z("hip"), 0.75, 0.5), most(p.z("heel", "toe"), 0.2, 0.3)]


def _kneeling(p: Parts) -> list[np.ndarray]:
    """Knee on the floor, shin flat, the hip above the knee, trunk upright."""
    return [
        least(p.up[:, 2], 0.75, 0.75),
        most(p.z("knee"), 0.13, 0.4),
        most(p.z("ankle"), 0.3, 0.4),
        least(p.z("hip"), 0.35, 0.3),
    ]


def _lying(p: Parts) -> list[np.ndarray]:
    """Trunk and thigh flat on the floor."""
    return [
        most(np.abs(p.up[:, 2]), 0.35, 0.6),
        most(p.z("torso"), 0.26, 0.8),
        most(p.z("hip"), 0.26, 0.7),
        most(p.z("knee"), 0.35, 0.4),
    ]


GOALS: dict[str, Callable[[Parts], list[np.ndarray]]] = {
    "standing": _standing, "bent": _bent, "kneeling": _kneeling, "lying": _lying,
}  # fmt: skip
"""Pose -> its margins."""
