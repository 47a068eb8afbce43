"""The pendulum: the points that are looked at."""

from __future__ import annotations

from vlmrl_envs.parts import Point

TRUNK = "rod"
POINTS: dict[str, Point] = {"tip": ("rod", (0.0, 0.0, 1.0))}
"""The free end of the 1 m rod; the pivot is at the origin."""
