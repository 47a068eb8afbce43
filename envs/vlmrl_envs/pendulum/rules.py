"""The rules of the pendulum."""

from __future__ import annotations

from importlib import resources

import mujoco
import numpy as np
from gymnasium import spaces

from vlmrl_envs.goal_world import GoalWorld
from vlmrl_envs.parts import Parts
from vlmrl_envs.pendulum import body, captions, success


class Pendulum(GoalWorld):
    """A rod of 1 m and 1 kg on a pivot under 10 m/s2 with a motor of 2 N m, as Gymnasium's Pendulum-v1; a step is 50 ms.

    Gymnasium starts anywhere; here it starts hanging, or upright where the goal is to hang. Its limit on the speed
    (8 rad/s) is left out. Observation (3,): cosine and sine of the angle, 0 upright, positive to the left; speed
    (rad/s). Action (1,): torque, -1..1 (2 N m).
    """

    name = "Pendulum"
    frame_skip = 5
    horizon = 200
    trunk, points, goals = body.TRUNK, body.POINTS, success.GOALS
    grammar, goal_facts = captions.GRAMMAR, captions.GOAL_FACTS
    observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def build_spec(self) -> mujoco.MjSpec:
        """Load the package's own MJCF."""
        return mujoco.MjSpec.from_string(resources.files(__package__).joinpath("pendulum.xml").read_text())

    def observe(self, states: np.ndarray) -> np.ndarray:
        """Return float32 (B, 3): cos, sin, speed."""
        qpos, qvel = self.split(states)
        return np.concatenate([np.cos(qpos), np.sin(qpos), qvel], axis=1).astype(np.float32)

    def start(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a start: within 0.4 rad of hanging, or of upright where hanging is the goal."""
        far = 0.0 if self.pose == "hanging" else np.pi
        offset = rng.uniform(0.2, 0.4) * rng.choice([-1.0, 1.0])
        return self.join(np.array([far + offset]), rng.uniform(-0.3, 0.3, 1))

    def sample_states(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw n states (n, S): any angle, a third near upright, a tenth near hanging."""
        angle, kind = rng.uniform(-np.pi, np.pi, n), rng.random(n)
        angle = np.where(kind < 0.33, rng.normal(0.0, 0.35, n), angle)
        angle = np.where(kind > 0.9, np.pi + rng.normal(0.0, 0.15, n), angle)
        return self.join(angle[:, None], rng.normal(0.0, 1.5, (n, 1)))

    def facts(self, parts: Parts) -> dict[str, np.ndarray]:
        """Return fact -> degree (B,)."""
        return captions.facts(parts)
