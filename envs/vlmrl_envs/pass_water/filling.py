"""Where the droplets are: settled in a full container, and spilled from it."""

from __future__ import annotations

import mujoco
import numpy as np

from vlmrl_envs.pass_water import model

SETTLING = 300
"""Physics steps in which the droplets come to rest."""
PER_ROW = 7
SLOT = 0.06
"""The place that a spilled droplet takes on the table, metres."""


def settled(mj_model: mujoco.MjModel) -> np.ndarray:
    """Let the droplets fall into the container in the table's middle; return where they rest (DROPLETS, 2), metres."""
    rng, data = np.random.default_rng(1), mujoco.MjData(mj_model)
    row, column = np.divmod(np.argsort(rng.permutation(model.DROPLETS)), PER_ROW)
    x = -model.INSIDE / 2 + 0.035 + column * 0.058 + rng.uniform(-0.004, 0.004, model.DROPLETS)
    data.qpos[1:] = np.stack([x, 0.06 + row * SLOT], axis=1).ravel()
    mujoco.mj_step(mj_model, data, SETTLING)
    drops = data.qpos[1:].reshape(-1, 2).copy()
    drops[:, 0] -= data.qpos[0]
    return drops


def placed(x: np.ndarray, drops: np.ndarray) -> np.ndarray:
    """Return qpos (B, nq) of containers at x (B,) with droplets (B, DROPLETS, 2) given from the container's middle."""
    moved = drops + np.stack([x, np.zeros_like(x)], axis=1)[:, None]
    return np.concatenate([x[:, None], moved.reshape(len(x), -1)], axis=1)


def spilled(rng: np.random.Generator, qpos: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """Return qpos (B, nq) with the `lost` (B,) highest droplets of each row laid on the table beside the container."""
    out = qpos.copy()
    slots = np.arange(-model.END + SLOT, model.END - SLOT / 2, SLOT)
    for row, count in zip(out, lost, strict=True):
        drops = row[1:].reshape(-1, 2)
        top = np.argsort(drops[:, 1])[len(drops) - count :]
        free = slots[np.abs(slots - row[0]) > model.INSIDE / 2 + model.WALL + SLOT / 2 + 0.005]
        order = np.concatenate([rng.permutation(len(free)) for _ in range(1 + count // len(free))])[:count]
        layer = np.arange(count) // len(free)
        drops[top, 0] = free[order] + rng.uniform(-0.002, 0.002, count)
        drops[top, 1] = model.RADII[0] + layer * SLOT
    return out
