"""A world with several goals to be named in words: what the bodies of `leg_world` and the small arms have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping

import mujoco
import numpy as np

from vlmrl_envs.captions import Grammar
from vlmrl_envs.errors import world_error
from vlmrl_envs.margins import holds, progress
from vlmrl_envs.parts import Parts, PartsReader, Point
from vlmrl_envs.rules import Caption, HoldRule, WorldRules
from vlmrl_envs.stock import compile_spec

Goals = Mapping[str, Callable[[Parts], list[np.ndarray]]]


class GoalWorld(WorldRules):
    """Rules whose success, progress and captions are all read off the positions of a few named points.

    An episode counts as a success when the goal holds on 80% of the steps of its second half.
    """

    hold = HoldRule(fraction=0.8, window=0.5)
    cameras = ("side",)
    trunk: str
    """Geom whose body's axes are "up" and "forward"."""
    points: Mapping[str, Point]
    goals: Goals
    """Goal -> its margins, from the world's `success`."""
    grammar: Grammar
    goal_facts: Mapping[str, str]
    """Goal -> the fact of the grammar that says it."""

    def __init__(self, pose: str | None = None) -> None:
        """Build the world; `pose` names the goal, None takes the first. Raises: `WorldError` for an unknown one."""
        pose = next(iter(self.goals)) if pose is None else pose
        if pose not in self.goals:
            raise world_error("pose", pose, f"one of {list(self.goals)}", "pick one of these")
        super().__init__()
        self.pose = pose
        self.read_parts = PartsReader(self.model, self.trunk, self.points)
        self._control_range = self.model.actuator_ctrlrange[:, 1].copy()
        self._goal_fact = [fact.name for fact in self.grammar.facts].index(self.goal_facts[pose])

    @abstractmethod
    def facts(self, parts: Parts) -> dict[str, np.ndarray]:
        """Return fact -> degree (B,), 0..1."""

    def build_model(self) -> mujoco.MjModel:
        """Compile the MuJoCo model."""
        return compile_spec(self.build_spec())

    def control(self, actions: np.ndarray) -> np.ndarray:
        """Scale actions (B, A) to the motors' range."""
        return actions * self._control_range

    def success(self, states: np.ndarray) -> np.ndarray:
        """Tell where the goal holds, bool (B,)."""
        return holds(self.goals[self.pose](self.read_parts(self.split(states)[0])))

    def env_reward(self, states: np.ndarray) -> np.ndarray:
        """Return graded progress towards the goal, float (B,)."""
        return progress(self.goals[self.pose](self.read_parts(self.split(states)[0])))

    def fact_degrees(self, states: np.ndarray) -> np.ndarray:
        """Return the degrees (B, F) of the grammar's facts."""
        found = self.facts(self.read_parts(self.split(states)[0]))
        return np.stack([found[fact.name] for fact in self.grammar.facts], axis=1)

    def similarity(self, states: np.ndarray) -> np.ndarray:
        """Return the degree of the goal's fact, float (B,)."""
        return self.fact_degrees(states)[:, self._goal_fact]

    def describe(self, state: np.ndarray) -> list[Caption]:
        """Write graded captions of one state (S,)."""
        seed = int(np.abs(self.split(state)[0]).sum() * 1e6) % 2**32
        return self.grammar.describe(self.fact_degrees(state[None])[0], np.random.default_rng(seed))
