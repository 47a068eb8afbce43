"""One world as a Gymnasium `Env`: a batch of one, so that both agree state for state."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode

from vlmrl_envs.batched import BatchedWorld
from vlmrl_envs.rules import Caption, WorldRules


class SingleWorld(gymnasium.Env):
    """One world; takes the keyword arguments of `BatchedWorld` but `num_envs` and `autoreset_mode`."""

    def __init__(self, rules: WorldRules, **kwargs: Any) -> None:
        self.worlds = BatchedWorld(rules, 1, autoreset_mode=AutoresetMode.DISABLED, **kwargs)
        self.rules = rules
        self.render_mode = self.worlds.render_mode
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": self.worlds.metadata["render_fps"]}
        self.observation_space = rules.observation_space
        self.action_space = rules.action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start anew from a noisy initial state; returns the observation (O,) and infos."""
        super().reset(seed=seed)
        observations, infos = self.worlds.reset(seed=seed)
        return observations[0], {"state": infos["states_before_reset"][0]}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Advance one env step with an action (A,) in [-1, 1]; the reward is the world's own graded progress."""
        observations, rewards, terminated, truncated, infos = self.worlds.step(np.asarray(action)[None])
        info: dict[str, Any] = {
            "state": infos["states_before_reset"][0],
            "success": bool(infos["success"][0]),
        }
        if "diverged" in infos:
            info["diverged"] = bool(infos["diverged"][0])
        if truncated[0]:
            info |= {"is_success": bool(infos["is_success"][0]), "env_return": float(infos["env_return"][0])}
        return observations[0], float(rewards[0]), bool(terminated[0]), bool(truncated[0]), info

    def render(self) -> np.ndarray | None:
        """Draw the current state: a frame (H, W, 3) uint8, or None without a render mode."""
        frames = self.worlds.render()
        return None if frames is None else frames[0]

    def close(self) -> None:
        """Free the renderer."""
        self.worlds.close()

    def get_state(self) -> np.ndarray:
        """Return the full physics state, float64 (S,)."""
        return self.worlds.get_states()[0]

    def set_state(self, state: np.ndarray) -> None:
        """Set the full physics state, float64 (S,)."""
        self.worlds.set_states(np.asarray(state)[None])

    def in_view(self) -> bool:
        """Tell whether the camera sees what the goal is about."""
        return bool(self.worlds.in_view(self.worlds.get_states())[0])

    def describe(self) -> list[Caption]:
        """Write graded captions of the current state."""
        return self.worlds.describe(self.get_state())
