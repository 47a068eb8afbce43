"""The rules of the humanoid."""

from __future__ import annotations

import mujoco
import numpy as np
from gymnasium import spaces

from vlmrl_envs.errors import world_error
from vlmrl_envs.humanoid import exemplars, model, sampling
from vlmrl_envs.humanoid import success as verdict
from vlmrl_envs.humanoid.body import BodyReader
from vlmrl_envs.humanoid.servo import Servo
from vlmrl_envs.kinematics import trunk_axes
from vlmrl_envs.posing import settle
from vlmrl_envs.rules import Caption, HoldRule, WorldRules

CONTROLS = ("torque", "position")
"""What an action says of each joint."""
NOISE = 0.01
"""Gymnasium's reset noise: uniform on positions and velocities."""


class Humanoid(WorldRules):
    """Gymnasium's humanoid from noisy standing, judged by one of eight poses, or by two things at once.

    Observation (47,): torso height (m), two axes of the torso (6), linear and angular velocity (m/s, rad/s),
    17 joint angles (rad) and velocities (rad/s). Action (17,), -1..1: torques, as shares of what the motors give; or, with
    control "position", joint angles for springs within these torques, see `servo`. One env step is 15 ms, an episode 100
    steps, as in VLM-RM.
    """

    name = "Humanoid"
    frame_skip = 5
    horizon = 100
    hold = HoldRule(fraction=0.5)
    cameras = ("front", "track")
    observation_space = spaces.Box(-np.inf, np.inf, (47,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (17,), np.float32)

    def __init__(self, pose: str = "kneeling", control: str = "torque") -> None:
        if pose not in verdict.KNOWN:
            raise world_error("pose", pose, f"one of {list(verdict.KNOWN)}", "pick one of these")
        if control not in CONTROLS:
            raise world_error("control", repr(control), f"one of {list(CONTROLS)}", "pick one of these")
        super().__init__()
        self.pose = pose
        self._servo = Servo(self.model) if control == "position" else None
        self.read_body = BodyReader(self.model)
        self._control_range = self.model.actuator_ctrlrange[:, 1].copy()

    def build_spec(self) -> mujoco.MjSpec:
        """Build the edited humanoid in its scene."""
        return model.build_spec()

    def observe(self, states: np.ndarray) -> np.ndarray:
        """Return float32 (B, 47)."""
        qpos, qvel = self.split(states)
        axes = trunk_axes(qpos[:, 3:7])
        parts = [qpos[:, 2:3], axes, qvel[:, :6], qpos[:, 7:], qvel[:, 6:]]
        return np.concatenate(parts, axis=1).astype(np.float32)

    def control(self, actions: np.ndarray) -> np.ndarray:
        """Scale actions (B, 17) to the motors' range."""
        return actions * self._control_range

    @property
    def driven(self) -> mujoco.MjModel:
        """The model that is stepped: its motors may be servos."""
        return self._servo.model if self._servo else self.model

    def drive(self, actions: np.ndarray) -> np.ndarray:
        """Return the controls of `driven` for actions (B, 17)."""
        return self._servo.control(actions) if self._servo else self.control(actions)

    def start(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a start: standing, with Gymnasium's noise."""
        qpos = self.model.qpos0 + rng.uniform(-NOISE, NOISE, self.nq)
        return self.join(qpos, rng.uniform(-NOISE, NOISE, self.nv))

    def success(self, states: np.ndarray) -> np.ndarray:
        """Tell where the pose is held, bool (B,)."""
        return verdict.success(self.read_body(self.split(states)[0]), self.pose)

    def env_reward(self, states: np.ndarray) -> np.ndarray:
        """Return graded progress towards the pose, float (B,)."""
        return verdict.progress(self.read_body(self.split(states)[0]), self.pose)

    def sample_states(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw n states (n, S): poses, blends of poses, falls, random joints, settled by physics for a moment."""
        return sampling.sample_states(self, rng, n)

    def sample_near_goal(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw n states (n, S) around the pose's example, let go for a moment; no encoder's training draws them."""
        return settle(self, rng, exemplars.near(self, self.pose, rng, n), longest=10, across=2)

    def path(self, start: np.ndarray, goal: np.ndarray, n: int) -> np.ndarray:
        """Return n states (n, S) on the way from one state (S,) to another, each set on the floor."""
        states = super().path(start, goal, n)
        qpos, qvel = self.split(states)
        return self.join(sampling.FloorSetter(self.model)(qpos), qvel)

    def fact_degrees(self, states: np.ndarray) -> np.ndarray:
        """Return the degrees (B, F) of the facts in `captions.GRAMMAR`."""
        from vlmrl_envs.humanoid.captions import degrees

        return degrees(self.read_body(self.split(states)[0]))

    def similarity(self, states: np.ndarray) -> np.ndarray:
        """Return the degree of the pose's fact in `captions.GRAMMAR`, of two facts the product, float (B,)."""
        from vlmrl_envs.humanoid.captions import COMPOSED_FACTS, GRAMMAR, POSE_FACTS

        facts = COMPOSED_FACTS.get(self.pose) or (POSE_FACTS[self.pose],)
        return self.fact_degrees(states)[:, [GRAMMAR.columns[name] for name in facts]].prod(axis=1)

    def describe(self, state: np.ndarray) -> list[Caption]:
        """Write graded captions of one state (S,)."""
        from vlmrl_envs.humanoid.captions import describe

        return describe(self.read_body(self.split(state[None])[0]), self.split(state[None])[0])
