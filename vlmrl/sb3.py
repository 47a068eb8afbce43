"""The door to stable-baselines3: `VecEnv`s with the reward of a vision-language model, one batch a step."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvIndices, VecEnvStepReturn

from vlmrl.errors import usage_error
from vlmrl.horizon import FixedHorizon
from vlmrl.runtime import without_display
from vlmrl.vector import VLMVectorReward, autoreset_mode, stack_frames
from vlmrl.wrappers import (
    add_success,
    check_reads,
    check_render_mode,
    score,
    shows,
    warn_early_end,
    warn_out_of_view,
)

if TYPE_CHECKING:
    from vlmrl.rewards.protocol import RewardModel


CHECKS = (OrderEnforcing, PassiveEnvChecker)
"""Wrappers whose `render` draws what the env within draws."""


class VLMVecEnv(DummyVecEnv):
    """Hold N envs in this process for stable-baselines3 and reward them by a reward model.

        env_fns = [lambda: gymnasium.make("CartPole-v1", render_mode="rgb_array")] * 8
        model = PPO("MlpPolicy", VLMVecEnv(env_fns, reward_model, fixed_horizon=500))

    The frame of a step is taken before the reset that an episode's end brings; all N are scored by one call, and drawn by
    one where the envs can be (`render_together`, as Meta-World's here) and no wrapper draws in their place.
    A world of vlmrl whose camera sees nothing of the goal, or whose physics diverged, gets reward 0, unscored, and its info
    says "out_of_view" or "diverged".
    infos carry "env_reward" on each step; where an episode ends "episode" (`Monitor`'s r, l, t; r is the sum
    of the model's rewards), "env_return", "is_success" (if the env gives it, or `success` of its last step),
    "terminal_observation" and "TimeLimit.truncated".

    Args:
        env_fns: functions that make the envs, with render_mode="rgb_array"; `Monitor` is not needed.
        reward_model: a `RewardModel` that reads frames.
        fixed_horizon: run every episode for exactly this many steps, see `FixedHorizon`.

    Raises:
        UsageError: for no envs, envs without rgb_array frames, or a model that does not read frames.
        NonFiniteRewardError: from `step`, for a NaN or infinite reward.
    """

    def __init__(
        self,
        env_fns: Sequence[Callable[[], gymnasium.Env]],
        reward_model: RewardModel,
        *,
        fixed_horizon: int | None = None,
    ) -> None:
        if not env_fns:
            raise usage_error(
                "env_fns", "no functions", "at least one", "pass a list of functions that make an env"
            )
        without_display()
        check_reads(reward_model, has_states=False)
        self.reward_model = reward_model

        def make(env_fn: Callable[[], gymnasium.Env]) -> gymnasium.Env:
            env = env_fn()
            check_render_mode(env)
            return env if fixed_horizon is None else FixedHorizon(env, fixed_horizon)

        super().__init__([lambda env_fn=env_fn: make(env_fn) for env_fn in env_fns])  # type: ignore[misc]
        self._episodes = EpisodeStatistics(self.num_envs)
        self._keeps_frames = getattr(reward_model, "keeps_frames", False)
        self._warned = self._warned_of_view = False

    def reset(self) -> Any:
        """Start a new episode in every env; seeds and options set before are used once."""
        self._episodes.start(np.ones(self.num_envs, bool))
        return super().reset()

    def step_wait(self) -> VecEnvStepReturn:
        """Step every env, take its frame, reset it if its episode ended; then score all frames at once."""
        env_rewards = np.zeros(self.num_envs)
        infos: list[dict[str, Any]] = []
        observations: list[Any] = []
        for i, env in enumerate(self.envs):
            obs, env_rewards[i], terminated, truncated, info = env.step(self.actions[i])
            observations.append(obs)
            infos.append({**info, "TimeLimit.truncated": bool(truncated and not terminated)})
            self.buf_dones[i] = terminated or truncated
            if terminated and not self._warned:
                self._warned = True
                warn_early_end(env)
        seen = np.array([shows(env, info) for env, info in zip(self.envs, infos, strict=True)])
        # A reward model that keeps frames for others (`FrameRewards`) keeps one of each env.
        rows = np.arange(self.num_envs) if self._keeps_frames else np.flatnonzero(seen)
        frames = draw([self.envs[i] for i in rows]) if len(rows) else None
        for i, obs in enumerate(observations):
            if self.buf_dones[i]:
                infos[i]["terminal_observation"] = deepcopy(obs)
                obs, self.reset_infos[i] = self.envs[i].reset()
            self._save_obs(i, obs)
        rewards = np.zeros(self.num_envs)
        if frames is not None:
            rewards[rows] = score(self.reward_model, frames, rows, self._episodes.lengths[rows] + 1)
        rewards[~seen] = 0.0
        self._warn_of_view(infos)
        self._episodes.record(rewards, env_rewards, self.buf_dones, infos)
        return self._obs_from_buf(), rewards.astype(np.float32), self.buf_dones.copy(), infos

    def _warn_of_view(self, infos: list[dict[str, Any]]) -> None:
        """Warn once, of the first env whose camera does not see what the goal is about."""
        unseen = [i for i, info in enumerate(infos) if info.get("out_of_view", False)]
        if unseen and not self._warned_of_view:
            self._warned_of_view = True
            warn_out_of_view(f"env {unseen[0]}")

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute on the env or wrapper that has it, on the outermost wrapper if none has."""
        for env in self._get_target_envs(indices):
            env.set_wrapper_attr(attr_name, value)

    def env_is_wrapped(
        self, wrapper_class: type[gymnasium.Wrapper], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Tell which envs wear a wrapper; True for `Monitor`, whose statistics this class keeps itself."""
        return [
            wrapper_class is Monitor or is_wrapped(env, wrapper_class)
            for env in self._get_target_envs(indices)
        ]


def draw(envs: Sequence[gymnasium.Env]) -> np.ndarray:
    """Return the frames (N, H, W, 3) uint8 of N envs as they are now, drawn in one pass where they can be.

    Raises: UsageError for what is no frame, and for frames of several sizes.
    """
    inner: list[Any] = [env.unwrapped for env in envs]
    together = getattr(inner[0], "render_together", None)
    if together is not None and len({type(env) for env in inner}) == 1 and not any(map(_draws, envs)):
        return np.asarray(together(inner))
    return stack_frames([env.render() for env in envs])


def _draws(env: gymnasium.Env) -> bool:
    """Tell whether a wrapper around an env has a `render` of its own, Gymnasium's two checks aside."""
    while isinstance(env, gymnasium.Wrapper):
        if type(env).render is not gymnasium.Wrapper.render and not isinstance(env, CHECKS):
            return True
        env = env.env
    return False


class GymnasiumVecEnv(VecEnv):
    """Run a Gymnasium `VectorEnv`, for instance a batched world of vlmrl, under stable-baselines3.

        mode = "vector_entry_point"
        worlds = gymnasium.make_vec("vlmrl/MountainCar-v0", num_envs=16, vectorization_mode=mode)
        model = SAC("MlpPolicy", GymnasiumVecEnv(worlds, reward_model))

    With a reward model the rewards are those of `VLMVectorReward`, one batch a step; infos as `VLMVecEnv`'s.

    Args:
        envs: a vector env that resets in the same step, or not by itself (DISABLED; takes
            options["reset_mask"]). stable-baselines3 has no place for NEXT_STEP's extra step.
        reward_model: None leaves the rewards as `envs` gives them.
        fixed_horizon: see `VLMVectorReward`; needs a reward model.

    Raises:
        UsageError: for NEXT_STEP, and whatever `VLMVectorReward` refuses.
    """

    def __init__(
        self, envs: VectorEnv, reward_model: RewardModel | None = None, *, fixed_horizon: int | None = None
    ) -> None:
        self.autoreset_mode = autoreset_mode(envs)
        if self.autoreset_mode == AutoresetMode.NEXT_STEP:
            raise usage_error(
                "autoreset_mode",
                "NEXT_STEP",
                "SAME_STEP or DISABLED, for stable-baselines3 has no step that only resets",
                "make the vector env with autoreset_mode=AutoresetMode.SAME_STEP",
            )
        if fixed_horizon is not None and reward_model is None:
            raise usage_error(
                "fixed_horizon",
                f"{fixed_horizon} without a reward model",
                "both or none",
                "make the envs with that horizon",
            )
        if reward_model is not None:
            envs = VLMVectorReward(envs, reward_model, fixed_horizon=fixed_horizon)
        self.envs = envs
        self._shares_obs = not getattr(envs.unwrapped, "copy", True)  # SB3 keeps observations across steps
        self._actions: Any = None
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)
        self._episodes = EpisodeStatistics(self.num_envs)

    def reset(self) -> Any:
        """Start a new episode in every env; seeds and options set before are used once."""
        if any(options != self._options[0] for options in self._options):
            raise usage_error("options", "different ones", "the same for all envs", "set one dict of options")
        # SB3 seeds env i with seed + i, which is what Gymnasium makes of an integer.
        obs, infos = self.envs.reset(seed=self._seeds[0], options=self._options[0] or None)
        self.reset_infos = split_infos(infos, self.num_envs)
        self._reset_seeds()
        self._reset_options()
        self._episodes.start(np.ones(self.num_envs, bool))
        return deepcopy(obs) if self._shares_obs else obs

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Step all envs at once."""
        obs, rewards, terminated, truncated, infos = self.envs.step(self._actions)
        ended = terminated | truncated
        rows = split_infos(infos, self.num_envs)
        for i in np.flatnonzero(ended).tolist():
            if self.autoreset_mode == AutoresetMode.SAME_STEP:
                rows[i] = self._end_of_same_step(i, rows[i])
            else:
                rows[i]["terminal_observation"] = deepcopy(take(obs, i))
        if ended.any() and self.autoreset_mode == AutoresetMode.DISABLED:
            obs, reset_infos = self.envs.reset(options={"reset_mask": ended.copy()})
            reset_rows = split_infos(reset_infos, self.num_envs)
            for i in np.flatnonzero(ended).tolist():
                self.reset_infos[i] = reset_rows[i]
        for i, row in enumerate(rows):
            row["TimeLimit.truncated"] = bool(truncated[i] and not terminated[i])
        env_rewards = np.asarray(infos.get("env_reward", rewards), np.float64)
        self._episodes.record(np.asarray(rewards, np.float64), env_rewards, ended, rows)
        return deepcopy(obs) if self._shares_obs else obs, np.asarray(rewards, np.float32), ended, rows

    def _end_of_same_step(self, i: int, row: dict[str, Any]) -> dict[str, Any]:
        """Return the info of an episode's last step; what stands beside it belongs to the new episode."""
        of_this_step = ("env_reward", "env_return", "is_success", "out_of_view", "diverged")
        ours = {key: row.pop(key) for key in of_this_step if key in row}
        final = {**row.pop("final_info", {}), **ours, "terminal_observation": row.pop("final_obs")}
        if "states_before_reset" in row:
            final["states_before_reset"] = row.pop("states_before_reset")
        self.reset_infos[i] = row
        return final

    def close(self) -> None:
        """Close the vector env."""
        self.envs.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Draw every env."""
        frames: Any = self.envs.render() if self.render_mode == "rgb_array" else None
        return [None] * self.num_envs if frames is None else list(frames)

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of each env; of the vector env, N times, where there are no envs inside."""
        base: Any = self.envs.unwrapped
        if hasattr(base, "get_attr") and attr_name != "render_mode":
            values = list(base.get_attr(attr_name))
        else:
            values = [getattr(base, attr_name)] * self.num_envs
        return [values[i] for i in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of each env; of the vector env itself where there are no envs inside."""
        base: Any = self.envs.unwrapped
        chosen = set(self._get_indices(indices))
        if hasattr(base, "set_attr"):
            if len(chosen) < self.num_envs:
                values = list(base.get_attr(attr_name))
                base.set_attr(attr_name, [value if i in chosen else old for i, old in enumerate(values)])
            else:
                base.set_attr(attr_name, [value] * self.num_envs)
        elif len(chosen) < self.num_envs:
            raise usage_error(
                "indices",
                sorted(chosen),
                f"all envs, for {type(base).__name__} keeps one {attr_name} for all",
                "leave indices out",
            )
        else:
            setattr(base, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of each env; of the vector env if it has none inside, its result split."""
        base: Any = self.envs.unwrapped
        chosen = list(self._get_indices(indices))
        if isinstance(base, SyncVectorEnv):
            methods = [base.envs[i].get_wrapper_attr(method_name) for i in chosen]
            return [method(*method_args, **method_kwargs) for method in methods]
        if not hasattr(base, "call"):
            results = getattr(base, method_name)(*method_args, **method_kwargs)
            per_env = isinstance(results, np.ndarray | list | tuple) and len(results) == self.num_envs
            return [results[i] if per_env else results for i in chosen]
        if len(set(chosen)) < self.num_envs:
            raise usage_error(
                "indices",
                chosen,
                f"all envs, for {type(base).__name__} calls them all",
                "leave indices out or use a SyncVectorEnv",
            )
        results = base.call(method_name, *method_args, **method_kwargs)
        return [results[i] for i in chosen]

    def env_is_wrapped(
        self, wrapper_class: type[gymnasium.Wrapper], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Tell which envs wear a wrapper, as far as they are in this process; True for `Monitor`."""
        envs = getattr(self.envs.unwrapped, "envs", [None] * self.num_envs)
        return [
            wrapper_class is Monitor or is_wrapped(envs[i], wrapper_class) for i in self._get_indices(indices)
        ]


class EpisodeStatistics:
    """Sums and lengths of N running episodes, reported at their ends as `Monitor` does."""

    def __init__(self, num_envs: int) -> None:
        self.returns = np.zeros(num_envs)
        self.env_returns = np.zeros(num_envs)
        self.lengths = np.zeros(num_envs, int)
        self._start = time.time()

    def start(self, mask: np.ndarray) -> None:
        """Begin new episodes in the envs of mask, bool (N,)."""
        self.returns[mask], self.env_returns[mask], self.lengths[mask] = 0.0, 0.0, 0

    def record(
        self, rewards: np.ndarray, env_rewards: np.ndarray, ended: np.ndarray, infos: list[dict[str, Any]]
    ) -> None:
        """Count one step of each env, rewards float64 (N,); add what it and an episode's end say to infos."""
        self.returns += rewards
        self.env_returns += env_rewards
        self.lengths += 1
        for i, info in enumerate(infos):
            info["env_reward"] = float(env_rewards[i])
            if ended[i]:
                info["env_return"] = float(self.env_returns[i])
                info["episode"] = {
                    "r": round(float(self.returns[i]), 6),
                    "l": int(self.lengths[i]),
                    "t": round(time.time() - self._start, 6),
                }
                add_success(info)
        self.start(ended)


def split_infos(infos: dict[str, Any], num_envs: int) -> list[dict[str, Any]]:
    """Split a vector env's infos, arrays with "_"-masks, into one dict for each of N envs."""
    rows: list[dict[str, Any]] = [{} for _ in range(num_envs)]
    for key, values in infos.items():
        if key.startswith("_") and key[1:] in infos:
            continue
        mask = infos.get("_" + key, np.ones(num_envs, bool))
        parts = split_infos(values, num_envs) if isinstance(values, dict) else values
        for i in np.flatnonzero(mask).tolist():
            rows[i][key] = parts[i]
    return rows


def take(obs: Any, i: int) -> Any:
    """Return row i of a batch of observations: an array, or a dict or tuple of such."""
    if isinstance(obs, dict):
        return {key: take(value, i) for key, value in obs.items()}
    if isinstance(obs, tuple):
        return tuple(take(value, i) for value in obs)
    return obs[i]
