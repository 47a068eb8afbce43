"""Collect T steps of N worlds for an agent: stepped at once, drawn and scored late, each frame once."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from vlmrl.agents.buffer import Rollout
from vlmrl.errors import NonFiniteError, usage_error
from vlmrl.rewards.protocol import RolloutReward, asked_model, draws, frames_a_state
from vlmrl.rewards.sources import StateSource
from vlmrl.vector import VLMVectorReward, autoreset_mode
from vlmrl.wrappers import OutOfViewWarning, check_reads
from vlmrl_envs.world import Resumable, Seeing, is_world

if TYPE_CHECKING:
    from vlmrl.agents.ppo import PPO
    from vlmrl.rewards.protocol import RewardModel


class ResumeWarning(UserWarning):
    """Something of a run cannot be taken up where it was left."""


@dataclass
class Collected:
    """A rollout and what was seen on the way."""

    rollout: Rollout
    env_rewards: np.ndarray
    """The env's own rewards (T, N); never trained on unless asked for."""
    env_returns: list[float] = field(default_factory=list)
    """Sums of them over the episodes that ended."""
    successes: list[bool] = field(default_factory=list)
    """Verdicts of the episodes that ended, where the env gives them; never trained on."""
    frames_scored: int = 0
    out_of_view: int = 0
    """States that the camera does not see; neither scored nor learned from."""
    learned: dict[str, float | None] = field(default_factory=dict)
    """Metrics of a `RolloutReward`."""
    encoder: dict[str, float] = field(default_factory=dict)
    """Metrics of an encoder that keeps some (`vlmrl.encoders.slow`)."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Seconds spent acting, stepping and scoring (drawing included)."""


class Collector:
    """Drive a vector env with an agent, T steps at a time.

    A World is stepped first and drawn late: the states of all T steps are scored together, or handed to a
    `RolloutReward`, which learns from them first. Any other vector env gets a `VLMVectorReward` around it, which scores each step's frames in one
    batch. States of a World that its camera does not see (`Seeing.in_view`) are left out, counted and reported.

    Args:
        envs: a World, or another Gymnasium `VectorEnv` made with render_mode="rgb_array".
        reward_model: None trains on the env's own reward.
        num_steps: T.
        fixed_horizon: for envs that are no World: suppress early termination, end episodes after so many steps.
    """

    def __init__(
        self,
        envs: VectorEnv,
        reward_model: RewardModel | None,
        num_steps: int,
        *,
        fixed_horizon: int | None = None,
    ) -> None:
        self.num_steps, self.num_envs = num_steps, envs.num_envs
        self.reward_model = reward_model
        self._late = is_world(envs)
        self.envs = envs
        if not self._late and reward_model is not None:
            self.envs = VLMVectorReward(envs, reward_model, fixed_horizon=fixed_horizon)
        self._mode = autoreset_mode(envs)
        self._obs: np.ndarray | None = None
        self._ended = np.zeros(self.num_envs, bool)
        self._warned = False

    @property
    def _learned(self) -> RolloutReward | None:
        return self.reward_model if isinstance(self.reward_model, RolloutReward) else None

    @property
    def _asked_model(self) -> RewardModel | None:
        return asked_model(self.reward_model) if self.reward_model is not None else None

    @property
    def _draws(self) -> bool:
        return draws(self.reward_model)

    @property
    def encoder(self) -> Any:
        """The encoder of the model that answers; None where there is none."""
        return getattr(self._asked_model, "encoder", None)

    def reset(self, seed: int, stagger: bool = True) -> None:
        """Start all worlds; with `stagger`, Worlds start at different ages, so that their episodes do not end at once."""
        options = None
        if self._late and stagger:
            world: Any = self.envs.unwrapped
            options = {"elapsed": np.random.default_rng(seed).integers(0, world.horizon, self.num_envs)}
        self._obs, _ = self.envs.reset(seed=seed, options=options)
        self._ended[:] = False

    def collect(self, agent: PPO) -> Collected:
        """Collect T steps with an agent.

        Raises: NonFiniteError for a NaN or infinite reward, with its step and world; UsageError where the camera sees
        none of the states.
        """
        if self._obs is None:
            self.reset(0)
        assert self._obs is not None
        steps: list[dict[str, np.ndarray]] = []
        out = Collected(rollout=None, env_rewards=np.zeros(0))  # type: ignore[arg-type]
        seconds = {"act": 0.0, "step": 0.0, "score": 0.0}
        asked = self._learned.asked if self._learned else 0
        for _ in range(self.num_steps):
            started = perf_counter()
            sample = agent.sample(self._obs)
            acted = perf_counter()
            steps.append(self._step(sample, out))
            seconds["act"] += acted - started
            seconds["step"] += perf_counter() - acted
        columns = {key: np.stack([step[key] for step in steps]) for key in steps[0]}
        started = perf_counter()
        if self._late and self.reward_model is not None:
            columns["valid"] = self._seen(columns["states"], columns["valid"], out)
            columns["rewards"], columns["valid"] = self._score(columns)
        if self._draws:
            out.frames_scored = int(columns["valid"].sum()) * frames_a_state(self.reward_model)
        if self._learned:
            out.learned = self._learned.metrics()
            out.frames_scored = (self._learned.asked - asked) * frames_a_state(self.reward_model)
        out.encoder = self.encoder.metrics() if hasattr(self.encoder, "metrics") else {}
        seconds["score"] = perf_counter() - started
        out.env_rewards = columns.pop("env_rewards")
        columns.pop("states", None)
        out.rollout, out.seconds = Rollout(**columns), seconds
        return out

    def _step(self, sample: Any, out: Collected) -> dict[str, np.ndarray]:
        asleep = self._ended if self._mode == AutoresetMode.NEXT_STEP else np.zeros(self.num_envs, bool)
        assert self._obs is not None
        obs, rewards, terminated, truncated, infos = self.envs.step(sample.actions)
        ended = terminated | truncated
        next_obs = np.array(obs, np.float32, copy=True)
        if self._mode == AutoresetMode.SAME_STEP:
            for i in np.flatnonzero(ended):
                next_obs[i] = infos["final_obs"][i]
        if ended.any():
            self._note_ends(infos, ended, out)
        row = {
            "obs": np.asarray(self._obs, np.float32), "actions": sample.raw_actions, "log_probs": sample.log_probs,
            "values": sample.values, "rewards": np.asarray(rewards, np.float32), "next_obs": next_obs,
            "terminated": terminated.copy(), "truncated": truncated.copy(), "valid": ~asleep,
            "env_rewards": np.asarray(infos.get("env_reward", rewards), np.float64),
        }  # fmt: skip
        if self._late:
            row["states"] = infos["states_before_reset"]
            row["valid"] &= ~infos.get("diverged", np.zeros(self.num_envs, bool))
        self._ended = ended
        self._obs = obs
        if self._mode == AutoresetMode.DISABLED and ended.any():
            self._obs, _ = self.envs.reset(options={"reset_mask": ended})
        return row

    def _note_ends(self, infos: dict[str, Any], ended: np.ndarray, out: Collected) -> None:
        final = infos.get("final_info", {})
        for key, where in (("is_success", out.successes), ("env_return", out.env_returns)):
            source = infos if key in infos else final
            if key in source:
                known = np.asarray(source.get("_" + key, ended), bool) & ended
                where.extend(np.asarray(source[key])[known].tolist())

    def _seen(self, states: np.ndarray, valid: np.ndarray, out: Collected) -> np.ndarray:
        """Return which rows (T, N) count: those of `valid` whose states (T, N, S) the camera sees."""
        world: Any = self.envs.unwrapped
        if not (self._draws and isinstance(world, Seeing) and valid.any()):
            return valid
        seen = valid.copy()
        seen[valid] = world.in_view(states[valid])
        out.out_of_view = int(valid.sum() - seen.sum())
        if out.out_of_view and not self._warned:
            self._warned = True
            share = out.out_of_view / valid.sum()
            text = f"camera: got {share:.1%} of the states out of view; they are neither scored nor rewarded; metrics count them"
            warnings.warn(text, OutOfViewWarning, stacklevel=3)
        if not seen.any():
            remedy = "choose another camera, or a shorter horizon"
            raise usage_error("camera", "no state of a whole rollout in view", "states that it sees", remedy)
        return seen

    def _score(self, columns: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Draw and score those states (T, N, S) that count; return rewards (T, N) and which rows count now."""
        assert self.reward_model is not None
        states, valid = columns["states"], columns["valid"]
        if self._learned:
            ended = columns["terminated"] | columns["truncated"]
            return self._learned.score_rollout(states, valid, ended, columns["env_rewards"])
        rewards = np.zeros(valid.shape, np.float32)
        rewards[valid] = score_states(self.envs.unwrapped, self.reward_model, states[valid])
        bad = np.argwhere(~np.isfinite(rewards))
        if len(bad):
            step, world = bad[0]
            raise NonFiniteError("reward", float(rewards[step, world]), int(step), int(world))
        return rewards, valid

    def close(self) -> None:
        """Close the envs, and what the reward keeps open."""
        close = getattr(self.reward_model, "close", None)
        if close is not None:
            close()
        self.envs.close()

    def snapshot(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return what the next rollout depends on besides agent and reward: arrays and JSON values, by name.

        Empty for envs that cannot be stored (`Resumable`).
        """
        world: Any = self.envs.unwrapped
        if not isinstance(world, Resumable):
            return {}, {}
        arrays, values = world.snapshot()
        return {**arrays, "collector_ended": self._ended.copy()}, values

    def load_snapshot(self, arrays: dict[str, np.ndarray], values: dict[str, Any], seed: int) -> None:
        """Go on where `snapshot` was taken; where it is empty, begin new episodes from `seed`, with a warning."""
        world: Any = self.envs.unwrapped
        if not arrays:
            text = f"{type(world).__name__}: its state cannot be stored, so the run goes on with new episodes"
            warnings.warn(text, ResumeWarning, stacklevel=2)
            self.reset(seed)
            return
        if self._obs is None:
            self.reset(seed)  # wrappers around the world want to have been reset once
        rest = {name: array for name, array in arrays.items() if name != "collector_ended"}
        self._obs = world.load_snapshot(rest, values)
        self._ended = arrays["collector_ended"].astype(bool)


def score_states(world: Any, reward_model: RewardModel, states: np.ndarray) -> np.ndarray:
    """Return rewards float32 (B,) of a World's states (B, S), drawn in chunks unless the model reads states.

    Raises: UsageError for a model that reads embeddings, which states have none of.
    """
    check_reads(reward_model, has_states=True)
    return StateSource(reward_model, world).ask(states)
