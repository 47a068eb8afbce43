"""Bodies put on the floor and let go: what the samplers of all bodies share."""

from __future__ import annotations

import mujoco
import numpy as np
from mujoco.batch import Batch

from vlmrl_envs.kinematics import Kinematics
from vlmrl_envs.rules import WorldRules


class FloorSetter:
    """Set bodies of capsules and balls on the floor: shift each so that its lowest point touches it."""

    def __init__(self, model: mujoco.MjModel, height: int = 2) -> None:
        """Keep the model's shapes; `height` is the column of qpos that lifts the body, metres."""
        self._kinematics = Kinematics(model)
        self._height = height
        solid = (model.geom_contype | model.geom_conaffinity) != 0
        solid[model.geom("floor").id] = False
        self._geoms = np.flatnonzero(solid)
        self._radius = model.geom_size[self._geoms, 0]
        capsule = model.geom_type[self._geoms] == mujoco.mjtGeom.mjGEOM_CAPSULE
        self._half_length = np.where(capsule, model.geom_size[self._geoms, 1], 0.0)

    def __call__(self, qpos: np.ndarray) -> np.ndarray:
        """Return qpos (B, nq) with heights changed."""
        found = self._kinematics(qpos, ("geom_xpos", "geom_xmat"))
        axis_z = found["geom_xmat"].reshape(len(qpos), -1, 3, 3)[:, self._geoms, 2, 2]
        lowest = found["geom_xpos"][:, self._geoms, 2] - np.abs(axis_z) * self._half_length - self._radius
        qpos = qpos.copy()
        qpos[:, self._height] -= lowest.min(axis=1) - 0.002
        return qpos


def settle(
    rules: WorldRules,
    rng: np.random.Generator,
    states: np.ndarray,
    longest: int,
    across: int,
    still: float = 1 / 3,
    limp: float = 0.0,
) -> np.ndarray:
    """Let states (n, S) go for 1..longest env steps under random torques; return what they become.

    Args:
        rules: their world.
        rng: source of all chance.
        states: left unchanged.
        longest: env steps.
        across: how many leading columns of qpos move the body over the floor: one that wandered off is set back.
        still: share of states that are not let go.
        limp: share of the others whose motors are off.
    """
    n = len(states)
    if n == 0:
        return states
    steps = np.where(rng.random(n) < still, 0, np.ceil(longest * rng.random(n) ** 2)).astype(int)
    batch = Batch(rules.model, n)
    batch.bind("qpos")[:], batch.bind("qvel")[:] = rules.split(states)
    effort = (rng.random((n, 1)) >= limp) if limp else 1.0
    torque = rng.normal(0.0, 0.5, (n, rules.model.nu)) * rng.random((n, 1))
    for step in range(int(steps.max(initial=0))):
        running = np.flatnonzero(steps > step)
        jitter = rng.normal(0.0, 0.3, (n, rules.model.nu))
        batch.bind("ctrl")[:] = rules.control(np.clip(torque + jitter, -1, 1) * effort)
        batch.step(ids=running, nstep=rules.frame_skip)
    qpos = batch.bind("qpos").copy()
    qpos[:, :across] *= np.abs(qpos[:, :across]) <= 0.6  # what wandered off is set back to the middle
    return rules.join(qpos, batch.bind("qvel").copy())
