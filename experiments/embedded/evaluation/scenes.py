"""Meta-World's goals in the place of a World's rules: scenes judged by the package's own success, and ways to the goal."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import mujoco
import numpy as np

from experiments.embedded import metaworld
from vlmrl_envs import metaworld as package
from vlmrl_envs import metaworld_scenes as scenes


class SceneRules:
    """What `goals` asks of a world, of one of Meta-World's: scenes (B, S) of `metaworld_scenes` are its states."""

    def __init__(self, world: str) -> None:
        self.world = self.name = world

    @cached_property
    def _inner(self) -> Any:
        inner = package.load(self.world.replace("_", "-"))
        inner.seed(0)
        inner.reset()
        return inner

    def success(self, states: np.ndarray) -> np.ndarray:
        """Tell by the package's own check whether scenes are a success, bool (B,)."""
        inner, found = self._inner, []
        for scene, qpos, bodies in zip(states, *scenes.placed(self.world, inner, states), strict=True):
            inner.model.body_pos[:], inner.data.qpos[:] = bodies, qpos
            mujoco.mj_forward(inner.model, inner.data)
            if self.world == "drawer_open":
                inner._target_pos = np.array([scene[0], 0.9 - 0.16 - inner.maxDist, 0.09])
            elif self.world == "soccer":
                inner._target_pos = np.array([*scene[3:5], 0.0])
            _, info = inner.evaluate_state(inner._get_obs(), np.zeros(4, np.float32))
            found.append(bool(info["success"]))
        return np.array(found, bool)

    def similarity(self, states: np.ndarray) -> np.ndarray:
        """Return how true the goal's words are of scenes (B,), 0..1."""
        return scenes.fact_degrees(self.world, states)[:, 0]

    def start(self, rng: np.random.Generator) -> np.ndarray:
        """Return a scene (S,) as an episode begins."""
        return scenes.begin(self.world, rng, 1)[0]

    def path(self, start: np.ndarray, goal: np.ndarray, steps: int) -> np.ndarray:
        """Return scenes (steps, S) on the straight way from one to another, whose drawer or goal stands still."""
        still = {"drawer_open": [0], "soccer": [3, 4], "sweep_into": []}[self.world]
        start = start.copy()
        start[still] = goal[still]
        return start + np.linspace(0.0, 1.0, steps)[:, None] * (goal - start)

    def picture(self, states: np.ndarray, seed: int | None = None, split: str = "train") -> np.ndarray:
        """Draw scenes by the task's own camera; with a seed each in a look of a split's; uint8 (B, 64, 64, 3)."""
        rng = None if seed is None else np.random.default_rng(seed)
        return metaworld.picture(self.world, states, rng, split)
