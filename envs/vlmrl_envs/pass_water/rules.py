"""The rules of the water."""

from __future__ import annotations

from functools import cached_property

import mujoco
import numpy as np
from gymnasium import spaces

from vlmrl_envs.captions import Grammar
from vlmrl_envs.pass_water import filling, model
from vlmrl_envs.pass_water import success as verdict
from vlmrl_envs.posing import settle
from vlmrl_envs.soft_world import SoftWorld

COLUMNS = 5
"""Parts of the container's width whose water level is observed."""
SETTLE = 4
"""The longest time for which a sampled state is let go, env steps."""


class PassWater(SoftWorld):
    """An open container, full to the rim, to be slid to a red circle without spilling. A re-creation of SoftGym's PassWater.

    It starts at the left end of the table, 1 to 1.2 m from the circle; at full speed about a tenth of the water spills
    where it stops. Observation (11,): the container's place and its distance to the circle (m), its speed (m/s), the
    share of water inside, the droplets' mean place and speed in the container (m, m/s), and the water's level in five
    parts of its width (m). Action (1,): the container's velocity, -1..1 (2.5 m/s). One env step is 40 ms.
    """

    name = "PassWater"
    frame_skip = model.FRAME_SKIP
    horizon = 75
    cameras = ("front",)
    observation_space = spaces.Box(-np.inf, np.inf, (11,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    @property
    def grammar(self) -> Grammar:
        """The water's grammar."""
        from vlmrl_envs.pass_water.captions import GRAMMAR

        return GRAMMAR

    def build_spec(self) -> mujoco.MjSpec:
        """Build the table, the container and the droplets."""
        return model.build_spec()

    @cached_property
    def _full(self) -> np.ndarray:
        """The settled droplets of a full container in the table's middle, (DROPLETS, 2), metres."""
        return filling.settled(self.model)

    def observe(self, states: np.ndarray) -> np.ndarray:
        """Return float32 (B, 11)."""
        qpos, qvel = self.split(states)
        drops, held, x = model.droplets(qpos), model.inside(qpos), qpos[:, 0]
        speed = qvel[:, 1::2] - qvel[:, :1]
        count = np.maximum(held.sum(axis=1), 1)
        off = drops[..., 0] - x[:, None]
        part = np.clip(((off / model.INSIDE + 0.5) * COLUMNS).astype(int), 0, COLUMNS - 1)
        level = [(drops[..., 1] * (held & (part == i))).max(axis=1) for i in range(COLUMNS)]
        rows = [x, model.CIRCLE - x, qvel[:, 0], held.mean(axis=1), (off * held).sum(axis=1) / count,
                (speed * held).sum(axis=1) / count, *level]  # fmt: skip
        return np.stack(rows, axis=1).astype(np.float32)

    def start(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a start at rest: full, near the left end, mirrored half of the time."""
        x, flip = rng.uniform(-0.7, -0.5), rng.choice([-1.0, 1.0])
        qpos = filling.placed(np.array([x]), (self._full * [flip, 1.0])[None])[0]
        return self.join(qpos, np.zeros(self.nv))

    def success(self, states: np.ndarray) -> np.ndarray:
        """Tell where the container stands at the circle with its water, bool (B,)."""
        return verdict.success(*self._measured(states))

    def env_reward(self, states: np.ndarray) -> np.ndarray:
        """Return graded progress, float (B,)."""
        return verdict.progress(*self._measured(states))

    def sample_states(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw n states (n, S): at the circle, at the start and between, with none to nearly all of the water spilled."""
        if n == 0:
            return np.zeros((0, self.state_size))
        kind, x = rng.random(n), rng.uniform(-model.REACH, model.REACH, n)
        x = np.where(
            kind < 0.4,
            model.CIRCLE + rng.normal(0.0, 0.04, n),
            np.where(kind < 0.52, rng.uniform(-0.7, -0.5, n), x),
        )
        amount, lost = rng.random(n), np.zeros(n, int)
        lost[amount > 0.55] = rng.integers(1, 22, int((amount > 0.55).sum()))
        lost[amount > 0.75] = rng.integers(20, model.DROPLETS - 4, int((amount > 0.75).sum()))
        drops = self._full * np.stack([rng.choice([-1.0, 1.0], n), np.ones(n)], axis=1)[:, None]
        qpos = filling.spilled(rng, filling.placed(x, drops), lost)
        return settle(self, rng, self.join(qpos, np.zeros((n, self.nv))), SETTLE, across=0, still=0.4)

    def path(self, start: np.ndarray, goal: np.ndarray, n: int) -> np.ndarray:
        """Return n states (n, S): the start's water carried to the goal's place, the last one as given."""
        first, last = self.split(start)[0], self.split(goal)[0]
        away = np.linspace(0.0, 1.0, n) * (last[0] - first[0])
        qpos = np.repeat(first[None], n, axis=0)
        held = model.inside(first[None])[0]
        qpos[:, 0] += away
        qpos[:, 1::2] += away[:, None] * held
        qpos[-1] = last
        return self.join(qpos, np.zeros((n, self.nv)))

    def facts(self, qpos: np.ndarray) -> dict[str, np.ndarray]:
        """Return fact -> degree (B,)."""
        from vlmrl_envs.pass_water.captions import facts

        return facts(qpos[:, 0], 1.0 - model.inside(qpos).mean(axis=1), model.CIRCLE)

    def _measured(self, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the distance to the circle (m) and the spilled share, (B,) each."""
        qpos = self.split(states)[0]
        return np.abs(qpos[:, 0] - model.CIRCLE), 1.0 - model.inside(qpos).mean(axis=1)
