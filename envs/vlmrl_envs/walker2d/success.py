"""When the walker holds a pose: read off the physics, before any caption was written; no reward, no frame.

The walker is flat: a torso on two legs, 1.5 m tall. Its hips and knees bend one way only, towards the heels' side: it
kneels as a person does, but it sits with its legs stretched out on its heels' side, and full splits with an upright trunk
are out of its reach; a wide stride is what this body can do of them. Lengths are metres in the world frame.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vlmrl_envs.margins import least, most
from vlmrl_envs.parts import Parts

KNEES, ANKLES, TOES = ("right_knee", "left_knee"), ("right_ankle", "left_ankle"), ("right_toe", "left_toe")


def _standing(p: Parts) -> list[np.ndarray]:
    """Upright on both feet, hips high, feet not far apart."""
    return [
        least(p.up[:, 2], 0.9, 0.9),
        least(p.z("hip"), 0.95, 0.6),
        most(p.z(*ANKLES), 0.25, 0.3),
        most(p.flat(*ANKLES), 0.5, 0.6),
    ]


def _stride(p: Parts) -> list[np.ndarray]:
    """On both feet, trunk up, the feet at least 0.8 m apart."""
    return [
        least(p.up[:, 2], 0.75, 0.75),
        least(p.flat(*ANKLES), 0.8, 0.8),
        most(p.z(*ANKLES), 0.28, 0.3),
        least(p.z("hip"), 0.6, 0.5),
    ]


def _kneeling(p: Parts) -> list[np.ndarray]:
    """Both knees on the floor, shins flat, the hips above them, trunk upright."""
    return [
        least(p.up[:, 2], 0.75, 0.75),
        most(p.z(*KNEES), 0.15, 0.4),
        most(p.z(*ANKLES), 0.3, 0.4),
        least(p.z("hip"), 0.35, 0.3),
    ]


def _sitting(p: Parts) -> list[np.ndarray]:
    """Hips on the floor, trunk upright, legs along the floor."""
    return [
        least(p.up[:, 2], 0.75, 0.75),
        most(p.z("hip"), 0.2, 0.6),
        most(p.z(*KNEES), 0.35, 0.4),
        most(p.z(*ANKLES), 0.45, 0.5),
    ]


def _lying(p: Parts) -> list[np.ndarray]:
    """Trunk flat on the floor, thighs low."""
    return [
        most(np.abs(p.up[:, 2]), 0.35, 0.6),
        most(p.z("torso"), 0.26, 0.8),
        most(p.z("hip"), 0.26, 0.7),
        most(p.z(*KNEES), 0.35, 0.4),
    ]


GOALS: dict[str, Callable[[Parts], list[np.ndarray]]] = {
    "standing": _standing, "stride": _stride, "kneeling": _kneeling, "sitting": _sitting, "lying": _lying,
}  # fmt: skip
"""Pose -> its margins."""
