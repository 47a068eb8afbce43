"""Positions from states, in batches."""

from __future__ import annotations

import mujoco
import numpy as np
from mujoco.batch import Batch

CHUNK = 256
FIELDS = ("xpos", "xmat", "xipos", "geom_xpos", "geom_xmat", "subtree_com")


class Kinematics:
    """Compute positions of bodies and geoms for any number of states of one model."""

    def __init__(self, model: mujoco.MjModel, num_threads: int = 0) -> None:
        self._model = model
        self._num_threads = num_threads
        self._batches: dict[int, Batch] = {}

    def __call__(self, qpos: np.ndarray, fields: tuple[str, ...] = FIELDS) -> dict[str, np.ndarray]:
        """Return {field: float64 (B, ...)} for qpos (B, nq); fields are MjData's names, world frame, metres."""
        total = qpos.shape[0]
        out: dict[str, list[np.ndarray]] = {name: [] for name in fields}
        for first in range(0, max(total, 1), CHUNK):
            part = qpos[first : first + CHUNK]
            batch = self._batch(CHUNK if total > CHUNK else _round_up(total))
            views = {name: batch.bind(name) for name in fields}
            batch.bind("qpos")[: len(part)] = part
            batch.forward(ids=np.arange(len(part)), stage=mujoco.mjtStage.mjSTAGE_POS)
            for name in fields:
                out[name].append(views[name][: len(part)].copy())
        return {name: np.concatenate(parts) for name, parts in out.items()}

    def _batch(self, size: int) -> Batch:
        if size not in self._batches:
            self._batches[size] = Batch(self._model, size, nthread=self._num_threads)
        return self._batches[size]


def _round_up(total: int) -> int:
    """Round to a power of two, so that few batches are ever made."""
    return 1 << max(0, (max(total, 1) - 1).bit_length())


def trunk_axes(quaternion: np.ndarray) -> np.ndarray:
    """Return the trunk's forward and up axes (B, 6) in the world frame, of quaternions (B, 4)."""
    w, x, y, z = (quaternion / np.linalg.norm(quaternion, axis=1, keepdims=True)).T
    forward = [1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)]
    up = [2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)]
    return np.stack(forward + up, axis=1)
