"""The reward of a vision-language model around a vector env: one batch a step, the right frame always."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper

from vlmrl.errors import usage_error
from vlmrl.horizon import FixedHorizon, check_horizon
from vlmrl.rewards.protocol import draws
from vlmrl.runtime import without_display
from vlmrl.wrappers import (
    check_frame,
    check_reads,
    check_render_mode,
    env_name,
    score,
    warn_early_end,
    warn_out_of_view,
)

if TYPE_CHECKING:
    from vlmrl.rewards.protocol import RewardModel

FRAME = "vlmrl_frame"
"""Key in info under which `FrameInInfo` leaves the frame of a step."""


class FrameInInfo(gymnasium.Wrapper, RecordConstructorArgs):
    """Leave the frame that each step led to in its info, where no autoreset can hide it.

    Needed around the envs of an `AsyncVectorEnv` that resets in the same step:
    `AsyncVectorEnv([lambda: FrameInInfo(gymnasium.make(...))] * 4, autoreset_mode="SameStep")`.
    """

    leaves_frames = True

    def __init__(self, env: gymnasium.Env) -> None:
        RecordConstructorArgs.__init__(self)
        gymnasium.Wrapper.__init__(self, env)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step and draw."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        info[FRAME] = check_frame(self.env.render())
        return obs, reward, terminated, truncated, info


class VLMVectorReward(VectorWrapper):
    """Replace a vector env's rewards by those of a reward model, one `compute_reward` a vector step.

    The reward of a step is that of its own frame, also where an episode ends, in every autoreset mode:

    - NEXT_STEP: frames are drawn after the step; the step that resets an env gets reward 0, unscored.
    - SAME_STEP: the last frame of an episode is taken before the reset: from infos["states_before_reset"] of
      a world of vlmrl; from within the envs of a `SyncVectorEnv`, which get a `FrameInInfo` around them here;
      from an `AsyncVectorEnv` whose envs wear one already. Anything else is refused.
    - DISABLED: frames are drawn after the step; the caller resets by options={"reset_mask": mask}.

    infos: "env_reward" float64 (N,), the envs' own rewards (mask "_env_reward": False on a step that only
    resets); where episodes end "env_return" float64 (N,) and, if the envs give it, "is_success" bool (N,),
    each with its mask and at the top level in every mode. "final_obs" and "final_info" stay as they are.
    Of a world of vlmrl, a state that its camera does not see (marked in infos["out_of_view"], bool (N,)) or in which
    physics diverged (infos["diverged"]) gets reward 0, unscored.

    Args:
        envs: a vector env of N envs, made with render_mode="rgb_array" unless it is a world of vlmrl.
        reward_model: see `RewardModel`; its `reads` is "frames", or "states" for a world of vlmrl.
        fixed_horizon: run every episode for exactly this many steps. Only where the envs can be reached: a
            `SyncVectorEnv`, or what already has this horizon.

    Raises:
        UsageError: for what cannot be done, with the remedy.
        NonFiniteRewardError: from `step`, for a NaN or infinite reward.
    """

    def __init__(
        self, envs: VectorEnv, reward_model: RewardModel, *, fixed_horizon: int | None = None
    ) -> None:
        from vlmrl_envs.world import Seeing, is_world  # here, since it imports MuJoCo

        super().__init__(envs)
        without_display()
        self.reward_model = reward_model
        self.autoreset_mode = autoreset_mode(envs)
        self._is_world = is_world(envs)
        self._reads = check_reads(reward_model, has_states=self._is_world)
        self._says_what_it_sees = self._is_world and isinstance(envs.unwrapped, Seeing)
        if fixed_horizon is not None:
            fix_horizon(envs, check_horizon(fixed_horizon))
        if not self._is_world:
            check_render_mode(envs)
            if self.autoreset_mode == AutoresetMode.SAME_STEP:
                keep_final_frames(envs)
        # The workers of an AsyncVectorEnv without shared memory remember an ended episode across reset()
        # (Gymnasium 1.4), so their next step still only resets.
        self._reset_is_forgotten = isinstance(envs.unwrapped, AsyncVectorEnv) and not (
            envs.unwrapped.shared_memory
        )
        self._steps = np.zeros(self.num_envs, int)
        self._env_returns = np.zeros(self.num_envs)
        self._resets_next = np.zeros(self.num_envs, bool)
        self._warned = self._warned_of_view = False

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start new episodes, in all envs or in those of options["reset_mask"]."""
        mask = (options or {}).get("reset_mask", slice(None))  # read first: Gymnasium pops it
        obs, infos = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        self._steps[mask] = 0
        self._env_returns[mask] = 0.0
        if not self._reset_is_forgotten:
            self._resets_next[mask] = False
        return obs, infos

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Step all envs and score the frames that the steps led to; rewards are float64 (N,)."""
        obs, env_rewards, terminated, truncated, infos = self.env.step(actions)
        self._check_infos(infos)
        terminated, truncated = np.asarray(terminated, bool), np.asarray(truncated, bool)
        ended = terminated | truncated
        stepped = ~self._resets_next
        self._steps[~stepped], self._env_returns[~stepped] = 0, 0.0
        env_rewards = np.where(stepped, np.asarray(env_rewards, np.float64), 0.0)
        self._steps[stepped] += 1
        self._env_returns += env_rewards
        rewards = np.zeros(self.num_envs)
        rows = np.flatnonzero(stepped & self._seen(stepped, infos))
        if len(rows):
            rewards[rows] = score(self.reward_model, self._batch(rows, ended, infos), rows, self._steps[rows])
        self._report(env_rewards, stepped, ended, infos)
        if terminated.any() and not self._warned:
            self._warned = True
            warn_early_end(getattr(self.env.unwrapped, "envs", [self.env])[0])
        return obs, rewards, terminated, truncated, infos

    def _seen(self, stepped: np.ndarray, infos: dict[str, Any]) -> np.ndarray:
        """Tell which envs (N,) show something to score; those out of view are marked in infos."""
        seen = np.ones(self.num_envs, bool)
        for source in (infos, infos.get("final_info", {})):  # physics that diverges ends its episode
            seen &= ~np.asarray(source.get("diverged", False), bool)
        if not (self._says_what_it_sees and draws(self.reward_model)):
            return seen
        world: Any = self.env.unwrapped
        in_view = np.asarray(world.in_view(infos["states_before_reset"]), bool)
        out = stepped & seen & ~in_view
        if out.any():
            infos["out_of_view"] = out
            if not self._warned_of_view:
                self._warned_of_view = True
                warn_out_of_view(f"{out.sum()} of {self.num_envs} worlds")
        return seen & in_view

    def _batch(self, rows: np.ndarray, ended: np.ndarray, infos: dict[str, Any]) -> np.ndarray:
        """Return what the reward model reads of the envs in rows (B,): frames or states."""
        if self._is_world:
            world: Any = self.env.unwrapped
            states = infos["states_before_reset"][rows]
            return states if self._reads == "states" else world.render_states(states)
        frames = infos.pop(FRAME, None)
        infos.pop("_" + FRAME, None)
        if self.autoreset_mode == AutoresetMode.SAME_STEP and ended.any():
            final = infos["final_info"].pop(FRAME)
            infos["final_info"].pop("_" + FRAME)
            frames = final if ended.all() else np.where(ended[:, None, None, None], final, frames)
        if frames is None:
            frames = self.env.render()
        if not isinstance(frames, np.ndarray):
            frames = stack_frames([frames[i] for i in rows])
        else:
            frames = frames[rows]
        check_frame(frames[0])
        return frames

    def _report(
        self, env_rewards: np.ndarray, stepped: np.ndarray, ended: np.ndarray, infos: dict[str, Any]
    ) -> None:
        """Add env_reward, env_return and is_success to infos; begin the next episode's count."""
        infos["env_reward"], infos["_env_reward"] = env_rewards, stepped.copy()
        if ended.any():
            infos["env_return"], infos["_env_return"] = np.where(ended, self._env_returns, 0.0), ended.copy()
            same_step = self.autoreset_mode == AutoresetMode.SAME_STEP
            add_successes(infos, infos.get("final_info", {}) if same_step else infos, ended)
        if self.autoreset_mode == AutoresetMode.SAME_STEP:
            self._steps[ended], self._env_returns[ended] = 0, 0.0
        elif self.autoreset_mode == AutoresetMode.NEXT_STEP:
            self._resets_next = ended.copy()

    def _check_infos(self, infos: Any) -> None:
        if not isinstance(infos, dict):
            raise usage_error(
                "infos",
                type(infos).__name__,
                "a dict of arrays, as Gymnasium's vector envs give it",
                "put VLMVectorReward below the wrapper that changes infos",
            )
        if self._is_world and "states_before_reset" not in infos:
            raise usage_error(
                "infos",
                sorted(infos),
                "'states_before_reset' in the infos of a world",
                "return the full states after the step, before any autoreset",
            )


def autoreset_mode(envs: VectorEnv) -> AutoresetMode:
    """Return a vector env's declared autoreset mode.

    Raises:
        UsageError: when it declares none, for then nobody knows which frame a step's end is.
    """
    declared = envs.metadata.get("autoreset_mode")
    try:
        return AutoresetMode(declared)
    except ValueError:
        raise usage_error(
            "autoreset_mode",
            repr(declared),
            f"one of {[mode.value for mode in AutoresetMode]} in the metadata of {env_name(envs)}",
            "set envs.metadata['autoreset_mode'] to what this vector env does at an episode's end",
        ) from None


def keep_final_frames(envs: VectorEnv) -> None:
    """See to it that a vector env which resets in the same step hands out the frames before the reset.

    Raises:
        UsageError: where that is impossible from outside.
    """
    base = envs.unwrapped
    if isinstance(base, SyncVectorEnv):
        base.envs = [env if env.has_wrapper_attr("leaves_frames") else FrameInInfo(env) for env in base.envs]
        return
    if isinstance(base, AsyncVectorEnv) and all(base.call("has_wrapper_attr", "leaves_frames")):
        return
    remedy = "make it with autoreset_mode=AutoresetMode.NEXT_STEP"
    if isinstance(base, AsyncVectorEnv):
        wear = "[lambda: vlmrl.vector.FrameInInfo(gymnasium.make(...)), ...]"
        remedy += f", or wrap each env: AsyncVectorEnv({wear})"
    raise usage_error(
        "autoreset_mode",
        f"SAME_STEP of {type(base).__name__}, which resets before its last frame can be drawn",
        "NEXT_STEP or DISABLED, or an env that hands the frame out",
        remedy,
    )


def fix_horizon(envs: VectorEnv, horizon: int) -> None:
    """Give every env of a vector env this fixed horizon.

    Raises:
        UsageError: where the envs cannot be reached and do not have it already.
    """
    base: Any = envs.unwrapped
    if isinstance(base, SyncVectorEnv):
        base.envs = [FixedHorizon(env, horizon) for env in base.envs]
        return
    if isinstance(base, AsyncVectorEnv):
        if all(base.call("has_wrapper_attr", "horizon")) and set(base.get_attr("horizon")) == {horizon}:
            return
        remedy = f"wrap each env: AsyncVectorEnv([lambda: FixedHorizon(gymnasium.make(...), {horizon}), ...])"
    else:
        if getattr(base, "horizon", None) == horizon:
            return
        remedy = f"make it with horizon={horizon} if it takes that, or with vectorization_mode='sync'"
    raise usage_error(
        "fixed_horizon",
        f"{horizon} for {type(base).__name__}, whose envs cannot be reached from outside",
        "a SyncVectorEnv, or envs that have this horizon",
        remedy,
    )


def stack_frames(frames: list[Any]) -> np.ndarray:
    """Copy frames of one size into a batch, uint8 (B, H, W, 3).

    Raises:
        UsageError: for frames that are no images, or of different sizes.
    """
    shapes = {check_frame(frame).shape for frame in frames}
    if len(shapes) > 1:
        raise usage_error(
            "frames", f"sizes {sorted(shapes)}", "one size", "make all envs with the same render size"
        )
    return np.stack(frames)


def add_successes(infos: dict[str, Any], source: dict[str, Any], ended: np.ndarray) -> None:
    """Set infos["is_success"] bool (N,) where an episode ended, from `is_success` or `success` in source."""
    key = "is_success" if "is_success" in source else "success"
    if key not in source or (source is infos and key == "is_success"):
        return
    given = ended & source.get("_" + key, np.ones_like(ended))
    kept = infos.get("_is_success", np.zeros_like(ended)) & ~ended
    before = np.asarray(infos.get("is_success", np.zeros_like(ended)), bool)
    infos["is_success"] = np.where(ended, given & np.asarray(source[key], bool), kept & before)
    infos["_is_success"] = given | kept
