"""Gymnasium's hopper: the points that are looked at."""

from __future__ import annotations

from vlmrl_envs.parts import Point

TRUNK = "torso_geom"
POINTS: dict[str, Point] = {
    "torso": (TRUNK, (0.0, 0.0, 0.0)),
    "head": (TRUNK, (0.0, 0.0, 0.2)),
    "hip": ("thigh_geom", (0.0, 0.0, 0.0)),
    "knee": ("leg_geom", (0.0, 0.0, 0.25)),
    "ankle": ("leg_geom", (0.0, 0.0, -0.25)),
    "heel": ("foot_geom", (-0.26, 0.0, 0.1)),
    "toe": ("foot_geom", (0.13, 0.0, 0.1)),
}
"""Top of the torso, the three joints, both ends of the foot; limbs are 0.04 to 0.06 m thick."""
