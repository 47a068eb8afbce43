"""Gymnasium's two-legged walker: the points that are looked at."""

from __future__ import annotations

from vlmrl_envs.parts import Point

TRUNK = "torso_geom"
POINTS: dict[str, Point] = {
    "torso": (TRUNK, (0.0, 0.0, 0.0)),
    "head": (TRUNK, (0.0, 0.0, 0.2)),
    "hip": (TRUNK, (0.0, 0.0, -0.2)),
    "right_knee": ("leg_geom", (0.0, 0.0, 0.25)),
    "left_knee": ("leg_left_geom", (0.0, 0.0, 0.25)),
    "right_ankle": ("leg_geom", (0.0, 0.0, -0.25)),
    "left_ankle": ("leg_left_geom", (0.0, 0.0, -0.25)),
    "right_toe": ("foot_geom", (0.0, 0.0, 0.1)),
    "left_toe": ("foot_left_geom", (0.0, 0.0, 0.1)),
}
"""Top of the torso, the hips, and each leg's knee, ankle and toe; limbs are 0.04 to 0.06 m thick."""
