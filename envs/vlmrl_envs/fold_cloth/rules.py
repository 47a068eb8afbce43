"""The rules of the cloth."""

from __future__ import annotations

import warnings

import mujoco
import numpy as np
from gymnasium import spaces

from vlmrl_envs.captions import Grammar
from vlmrl_envs.fold_cloth import folds, model
from vlmrl_envs.fold_cloth import success as verdict
from vlmrl_envs.posing import settle
from vlmrl_envs.soft_world import SoftWorld

SEEN = slice(None, None, 2)
"""The rows and columns of particles that are observed."""
OPPOSITE = model.SIDE / 2 * np.array([1.0, -1.0])
"""The corner that the held one is to be brought to, metres."""
SETTLE = 6
"""The longest time for which a sampled state is let go, env steps."""


class FoldCloth(SoftWorld):
    """A square cloth, 0.8 m, flat on a table; a picker holds its top left corner. A re-creation of RL-VLM-F's FoldCloth.

    The goal is to fold it along its diagonal, the top left corner onto the bottom right one. Observation (78,): places of
    every second particle of every second row (x, y, z; m) and the held corner's velocity (m/s). Action (3,): the picker's
    velocity along x, y and z, -1..1 (0.7 m/s). One env step is 40 ms. RL-VLM-F's action is one place to put the corner.
    """

    name = "FoldCloth"
    frame_skip = model.FRAME_SKIP
    horizon = 75
    cameras = ("top",)
    observation_space = spaces.Box(-np.inf, np.inf, (78,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (3,), np.float32)

    @property
    def grammar(self) -> Grammar:
        """The cloth's grammar."""
        from vlmrl_envs.fold_cloth.captions import GRAMMAR

        return GRAMMAR

    def build_spec(self) -> mujoco.MjSpec:
        """Build the table, the cloth and its picker."""
        return model.build_spec()

    def build_model(self) -> mujoco.MjModel:
        """Compile without the warning that the drawn sheets have no forces of their own."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*has no equality constraints or passive forces.*")
            return super().build_model()

    def observe(self, states: np.ndarray) -> np.ndarray:
        """Return float32 (B, 78)."""
        qpos, qvel = self.split(states)
        seen = model.places(qpos)[:, SEEN, SEEN].reshape(len(qpos), -1)
        held = qvel.reshape(len(qpos), model.GRID, model.GRID, 3)[:, model.HELD[0], model.HELD[1]]
        return np.concatenate([seen, held], axis=1).astype(np.float32)

    def start(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a start at rest: flat, moved and turned a little."""
        return self.join(model.positions(_moved(rng, model.rest()[None], 0.04, 4.0))[0], np.zeros(self.nv))

    def success(self, states: np.ndarray) -> np.ndarray:
        """Tell where the cloth is folded along its diagonal, bool (B,)."""
        return verdict.success(model.places(self.split(states)[0]), model.rest())

    def env_reward(self, states: np.ndarray) -> np.ndarray:
        """Return graded progress, float (B,)."""
        return verdict.progress(model.places(self.split(states)[0]), model.rest())

    def sample_states(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw n states (n, S): flat, folded, the corner brought anywhere, lifted, let go for a moment."""
        if n == 0:
            return np.zeros((0, self.state_size))
        kind = rng.random(n)
        share = np.where(kind < 0.25, rng.uniform(0.94, 1.06, n), rng.random(n))
        corner = -OPPOSITE + share[:, None] * 2 * OPPOSITE
        corner = corner + rng.normal(0.0, 1.0, (n, 2)) * np.where(kind < 0.4, 0.015, 0.1)[:, None]
        anywhere = kind > 0.75
        corner[anywhere] = rng.uniform(-0.6, 0.6, (int(anywhere.sum()), 2))
        side = kind > 0.85
        beside = rng.choice([-1.0, 1.0], int(side.sum()))[:, None] * np.abs(OPPOSITE)
        corner[side] = beside + rng.normal(0.0, 0.03, beside.shape)
        corner[kind > 0.93] = -OPPOSITE
        lift = np.where(rng.random(n) < 0.3, rng.uniform(0.3, 1.0, n), 1.0)
        points = _moved(rng, folds.folded(corner, lift * np.pi), 0.04, 6.0)
        crumpled = rng.random(n) < 0.1
        points[crumpled, ..., :2] *= rng.uniform(0.45, 0.9, (int(crumpled.sum()), 1, 1, 1))
        states = self.join(model.positions(points), np.zeros((n, self.nv)))
        return settle(self, rng, states, SETTLE, across=0, still=0.6)

    def path(self, start: np.ndarray, goal: np.ndarray, n: int) -> np.ndarray:
        """Return n states (n, S): the first and the last as given, between them the held corner is carried over the cloth."""
        ends = np.stack([self.split(start)[0], self.split(goal)[0]])
        share = np.linspace(0.0, 1.0, n)
        corners = model.places(ends)[:, model.HELD[0], model.HELD[1], :2]
        way = corners[0] + share[:, None] * (corners[1] - corners[0])
        qpos = model.positions(folds.folded(way, np.full(n, np.pi)))
        qpos[0], qpos[-1] = ends
        return self.join(qpos, np.zeros((n, self.nv)))

    def facts(self, qpos: np.ndarray) -> dict[str, np.ndarray]:
        """Return fact -> degree (B,)."""
        from vlmrl_envs.fold_cloth.captions import facts

        return facts(model.places(qpos), model.SIDE)


def _moved(rng: np.random.Generator, points: np.ndarray, shift: float, turn: float) -> np.ndarray:
    """Return points (B, G, G, 3) moved over the table by up to `shift` metres and turned by up to `turn` degrees."""
    angle = np.deg2rad(rng.uniform(-turn, turn, len(points)))
    cos, sin = np.cos(angle), np.sin(angle)
    rotation = np.stack([np.stack([cos, -sin], axis=-1), np.stack([sin, cos], axis=-1)], axis=-2)
    flat = np.einsum("bij,brcj->brci", rotation, points[..., :2])
    flat = flat + rng.uniform(-shift, shift, (len(points), 1, 1, 2))
    return np.concatenate([flat, points[..., 2:]], axis=-1)
