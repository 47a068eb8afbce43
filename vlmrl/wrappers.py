"""The reward of a vision-language model around one env, and what the doors for many envs share with it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np

from vlmrl.errors import NonFiniteError, usage_error
from vlmrl.frames import check_frames
from vlmrl.horizon import FixedHorizon
from vlmrl.rewards.protocol import draws
from vlmrl.rewards.sources import or_nan
from vlmrl.runtime import without_display

if TYPE_CHECKING:
    from vlmrl.rewards.protocol import RewardModel


class EarlyTerminationWarning(UserWarning):
    """An env ended an episode early, so that the length of life says something about the task."""


class OutOfViewWarning(UserWarning):
    """The camera does not see what the goal is about on some states; they are not scored."""


class NonFiniteRewardError(NonFiniteError):
    """A reward model returned NaN or infinity.

    Attributes: `env_index`, `step` (of that env's episode, from 1), `value`, and `frame` (uint8 (H, W, 3);
    None where the model reads states).
    """

    remedy = "look at this error's .frame and at the prompts"

    def __init__(self, env_index: int, step: int, value: float, frame: np.ndarray | None) -> None:
        self.env_index, self.frame = env_index, frame
        super().__init__("vlm_reward", value, step, env_index)

    def place(self) -> str:
        """Return the env and the step of its episode."""
        return f" from the reward model for env {self.env_index} at step {self.step} of its episode"


class VLMRewardWrapper(gymnasium.Wrapper):
    """Replace an env's reward by that of a reward model on the frame that each step led to.

        env = gymnasium.make("CartPole-v1", render_mode="rgb_array")
        reward_model = vlmrl.GoalBaselineReward(vlmrl.load_encoder(), goal, baseline)
        env = vlmrl.VLMRewardWrapper(env, reward_model, fixed_horizon=500)

    A world of vlmrl whose camera sees nothing of the goal, or whose physics diverged, gets reward 0, unscored:
    info["out_of_view"] or info["diverged"] says so.

    Each step scores one frame, a batch of 1: for many envs `VLMVectorReward` or `vlmrl.sb3.VLMVecEnv` are
    faster. The env's own reward stays in info["env_reward"]; an episode's end carries info["env_return"] (the
    sum of these) and info["is_success"] (if the env gives that, or a `success` of its last step).

    Args:
        env: any env made with render_mode="rgb_array"; for a model that reads states, a world of vlmrl.
        reward_model: see `RewardModel`; its `reads` is "frames" or "states".
        fixed_horizon: run every episode for exactly this many steps, see `FixedHorizon`.

    Raises:
        UsageError: for an env without rgb_array frames, or a model that reads what this env cannot give.
        NonFiniteRewardError: from `step`, for a NaN or infinite reward.
    """

    def __init__(
        self, env: gymnasium.Env, reward_model: RewardModel, *, fixed_horizon: int | None = None
    ) -> None:
        without_display()
        self._reads = check_reads(reward_model, has_states=hasattr(env.unwrapped, "get_state"))
        if self._reads == "frames":
            check_render_mode(env)
        super().__init__(env if fixed_horizon is None else FixedHorizon(env, fixed_horizon))
        self.reward_model = reward_model
        self._steps = 0
        self._env_return = 0.0
        self._warned = self._warned_of_view = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start a new episode."""
        self._steps = 0
        self._env_return = 0.0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Step and score the frame that the step led to; returns the model's reward."""
        obs, env_reward, terminated, truncated, info = self.env.step(action)
        self._steps += 1
        self._env_return += float(env_reward)
        reward = 0.0
        if self._sees(info):
            if self._reads == "states":
                batch = self.env.unwrapped.get_state()[None]  # type: ignore[attr-defined]
            else:
                batch = check_frame(self.env.render())[None]
            reward = score(self.reward_model, batch, np.zeros(1, int), np.array([self._steps]))[0]
        info["env_reward"] = float(env_reward)
        if terminated or truncated:
            info["env_return"] = self._env_return
            add_success(info)
        if terminated and not self._warned:
            self._warned = True
            warn_early_end(self.env)
        return obs, float(reward), bool(terminated), bool(truncated), info

    def _sees(self, info: dict[str, Any]) -> bool:
        """Tell whether there is something to score, and warn once where the camera does not see it."""
        if not draws(self.reward_model):
            return not info.get("diverged", False)
        seen = shows(self.env, info)
        if info.get("out_of_view", False) and not self._warned_of_view:
            self._warned_of_view = True
            warn_out_of_view(f"step {self._steps} of an episode")
        return seen


def shows(env: gymnasium.Env, info: dict[str, Any]) -> bool:
    """Tell whether an env's frame shows something to score; info says "out_of_view" of a world whose camera sees nothing.

    Where physics diverged (info["diverged"]) there is nothing to see; envs that are no worlds are taken to show something.
    """
    if info.get("diverged", False):
        return False
    world: Any = env.unwrapped
    if hasattr(world, "in_view") and not world.in_view():
        info["out_of_view"] = True
        return False
    return True


def warn_out_of_view(where: str) -> None:
    """Say that a state was not scored, and where."""
    text = (
        f"camera: got {where} out of view; expected states that it sees; such states get reward 0, unscored, "
        f"and infos mark them: choose another camera, or a shorter horizon"
    )
    warnings.warn(text, OutOfViewWarning, stacklevel=4)


def check_reads(reward_model: RewardModel, has_states: bool) -> str:
    """Return what a reward model reads: "frames" or "states".

    Raises:
        UsageError: for an object that is no reward model, and for one that reads what the env cannot give.
    """
    if not callable(getattr(reward_model, "compute_reward", None)):
        raise usage_error(
            "reward_model",
            type(reward_model).__name__,
            "an object with compute_reward(batch) -> (B,)",
            "pass e.g. vlmrl.GoalBaselineReward(encoder, goal, baseline)",
        )
    reads = getattr(reward_model, "reads", "frames")
    name = f"{type(reward_model).__name__} that reads {reads!r}"
    if reads == "embeddings":
        raise usage_error(
            "reward_model",
            name,
            "one that reads 'frames'",
            "pass a model that holds its encoder, e.g. vlmrl.GoalBaselineReward (vlmrl.train embeds)",
        )
    if reads == "states" and not has_states:
        raise usage_error(
            "reward_model",
            name,
            "one that reads 'frames', for this env has no physics states to read",
            "use a world of vlmrl (see: vlmrl tasks) or a reward model of frames",
        )
    if reads not in ("frames", "states"):
        raise usage_error(
            "reward_model.reads", repr(reads), "'frames' or 'states'", "set reads on the reward model"
        )
    return reads


def check_render_mode(env: Any) -> None:
    """Check that an env, single or vector, draws rgb_array frames.

    Raises:
        UsageError: with the remedy, which differs for an env that could and for one that cannot draw them.
    """
    if env.render_mode == "rgb_array":
        return
    modes = list(env.metadata.get("render_modes", []))
    if "rgb_array" in modes:
        raise usage_error(
            "render_mode",
            repr(env.render_mode),
            f"'rgb_array' for {env_name(env)}",
            "make the env with render_mode='rgb_array'",
        )
    raise usage_error(
        "env",
        f"{env_name(env)}, which draws {modes or 'nothing'}",
        "an env with the render mode 'rgb_array'",
        "let its render() return uint8 (H, W, 3) frames, or use a world of vlmrl (see: vlmrl tasks)",
    )


def check_frame(frame: Any) -> np.ndarray:
    """Return one rendered frame as uint8 (H, W, 3).

    Raises:
        UsageError: for anything that is no such frame.
    """
    if not isinstance(frame, np.ndarray):
        raise usage_error(
            "frame",
            type(frame).__name__,
            "a uint8 array (H, W, 3)",
            "return one from the env's render(), with render_mode='rgb_array'",
        )
    check_frames(frame[None])
    return frame


def score(
    reward_model: RewardModel, batch: np.ndarray, env_index: np.ndarray, steps: np.ndarray
) -> np.ndarray:
    """Score a batch by one call of the reward model.

    Args:
        batch: frames uint8 (B, H, W, 3) or states float64 (B, S).
        env_index: env of each row, (B,).
        steps: step of that env's episode, (B,).

    Returns:
        Rewards, float64 (B,).

    Raises:
        UsageError: when the model returns another number of rewards.
        NonFiniteRewardError: naming env, step and value of the first row that is not finite.
    """
    rewards: Any = or_nan(reward_model.compute_reward, batch)
    if hasattr(rewards, "detach"):  # a torch tensor, maybe on an accelerator
        rewards = rewards.detach().cpu()
    rewards = np.asarray(rewards, np.float64)
    if rewards.shape != (len(batch),):
        raise usage_error(
            f"{type(reward_model).__name__}.compute_reward",
            f"shape {rewards.shape}",
            f"shape ({len(batch)},), one reward for each row",
            "return one number per frame or state",
        )
    if not np.isfinite(rewards).all():
        row = int(np.flatnonzero(~np.isfinite(rewards))[0])
        frame = batch[row].copy() if batch.ndim == 4 else None
        raise NonFiniteRewardError(int(env_index[row]), int(steps[row]), float(rewards[row]), frame)
    return rewards


def add_success(info: dict[str, Any]) -> None:
    """Set info["is_success"] from the last step's `success`, unless the env set it or gives neither."""
    if "is_success" not in info and "success" in info:
        info["is_success"] = bool(info["success"])


def warn_early_end(env: Any) -> None:
    """Warn that this env terminates early and name the remedy."""
    limit = getattr(env.spec, "max_episode_steps", None)
    warnings.warn(
        f"{env_name(env)} terminated an episode early: its length tells the agent about the task, so a "
        "reward that says nothing may teach it and a good one may punish success. "
        f"Pass fixed_horizon={limit or 'H'} to run every episode for the same number of steps.",
        EarlyTerminationWarning,
        stacklevel=3,
    )


def env_name(env: Any) -> str:
    """Return an env's id, or its class name if it has none."""
    spec = getattr(env.unwrapped, "spec", None)
    return spec.id if spec is not None else type(env.unwrapped).__name__
