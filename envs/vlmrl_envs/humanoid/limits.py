"""Margins of poses: limits on lengths and angles, and where the robot's own front and sides are."""

from __future__ import annotations

import numpy as np

from vlmrl_envs.humanoid.body import Body

SIDES = (("right", -1.0), ("left", 1.0))
"""The robot's own sides, and the sign of its sideways axis, which points to its left."""


def least(value: np.ndarray, limit: float, slack: float) -> np.ndarray:
    """Return the margins (B,) of values that must be at least `limit`; -1 where they miss it by `slack`."""
    return (value - limit) / slack


def most(value: np.ndarray, limit: float, slack: float) -> np.ndarray:
    """Return the margins (B,) of values that must be at most `limit`; -1 where they miss it by `slack`."""
    return (limit - value) / slack


def reach(b: Body, part: str, sign: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how far a part is ahead of, out from and above the torso's middle, metres (B,) along the torso's axes.

    sign: that of the side that "out" points to, as in `SIDES`.
    """
    offset = b.parts[part] - b.parts["torso"]
    sideways = np.cross(b.up, b.forward)
    ahead, out, high = ((offset * axis).sum(axis=1) for axis in (b.forward, sign * sideways, b.up))
    return ahead, out, high


def from_hips(b: Body, part: str, sign: float, origin: str = "butt") -> tuple[np.ndarray, np.ndarray]:
    """Return how far a part is in front of and out from an origin, metres (B,), level, as the hips face.

    sign: that of the side that "out" points to, as in `SIDES`.
    """
    left = (b.parts["left_hip"] - b.parts["right_hip"])[:, :2]
    left = left / np.maximum(np.linalg.norm(left, axis=1, keepdims=True), 1e-6)
    front = np.stack([left[:, 1], -left[:, 0]], axis=1)
    offset = (b.parts[part] - b.parts[origin])[:, :2]
    return (offset * front).sum(axis=1), sign * (offset * left).sum(axis=1)


def elbow_bend(b: Body, side: str) -> np.ndarray:
    """Return how far an elbow is bent, degrees (B,): 0 straight; this body's range is 20 to 160."""
    upper = b.parts[f"{side}_elbow"] - b.parts[f"{side}_shoulder"]
    return angle(upper, b.parts[f"{side}_hand"] - b.parts[f"{side}_elbow"])


def leg_angle(b: Body) -> np.ndarray:
    """Return the angle between the two legs, hip to foot, degrees (B,)."""
    return angle(*(b.parts[f"{side}_foot"] - b.parts[f"{side}_hip"] for side, _ in SIDES))


def angle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the angle between vectors (B, 3) and (B, 3), degrees (B,)."""
    lengths = np.maximum(np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), 1e-6)
    return np.rad2deg(np.arccos(np.clip((a * b).sum(axis=1) / lengths, -1.0, 1.0)))
