"""Gymnasium's ant: the points that are looked at."""

from __future__ import annotations

from vlmrl_envs.parts import Point

TRUNK = "torso_geom"
FEET = ("foot_1", "foot_2", "foot_3", "foot_4")
POINTS: dict[str, Point] = {
    "torso": (TRUNK, (0.0, 0.0, 0.0)),
    "foot_1": ("left_ankle_geom", (0.4, 0.4, 0.0)),
    "foot_2": ("right_ankle_geom", (-0.4, 0.4, 0.0)),
    "foot_3": ("third_ankle_geom", (-0.4, -0.4, 0.0)),
    "foot_4": ("fourth_ankle_geom", (0.4, -0.4, 0.0)),
}
"""The torso's centre and the ends of the four legs; the torso is a ball of 0.25 m, the legs 0.08 m thick."""
