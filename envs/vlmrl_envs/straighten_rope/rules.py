"""The rules of the rope."""

from __future__ import annotations

import mujoco
import numpy as np
from gymnasium import spaces

from vlmrl_envs.captions import Grammar
from vlmrl_envs.soft_world import SoftWorld
from vlmrl_envs.straighten_rope import model
from vlmrl_envs.straighten_rope import success as verdict

SEEN = slice(None, None, 2)
"""The points of the rope that are observed."""
NEAR, FAR = 0.2, 0.6
"""The distance of the ends at the start, as shares of the rope's length."""


class StraightenRope(SoftWorld):
    """A blue rope, 1 m, crumpled on a table; a picker holds each end. A re-creation of SoftGym's RopeFlatten (easy).

    It starts with its ends 0.2 to 0.6 m apart, turned anyhow. Observation (26,): places of every second point of the
    rope, both ends included (x, y; m), and the pickers' velocities (m/s). Action (4,): the pickers' velocities along x
    and y, -1..1 (0.5 m/s), first and last end. One env step is 40 ms.
    """

    name = "StraightenRope"
    frame_skip = model.FRAME_SKIP
    horizon = 75
    cameras = ("top",)
    observation_space = spaces.Box(-np.inf, np.inf, (26,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (4,), np.float32)

    @property
    def grammar(self) -> Grammar:
        """The rope's grammar."""
        from vlmrl_envs.straighten_rope.captions import GRAMMAR

        return GRAMMAR

    def build_spec(self) -> mujoco.MjSpec:
        """Build the table, the rope and its pickers."""
        return model.build_spec()

    def observe(self, states: np.ndarray) -> np.ndarray:
        """Return float32 (B, 26)."""
        qpos, qvel = self.split(states)
        places = model.points(qpos)[:, SEEN].reshape(len(qpos), -1)
        return np.concatenate([places, qvel[:, :2], qvel[:, -2:]], axis=1).astype(np.float32)

    def start(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a start at rest: crumpled, the ends 0.2 to 0.6 m apart."""
        for _ in range(1000):
            heading = _wandering(rng, 1, np.array([0.6]))
            qpos = self._laid(rng, heading, np.array([0.1]))
            apart = verdict.chord(model.points(qpos), model.LENGTH)[0]
            if NEAR <= apart <= FAR:
                break
        return self.join(qpos[0], np.zeros(self.nv))

    def success(self, states: np.ndarray) -> np.ndarray:
        """Tell where the rope is straight, bool (B,)."""
        return verdict.success(model.points(self.split(states)[0]), model.LENGTH)

    def env_reward(self, states: np.ndarray) -> np.ndarray:
        """Return graded progress, float (B,)."""
        return verdict.progress(model.points(self.split(states)[0]), model.LENGTH)

    def sample_states(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw n states (n, S): crumpled, straight, opened part of the way, arcs, rings and waves."""
        if n == 0:
            return np.zeros((0, self.state_size))
        kind, along = rng.random(n), np.linspace(-1.0, 1.0, model.LINKS)
        heading = _wandering(rng, n, rng.uniform(0.2, 0.7, n))
        curl = (rng.uniform(0.1, 1.0, n) * rng.choice([-np.pi, np.pi], n))[:, None]
        heading = np.where((kind < 0.2)[:, None], _turn(rng, n) + curl * along, heading)
        wave = rng.uniform(0.2, 2.2, n)[:, None] * np.sin(
            np.pi * (along * rng.choice([1.0, 1.5, 2.0], (n, 1)) + rng.random((n, 1)))
        )
        heading = np.where(((kind >= 0.2) & (kind < 0.32))[:, None], _turn(rng, n) + wave, heading)
        share = np.where(kind > 0.75, rng.uniform(0.0, 0.12, n), np.where(kind > 0.55, rng.random(n), 1.0))
        middle = heading.mean(axis=1, keepdims=True)
        heading = middle + share[:, None] * (heading - middle)
        speed = rng.normal(0.0, 0.1, (n, self.nv)) * (rng.random((n, 1)) < 0.3)
        return self.join(self._laid(rng, heading, rng.uniform(0.0, 0.2, n)), speed)

    def path(self, start: np.ndarray, goal: np.ndarray, n: int) -> np.ndarray:
        """Return n states (n, S) on the way from one state (S,) to another: bends, turn and place go straight."""
        ends = np.stack([self.split(start)[0], self.split(goal)[0]])
        share = np.linspace(0.0, 1.0, n)[:, None]
        heading, places = model.headings(ends), model.points(ends)
        middle = (places.min(axis=1) + places.max(axis=1)) / 2
        qpos = model.laid(
            heading[0] + share * (heading[1] - heading[0]), middle[0] + share * (middle[1] - middle[0])
        )
        return self.join(qpos, np.zeros((n, self.nv)))

    def facts(self, qpos: np.ndarray) -> dict[str, np.ndarray]:
        """Return fact -> degree (B,)."""
        from vlmrl_envs.straighten_rope.captions import facts

        return facts(model.points(qpos), model.LENGTH)

    def _laid(self, rng: np.random.Generator, heading: np.ndarray, spread: np.ndarray) -> np.ndarray:
        """Return qpos (B, nq) of ropes near the table's middle, moved by up to `spread` (B,) metres, and within its edge."""
        middle = rng.uniform(-1.0, 1.0, (len(heading), 2)) * spread[:, None]
        places = model.points(model.laid(heading, np.zeros((len(heading), 2))))
        room = np.maximum(model.EDGE - places.max(axis=1), 0.0)
        return model.laid(heading, np.clip(middle, -room, room))


def _wandering(rng: np.random.Generator, n: int, bend: np.ndarray) -> np.ndarray:
    """Draw headings (n, LINKS), radians, that wander smoothly; bend (n,) is their step's deviation."""
    steps = rng.normal(0.0, 1.0, (n, model.LINKS + 2))
    smooth = (steps[:, :-2] + steps[:, 1:-1] + steps[:, 2:]) / np.sqrt(3.0)
    return _turn(rng, n) + np.cumsum(bend[:, None] * smooth, axis=1)


def _turn(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.uniform(-np.pi, np.pi, (n, 1))
