"""What a camera can see of a state, computed from positions and not drawn: features of the picture, and who is in it."""

from __future__ import annotations

import copy

import mujoco
import numpy as np

from vlmrl_envs.kinematics import Kinematics

DRAWN_GROUPS = 3
"""Geom groups below this one are drawn, by both renderers."""
SEEN_SHARE = 0.5
"""A state is in view where the centres of at least this share of the moving geoms lie in the picture."""


class View:
    """See states of one model through one of its cameras, without drawing them.

    Positions are taken in the camera's own frame, so that what a camera that rides along cannot show (how far a body
    has walked) is no difference here either, a full turn of a joint is none, and neither is a quaternion's sign.

    Args:
        model: the world.
        camera: name of the camera.
        size: (height, width) of its frames, pixels.
        num_threads: threads for the kinematics; 0 takes every core.
    """

    def __init__(
        self, model: mujoco.MjModel, camera: str, size: tuple[int, int], num_threads: int = 0
    ) -> None:
        self._camera = int(model.camera(camera).id)
        moves = model.body_weldid[model.geom_bodyid] != 0
        drawn = (model.geom_group < DRAWN_GROUPS) & (model.geom_rgba[:, 3] > 0)
        self._geoms = np.flatnonzero(moves & drawn)
        self._height = float(np.tan(np.deg2rad(model.cam_fovy[self._camera]) / 2))
        self._width = self._height * size[1] / size[0]
        bare = copy.copy(
            model
        )  # where things are does not depend on what touches what, which takes most of the time
        bare.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_CONSTRAINT | mujoco.mjtDisableBit.mjDSBL_CONTACT
        self._kinematics = Kinematics(bare, num_threads)

    def features(self, qpos: np.ndarray) -> np.ndarray:
        """Return what a frame can show of qpos (B, nq), float32 (B, F); no time, no velocity.

        Of each moving geom that is drawn: its centre (m) and two of its axes in the camera's frame (9 numbers); of the
        camera: its height (m) and the direction of "up" in its picture (4).
        """
        centres, rotation, height, found = self._look(qpos, ("geom_xmat",))
        turned = found["geom_xmat"].reshape(len(qpos), -1, 3, 3)[:, self._geoms]
        axes = np.einsum("bji,bgjk->bgik", rotation, turned[..., [0, 2]])
        parts = [centres, axes, height[:, None], rotation[:, 2]]
        return np.concatenate([part.reshape(len(qpos), -1) for part in parts], axis=1).astype(np.float32)

    def in_view(self, qpos: np.ndarray) -> np.ndarray:
        """Tell for which qpos (B, nq) most of what moves lies in the picture, bool (B,)."""
        centres, *_ = self._look(qpos, ())
        x, y, ahead = centres[..., 0], centres[..., 1], -centres[..., 2]
        inside = (ahead > 0) & (np.abs(x) <= self._width * ahead) & (np.abs(y) <= self._height * ahead)
        return inside.mean(axis=1) >= SEEN_SHARE if len(self._geoms) else np.ones(len(qpos), bool)

    def _look(
        self, qpos: np.ndarray, more: tuple[str, ...]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """Return geoms' centres in the camera's frame (B, G, 3), its rotation (B, 3, 3) and its height (B,)."""
        found = self._kinematics(qpos, ("geom_xpos", "cam_xpos", "cam_xmat", *more))
        place = found["cam_xpos"][:, self._camera]
        rotation = found["cam_xmat"].reshape(len(qpos), -1, 3, 3)[:, self._camera]
        centres = np.einsum("bji,bgj->bgi", rotation, found["geom_xpos"][:, self._geoms] - place[:, None])
        return centres, rotation, place[:, 2], found
