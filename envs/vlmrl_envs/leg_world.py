"""Bodies with legs on a floor, each made from a small declaration: the ant, the half-cheetah, the hopper, the walker.

A *pose* is a row of degrees: the trunk's pitch (positive leans towards its front), then every joint in the model's order.
The flat bodies move in one upright plane on three root joints (x, z, pitch); the ant has a free root.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import mujoco
import numpy as np
from gymnasium import spaces

from vlmrl_envs.goal_world import GoalWorld
from vlmrl_envs.kinematics import trunk_axes
from vlmrl_envs.posing import FloorSetter, settle

Poses = Mapping[str, tuple[tuple[float, ...], ...]]
SETTLE_SECONDS = 0.8
"""The longest time for which a sampled state is let go."""


class LegWorld(GoalWorld):
    """A legged body from a noisy start on its feet, judged by one of its goals.

    Observation: height of the trunk (m), its orientation (the ant: two axes, 6; flat bodies: cosine and sine of the
    pitch), the root's velocities (m/s, rad/s), joint angles (rad) and velocities (rad/s). Action: torques, -1..1 of
    what the motors allow.
    """

    flat: bool
    """Whether the body lives in the x-z plane."""
    poses: ClassVar[Poses]
    """Kind of pose -> its variants; every goal is a kind."""
    start_pose: tuple[float, ...]
    other_starts: ClassVar[Mapping[str, str]] = {}
    """Goal -> the kind of pose to start from, where doing nothing would keep the goal."""
    mirror: tuple[int, ...] | None = None
    """The order of joints that swaps left and right, where the body has both."""
    noise: float
    """Gymnasium's reset noise on positions (uniform; radians)."""

    def __init__(self, pose: str | None = None) -> None:
        super().__init__(pose)
        self.root, self.height = (3, 1) if self.flat else (7, 2)
        self._joint_range = self.model.jnt_range[self.model.njnt - (self.nq - self.root) :].T
        self._set_on_floor = FloorSetter(self.model, self.height)

    @classmethod
    def spaces(cls, joints: int) -> tuple[spaces.Box, spaces.Box]:
        """Return the observation and action spaces of a body with so many joints."""
        root = 6 if cls.flat else 13
        return (
            spaces.Box(-np.inf, np.inf, (root + 2 * joints,), np.float32),
            spaces.Box(-1.0, 1.0, (joints,), np.float32),
        )

    def observe(self, states: np.ndarray) -> np.ndarray:
        """Return float32 (B, O)."""
        qpos, qvel = self.split(states)
        pitch = qpos[:, 2:3]
        turn = (
            np.concatenate([np.cos(pitch), np.sin(pitch)], axis=1) if self.flat else trunk_axes(qpos[:, 3:7])
        )
        parts = [qpos[:, self.height : self.height + 1], turn, qvel[:, : self.nv - self.nq + self.root]]
        parts += [qpos[:, self.root :], qvel[:, self.nv - self.nq + self.root :]]
        return np.concatenate(parts, axis=1).astype(np.float32)

    def start(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a start: on its feet unless the goal starts elsewhere, with Gymnasium's noise, set on the floor."""
        other = self.other_starts.get(self.pose)
        pose = np.array(self.poses[other][0] if other else self.start_pose, float)
        pose[1:] += np.rad2deg(rng.uniform(-self.noise, self.noise, len(pose) - 1))
        tilt = np.rad2deg(rng.uniform(-self.noise, self.noise, 3)) * 0.2
        qpos = self._set_on_floor(self.place(pose, tilt)[None])[0]
        across = 1 if self.flat else 2
        qpos[:across] = rng.uniform(-self.noise, self.noise, across)
        return self.join(qpos, rng.uniform(-self.noise, self.noise, self.nv))

    def place(
        self, pose: np.ndarray, tilt: tuple[float, float, float] | np.ndarray = (0, 0, 0)
    ) -> np.ndarray:
        """Return qpos (nq,) of a pose, tilted by (roll, pitch, yaw) degrees, joints within their ranges, not on the floor."""
        roll, pitch, yaw = np.deg2rad([tilt[0], tilt[1] + pose[0], tilt[2]])
        qpos = self.model.qpos0.copy()
        if self.flat:
            qpos[:3] = [0.0, qpos[1], pitch]
        else:
            quat = np.zeros(4)
            mujoco.mju_euler2Quat(quat, np.array([yaw, pitch, roll]), "ZYX")
            qpos[:7] = [0.0, 0.0, qpos[2], *quat]
        qpos[self.root :] = np.clip(np.deg2rad(pose[1:]), *self._joint_range)
        return qpos

    def posed(self, kind: str) -> np.ndarray:
        """Return the states (V, S) of a kind's variants at rest on the floor."""
        qpos = np.stack([self.place(np.array(pose)) for pose in self.poses[kind]])
        return self.join(self._set_on_floor(qpos), np.zeros((len(qpos), self.nv)))

    def sample_states(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw n states (n, S): poses, ways from the start to them, blends, random joints; most let go for a moment."""
        if n == 0:
            return np.zeros((0, self.state_size))
        qpos = self._set_on_floor(np.stack([self._draw(rng) for _ in range(n)]))
        lifted = rng.random(n) < 0.06
        qpos[lifted, self.height] += rng.uniform(0.0, 0.3, int(lifted.sum()))
        qvel = rng.normal(0.0, 0.3, (n, self.nv)) * (rng.random((n, 1)) < 0.5)
        longest = max(1, round(SETTLE_SECONDS / self.dt))
        across = 1 if self.flat else 2
        return settle(self, rng, self.join(qpos, qvel), longest, across, still=0.4, limp=0.5)

    def _draw(self, rng: np.random.Generator) -> np.ndarray:
        """Draw one qpos (nq,), not yet on the floor."""
        kind, start = rng.random(), np.array(self.start_pose, float)
        pose = self._variant(rng)
        if kind < 0.28:  # on the way from the start to a pose
            pose = start + rng.random() * (pose - start)
        elif kind < 0.42:
            pose = pose + rng.random() * (self._variant(rng) - pose)
        elif kind < 0.56:
            pose = np.concatenate([[rng.uniform(-180, 180)], np.rad2deg(rng.uniform(*self._joint_range))])
        elif kind < 0.64:
            pose = start
        pose = pose + rng.normal(0.0, rng.choice([2.0, 6.0, 14.0]), len(pose))
        spread = rng.choice([1.0, 8.0, 35.0], p=[0.6, 0.3, 0.1])
        roll, pitch = rng.normal(0.0, spread, 2)
        yaw = rng.choice([rng.normal(0.0, 10.0), rng.uniform(-180.0, 180.0)])
        qpos = self.place(pose, (roll, pitch, yaw))
        qpos[: 1 if self.flat else 2] = rng.normal(0.0, 0.12, 1 if self.flat else 2)
        return qpos

    def _variant(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a pose of a kind drawn at random, a goal twice as often, mirrored half of the time where the body can be."""
        variants = self.poses[str(rng.choice([*self.poses, *self.goals]))]
        pose = np.array(variants[rng.integers(len(variants))], float)
        if self.mirror is not None and rng.random() < 0.5:
            pose[1:] = pose[1:][list(self.mirror)]
        return pose
