"""Where a body's parts are: what a world's `success` and `captions` both read, each on its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import mujoco
import numpy as np

from vlmrl_envs.kinematics import Kinematics

Point = tuple[str, tuple[float, float, float]]
"""A geom's name and a place in the frame of the body that carries it, metres."""


@dataclass(frozen=True)
class Parts:
    """Positions of named points, the trunk's axes and the joints' angles, on B states."""

    points: dict[str, np.ndarray]
    """Point -> (B, 3), metres, world frame."""
    forward: np.ndarray
    """The trunk's own x axis (B, 3), unit length."""
    up: np.ndarray
    """The trunk's own z axis (B, 3), unit length."""
    joints: dict[str, np.ndarray]
    """Hinge -> angle (B,), degrees."""

    def z(self, *names: str) -> np.ndarray:
        """Return the height of the highest of the named points (B,), metres."""
        return np.max([self.points[name][:, 2] for name in names], axis=0)

    def lowest(self, *names: str) -> np.ndarray:
        """Return the height of the lowest of the named points (B,), metres."""
        return np.min([self.points[name][:, 2] for name in names], axis=0)

    def flat(self, a: str, b: str) -> np.ndarray:
        """Return the horizontal distance between two points (B,), metres."""
        return np.linalg.norm(self.points[a][:, :2] - self.points[b][:, :2], axis=1)

    def distance(self, a: str, b: str) -> np.ndarray:
        """Return the distance between two points (B,), metres."""
        return np.linalg.norm(self.points[a] - self.points[b], axis=1)


class PartsReader:
    """Read `Parts` off generalised positions of one model."""

    def __init__(self, model: mujoco.MjModel, trunk: str, points: Mapping[str, Point]) -> None:
        self._kinematics = Kinematics(model)
        self._trunk = int(model.geom(trunk).bodyid[0])
        self._bodies = {name: int(model.geom(geom).bodyid[0]) for name, (geom, _) in points.items()}
        self._places = {name: np.array(place) for name, (_, place) in points.items()}
        hinges = np.flatnonzero(model.jnt_type == mujoco.mjtJoint.mjJNT_HINGE)
        self._hinges = {model.joint(i).name: int(model.jnt_qposadr[i]) for i in hinges}

    def __call__(self, qpos: np.ndarray) -> Parts:
        """Return the Parts of qpos (B, nq)."""
        found = self._kinematics(qpos, ("xpos", "xmat"))
        frames = found["xmat"].reshape(len(qpos), -1, 3, 3)
        points = {
            name: found["xpos"][:, body] + frames[:, body] @ self._places[name]
            for name, body in self._bodies.items()
        }
        joints = {name: np.rad2deg(qpos[:, place]) for name, place in self._hinges.items()}
        trunk = frames[:, self._trunk]
        return Parts(points, trunk[:, :, 0], trunk[:, :, 2], joints)
