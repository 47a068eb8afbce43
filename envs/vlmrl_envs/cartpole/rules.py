"""The rules of cart-pole."""

from __future__ import annotations

from importlib import resources

import mujoco
import numpy as np
from gymnasium import spaces

from vlmrl_envs.cartpole import success as verdict
from vlmrl_envs.rules import Caption, HoldRule, WorldRules


class CartPole(WorldRules):
    """A 1.1 m pole hinged to a cart on a 3.6 m rail; the pole may turn all the way round.

    Observation (5,): cart position (m), cosine and sine of the pole's angle, cart speed (m/s), pole speed (rad/s).
    Action (1,): force on the cart, -1..1 (10 N). One env step is 20 ms.
    """

    name = "CartPole"
    frame_skip = 2
    horizon = 200
    hold = HoldRule(fraction=0.95)
    cameras = ("front",)
    observation_space = spaces.Box(-np.inf, np.inf, (5,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def build_spec(self) -> mujoco.MjSpec:
        """Load the package's own MJCF."""
        return mujoco.MjSpec.from_string(resources.files(__package__).joinpath("cartpole.xml").read_text())

    def observe(self, states: np.ndarray) -> np.ndarray:
        """Return float32 (B, 5): x, cos, sin, x speed, angular speed."""
        qpos, qvel = self.split(states)
        x, angle = qpos[:, 0], qpos[:, 1]
        return np.stack([x, np.cos(angle), np.sin(angle), qvel[:, 0], qvel[:, 1]], axis=1).astype(np.float32)

    def control(self, actions: np.ndarray) -> np.ndarray:
        """Return actions as they are: the motor's gear is the force."""
        return actions

    def start(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a start: cart near the middle, pole within 0.2 rad of upright."""
        qpos = rng.uniform([-0.2, -0.2], [0.2, 0.2])
        return self.join(qpos, rng.uniform(-0.1, 0.1, 2))

    def success(self, states: np.ndarray) -> np.ndarray:
        """Tell where the pole is within 12 degrees of upright, bool (B,)."""
        return verdict.success(self.split(states)[0][:, 1])

    def env_reward(self, states: np.ndarray) -> np.ndarray:
        """Return (1 + cos(angle)) / 2, float (B,)."""
        return verdict.progress(self.split(states)[0][:, 1])

    def sample_states(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw n states (n, S): cart anywhere, pole at any angle, every third one near upright."""
        angle = rng.uniform(-np.pi, np.pi, n)
        near = rng.random(n) < 1 / 3
        angle[near] = rng.normal(0.0, 0.25, int(near.sum()))
        qpos = np.stack([rng.uniform(-1.8, 1.8, n), angle], axis=1)
        return self.join(qpos, rng.normal(0.0, 1.0, (n, 2)))

    def fact_degrees(self, states: np.ndarray) -> np.ndarray:
        """Return the degrees (B, F) of the facts in `captions.GRAMMAR`."""
        from vlmrl_envs.cartpole.captions import degrees

        return degrees(*self.split(states)[0].T)

    def similarity(self, states: np.ndarray) -> np.ndarray:
        """Return the degree of the grammar's first fact, the goal's, float (B,)."""
        return self.fact_degrees(states)[:, 0]

    def describe(self, state: np.ndarray) -> list[Caption]:
        """Write graded captions of one state (S,)."""
        from vlmrl_envs.cartpole.captions import describe

        return describe(*self.split(state)[0])
