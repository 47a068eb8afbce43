"""Gymnasium's half-cheetah: the points that are looked at."""

from __future__ import annotations

from vlmrl_envs.parts import Point

TRUNK = "torso"
POINTS: dict[str, Point] = {
    "torso": (TRUNK, (0.0, 0.0, 0.0)),
    "rump": (TRUNK, (-0.5, 0.0, 0.0)),
    "shoulder": (TRUNK, (0.5, 0.0, 0.0)),
    "head": (TRUNK, (0.71, 0.0, 0.2)),
    "back_foot": ("bfoot", (0.055, 0.0, -0.188)),
    "front_foot": ("ffoot", (0.085, 0.0, -0.128)),
}
"""Both ends of the 1 m back, the top of the head and the tips of the two feet; limbs are 0.046 m thick."""
