"""Where the humanoid's parts are: what `success` and `captions` both read, each on its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import mujoco
import numpy as np

from vlmrl_envs.kinematics import Kinematics


@dataclass(frozen=True)
class Body:
    """Positions (B, 3) of named parts; `up` and `forward` are the torso's unit axes (B, 3)."""

    parts: dict[str, np.ndarray]
    up: np.ndarray
    forward: np.ndarray
    knee_bend: np.ndarray
    """Knee flexion in degrees, right and left (B, 2): 0 straight, 160 folded."""

    def z(self, part: str) -> np.ndarray:
        """Return the height of a part (B,)."""
        return self.parts[part][:, 2]

    def flat(self, a: str, b: str) -> np.ndarray:
        """Return the horizontal distance between two parts (B,)."""
        return np.linalg.norm(self.parts[a][:, :2] - self.parts[b][:, :2], axis=1)

    def distance(self, a: str, b: str) -> np.ndarray:
        """Return the distance between two parts (B,)."""
        return np.linalg.norm(self.parts[a] - self.parts[b], axis=1)


class BodyReader:
    """Read a `Body` off generalised positions."""

    GEOMS = ("head", "butt", "right_foot", "left_foot", "right_hand", "left_hand", "lwaist")
    BODIES: ClassVar = {"right_knee": "right_shin", "left_knee": "left_shin", "right_hip": "right_thigh", "left_hip": "left_thigh",
              "right_elbow": "right_lower_arm", "left_elbow": "left_lower_arm", "right_shoulder": "right_upper_arm",
              "left_shoulder": "left_upper_arm", "torso": "torso"}  # fmt: skip

    def __init__(self, model: mujoco.MjModel) -> None:
        self._kinematics = Kinematics(model)
        self._geoms = {name: model.geom(name).id for name in self.GEOMS}
        self._bodies = {name: model.body(body).id for name, body in self.BODIES.items()}
        self._knees = [int(model.joint(f"{side}_knee").qposadr[0]) for side in ("right", "left")]

    def __call__(self, qpos: np.ndarray) -> Body:
        """Return the Body of qpos (B, nq)."""
        found = self._kinematics(qpos, ("xpos", "xmat", "geom_xpos"))
        parts = {name: found["geom_xpos"][:, i] for name, i in self._geoms.items()}
        parts |= {name: found["xpos"][:, i] for name, i in self._bodies.items()}
        torso = found["xmat"][:, self._bodies["torso"]].reshape(-1, 3, 3)
        return Body(parts, torso[:, :, 2], torso[:, :, 0], -np.rad2deg(qpos[:, self._knees]))
