"""Where else a world can be looked at from: its other cameras or, where it has one only, that one turned."""

from __future__ import annotations

import copy

import mujoco
import numpy as np

from vlmrl_envs.rules import WorldRules

TURN = 20.0
"""Degrees that a world's only camera is turned by about what it looks at: sideways or, if it looks straight down, over."""


def views_of(rules: WorldRules) -> dict[str, tuple[mujoco.MjModel, str]]:
    """Return the views of a world, its own first: name -> model and camera to draw by. Names with a "+" are no cameras."""
    own = {camera: (rules.model, camera) for camera in rules.cameras}
    if len(own) > 1:
        return own
    (camera,) = own
    return {**own, f"{camera}+{TURN:g}": (turned(rules.model, camera, TURN), camera)}


def turned(model: mujoco.MjModel, camera: str, degrees: float) -> mujoco.MjModel:
    """Return a copy of a model whose camera, fixed to the world or following a body, is turned about what it looks at."""
    model = copy.copy(model)
    index = model.camera(camera).id
    if model.cam_mode[index] == mujoco.mjtCamLight.mjCAMLIGHT_TRACKCOM:
        turn = _about(model.cam_mat0[index].reshape(3, 3), degrees)
        model.cam_poscom0[index] = _rotated(turn, model.cam_poscom0[index])
        model.cam_mat0[index] = (_matrix(turn) @ model.cam_mat0[index].reshape(3, 3)).ravel()
        return model
    pose = _matrix(model.cam_quat[index])
    turn, ahead, place = _about(pose, degrees), -pose[:, 2], model.cam_pos[index].copy()
    middle = place + ahead * (ahead @ (model.stat.center - place))
    model.cam_pos[index] = middle + _rotated(turn, place - middle)
    quat = np.zeros(4)
    mujoco.mju_mulQuat(quat, turn, model.cam_quat[index])
    model.cam_quat[index] = quat
    return model


def _about(pose: np.ndarray, degrees: float) -> np.ndarray:
    """Return the turn (4,) of a camera whose axes are the columns of pose (3, 3)."""
    turn, looks_down = np.zeros(4), abs(pose[2, 2]) > 0.9
    axis = pose[:, 0] if looks_down else np.array([0.0, 0.0, 1.0])
    mujoco.mju_axisAngle2Quat(turn, np.ascontiguousarray(axis), np.deg2rad(degrees))
    return turn


def _matrix(quat: np.ndarray) -> np.ndarray:
    flat = np.zeros(9)
    mujoco.mju_quat2Mat(flat, quat)
    return flat.reshape(3, 3)


def _rotated(quat: np.ndarray, vector: np.ndarray) -> np.ndarray:
    return _matrix(quat) @ vector
