"""Gymnasium's two-link arm: the points that are looked at."""

from __future__ import annotations

from vlmrl_envs.parts import Point

TRUNK = "link0"
POINTS: dict[str, Point] = {
    "elbow": ("link0", (0.1, 0.0, 0.0)),
    "finger": ("fingertip", (0.0, 0.0, 0.0)),
    "target": ("target", (0.0, 0.0, 0.0)),
}
"""The elbow, the fingertip (0.21 m from the shoulder at most) and the target."""
