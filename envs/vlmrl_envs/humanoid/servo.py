"""The humanoid's motors as servos: springs and dampers towards joint angles, within the motors' own torques."""

from __future__ import annotations

import copy

import mujoco
import numpy as np

STIFFNESS = {
    "hip_y": (400.0, 20.0),
    "knee": (400.0, 20.0),
    "shoulder": (30.0, 1.5),
    "elbow": (30.0, 1.5),
    "": (250.0, 8.0),
}
"""Spring (Nm/rad) and damper (Nm s/rad) of joints by a part of their names; the last is for all others."""


class Servo:
    """Drive a model's motors towards angles.

    Action 0 is the angle in which the body stands, -1 and 1 are the joint's ends. What spring and damper ask for is cut
    off at what the motor can give, as a torque's command is.

    Attributes:
        model: a copy of the model whose motors are servos; all else is as it was.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        self.model = copy.copy(model)
        joints, self._gear = model.actuator_trnid[:, 0], model.actuator_gear[:, 0].copy()
        names = [model.joint(int(j)).name for j in joints]
        spring, damper = np.array([next(v for k, v in STIFFNESS.items() if k in name) for name in names]).T
        lowest, highest = model.jnt_range[joints].T
        self._lowest, self._highest = np.minimum(lowest, 0.0), np.maximum(highest, 0.0)
        # A motor's length and speed are its joint's times its gear, and its force times the gear is the torque.
        stiff, damped = spring / self._gear**2, damper / self._gear**2
        self.model.actuator_biastype[:] = mujoco.mjtBias.mjBIAS_AFFINE
        self.model.actuator_gainprm[:, 0] = stiff
        self.model.actuator_biasprm[:, :3] = np.stack([np.zeros_like(stiff), -stiff, -damped], axis=1)
        self.model.actuator_forcelimited[:] = 1
        self.model.actuator_forcerange[:] = model.actuator_ctrlrange
        self.model.actuator_ctrllimited[:] = 0

    def angles(self, actions: np.ndarray) -> np.ndarray:
        """Return the joint angles (B, nu), rad, that actions (B, nu) in -1..1 ask for."""
        return np.where(actions > 0, actions * self._highest, -actions * self._lowest)

    def control(self, actions: np.ndarray) -> np.ndarray:
        """Return the controls (B, nu) of `model` for actions (B, nu)."""
        return self._gear * self.angles(actions)
