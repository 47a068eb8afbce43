"""The rules of mountain car."""

from __future__ import annotations

import mujoco
import numpy as np
from gymnasium import spaces

from vlmrl_envs.mountain_car import model
from vlmrl_envs.mountain_car import success as verdict
from vlmrl_envs.rules import Caption, HoldRule, WorldRules


class MountainCar(WorldRules):
    """A car in a valley whose engine is too weak to drive straight up to the flag.

    Observation (2,): position (m) and speed (m/s) along x. Action (1,): engine force, -1..1. One env step is 40 ms.
    An episode counts as a success when the car is at the flag for the whole last quarter of it: reached, and stayed.
    """

    name = "MountainCar"
    frame_skip = 4
    horizon = 200
    hold = HoldRule(fraction=1.0, window=0.25)
    cameras = ("side",)
    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def build_spec(self) -> mujoco.MjSpec:
        """Build the hill, the flag and the car."""
        return model.build_spec()

    def observe(self, states: np.ndarray) -> np.ndarray:
        """Return float32 (B, 2): x and its speed."""
        qpos, qvel = self.split(states)
        return np.stack([qpos[:, 0], qvel[:, 0]], axis=1).astype(np.float32)

    def control(self, actions: np.ndarray) -> np.ndarray:
        """Return actions as they are: the engine's gear is the force."""
        return actions

    def start(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a start at rest in the valley, x in -0.6..-0.4 as in Gymnasium."""
        return self._on_road(rng.uniform(-0.6, -0.4, 1), np.zeros(1))[0]

    def success(self, states: np.ndarray) -> np.ndarray:
        """Tell where the car is at or beyond the flag, bool (B,)."""
        return verdict.success(self.split(states)[0][:, 0])

    def env_reward(self, states: np.ndarray) -> np.ndarray:
        """Return nearness to the flag along x, float (B,)."""
        return verdict.progress(self.split(states)[0][:, 0])

    def sample_states(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw n states (n, S) over the whole road, every fourth one at the flag."""
        x = rng.uniform(verdict.LEFT, verdict.RIGHT, n)
        at_flag = rng.random(n) < 0.25
        x[at_flag] = rng.uniform(verdict.FLAG, verdict.RIGHT, int(at_flag.sum()))
        return self._on_road(x, rng.normal(0.0, 0.5, n))

    def fact_degrees(self, states: np.ndarray) -> np.ndarray:
        """Return the degrees (B, F) of the facts in `captions.GRAMMAR`."""
        from vlmrl_envs.mountain_car.captions import degrees

        return degrees(self.split(states)[0][:, 0])

    def similarity(self, states: np.ndarray) -> np.ndarray:
        """Return the degree of the grammar's first fact, the goal's, float (B,)."""
        return self.fact_degrees(states)[:, 0]

    def describe(self, state: np.ndarray) -> list[Caption]:
        """Write graded captions of one state (S,)."""
        from vlmrl_envs.mountain_car.captions import describe

        return describe(float(self.split(state)[0][0]))

    def _on_road(self, x: np.ndarray, speed: np.ndarray) -> np.ndarray:
        """Return states (B, S) on the road at x (B,) with speed along x (B,)."""
        qpos = np.stack([x, model.HEIGHT(x), model.PITCH(x)], axis=1)
        qvel = np.stack([speed, speed * model.HEIGHT.deriv()(x), speed * model.PITCH.deriv()(x)], axis=1)
        return self.join(qpos, qvel)
