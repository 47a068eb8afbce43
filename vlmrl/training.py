"""Train an agent from a sentence: the runner that ties worlds, reward, agent and run folder together."""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from vlmrl.agents.config import PPOConfig
from vlmrl.configs import from_plain
from vlmrl.errors import usage_error
from vlmrl.making import make_envs
from vlmrl.progress import Progress
from vlmrl.rewards.protocol import FLAT
from vlmrl.runs import RunFolder, default_run_path, read_config
from vlmrl.tasks import Task, get_task

RewardName = Literal["vlm", "constant", "random_encoder", "swapped_goal", "blank", "true", "state_similarity"]
REWARDS: tuple[RewardName, ...] = get_args(RewardName)
FROM_FRAMES: tuple[RewardName, ...] = ("vlm", "random_encoder", "swapped_goal", "blank")
"""Rewards that an encoder gives."""
FLAT_FROM = 0.1
"""Share of the steps after which a run says that its reward is flat."""
RECENT = 100
"""Episodes over which the shown success is averaged."""


class FlatRewardWarning(UserWarning):
    """The reward has been one constant so far: nothing is learnt from it."""


@dataclass(frozen=True)
class TrainConfig:
    """Everything that a training run is made from."""

    task: Task
    """The goal in words and the world it is meant for."""
    encoder: str = "embedded"
    """What `load_encoder` takes: embedded, MODEL/PRETRAINED, local-dir:PATH or random:SEED."""
    agent: PPOConfig = field(default_factory=PPOConfig)
    """Hyper-parameters of PPO."""
    num_envs: int = 64
    """Worlds N that are stepped at once."""
    total_steps: int = 300_000
    """Environment steps to train for, over all worlds."""
    seed: int = 0
    """Seed of worlds and agent."""
    device: str | None = None
    """Where the encoder runs: cpu, cuda[:i], or None for the GPU if there is one."""
    renderer: str = "warp"
    """How worlds of vlmrl are drawn: warp (everywhere) or gl."""
    out: Path | None = None
    """Run folder, which must not exist; None makes runs/<task>-<seed>-<time>."""
    reward: RewardName = "vlm"
    """vlm, or a control: constant, random_encoder, swapped_goal, blank (black frames), true (the world's own
    reward), state_similarity (how true the goal's words are of the physics: what a perfect encoder would say)."""
    reward_resolution: float = FLAT
    """An encoder's rewards whose range in the run so far is no wider count as one constant: nothing is learnt
    from them. 0 learns from any difference."""
    checkpoint_every: int = 100_000
    """Environment steps between checkpoints."""
    video: bool = True
    """Write a video of an episode before and after training."""

    def __post_init__(self) -> None:
        if self.reward not in REWARDS:
            raise usage_error("reward", self.reward, f"one of {', '.join(REWARDS)}", "vlm is the usual one")
        if not 0 <= self.reward_resolution < float("inf"):
            remedy = "0 learns from any difference"
            raise usage_error("reward_resolution", self.reward_resolution, "a finite number >= 0", remedy)
        for name in ("num_envs", "total_steps", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise usage_error(name, getattr(self, name), "an integer >= 1", f"set {name} accordingly")


class Run:
    """A trained (or half-trained) agent with its run folder."""

    def __init__(self, config: TrainConfig, folder: RunFolder, agent: Any) -> None:
        self.config, self.folder, self.agent = config, folder, agent

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.folder.path

    def act(self, obs: np.ndarray, deterministic: bool = True) -> np.ndarray:
        """Choose actions for observations (B, O), or for one (O,)."""
        obs = np.asarray(obs, np.float32)
        if obs.ndim == 1:
            return self.agent.act(obs[None], deterministic)[0]
        return self.agent.act(obs, deterministic)


def preset(task_name: str) -> TrainConfig:
    """Return the settings with which a built-in task is trained here.

    Raises: UsageError for an unknown task.
    """
    task = get_task(task_name)
    if task.name == "cartpole":
        agent = PPOConfig(num_steps=32, learning_rate=1e-3, gamma=0.98, num_epochs=8, init_log_std=-0.5)
        return TrainConfig(task=task, agent=agent, total_steps=150_000)
    if task.name == "mountain_car":
        agent = PPOConfig(
            num_steps=100,
            learning_rate=1e-3,
            anneal_lr=True,
            gamma=0.998,
            gae_lambda=0.97,
            num_epochs=8,
            sde=True,
        )
        return TrainConfig(task=task, agent=agent, total_steps=300_000)
    agent = PPOConfig(
        num_steps=32, learning_rate=5e-4, gamma=0.97, num_epochs=6, num_minibatches=4, hidden_sizes=(256, 128),
        init_log_std=-1.0, activation="elu", target_kl=0.03,
    )  # fmt: skip
    return TrainConfig(task=task, agent=agent, total_steps=300_000)


class StateSimilarity:
    """The ceiling: how true the goal's words are of a World's states, read from the physics; a `RewardModel`."""

    reads = "states"

    def __init__(self, world: Any) -> None:
        self._world = world

    def compute_reward(self, batch: np.ndarray) -> Any:
        """Return float32 (B,) in 0..1 of states (B, S)."""
        import torch

        return torch.as_tensor(self._world.similarity(batch), dtype=torch.float32)


def make_reward(config: TrainConfig, envs: Any = None) -> Any:
    """Make the reward model of a run; None stands for the world's own reward.

    Raises: UsageError for state_similarity where envs are no World; what `load_encoder` raises.
    """
    from vlmrl.rewards import (
        BlankFrames,
        ConstantReward,
        GoalBaselineReward,
        random_encoder_reward,
        swapped_goal,
    )

    task = config.task
    words = (list(task.goal), list(task.baseline), task.alpha)
    if config.reward == "true":
        return None
    if config.reward == "state_similarity":
        from vlmrl_envs.world import is_world

        if not is_world(envs):
            raise usage_error("reward", config.reward, "a World of vlmrl", "use --reward true")
        return StateSimilarity(envs.unwrapped)
    if config.reward == "constant":
        from vlmrl_envs import WORLDS

        drawn_late = task.env_id.removeprefix("vlmrl/") in WORLDS
        return ConstantReward(reads="states" if drawn_late else "frames")
    if config.reward == "random_encoder":
        return random_encoder_reward(*words, seed=config.seed, device=config.device)
    from vlmrl.encoders import load_encoder

    reward = GoalBaselineReward(load_encoder(config.encoder, config.device), *words)
    if config.reward == "blank":
        return BlankFrames(reward)
    return swapped_goal(reward) if config.reward == "swapped_goal" else reward


def make_agent(config: TrainConfig, envs: Any) -> Any:
    """Make the untrained agent of a run."""
    from vlmrl.agents.ppo import PPO

    updates = -(-config.total_steps // (config.num_envs * config.agent.num_steps))
    settings = config.agent
    if config.reward in FROM_FRAMES:
        wider = max(settings.reward_resolution, config.reward_resolution)
        settings = replace(settings, reward_resolution=wider)
    return PPO(
        envs.single_observation_space,
        envs.single_action_space,
        settings,
        config.num_envs,
        config.seed,
        updates,
    )


def train(config: TrainConfig, on_progress: Callable[[Progress], None] | None = None) -> Run:
    """Train an agent and write its run folder; an interrupt leaves a checkpoint and is raised again.

    Raises: UsageError for settings that cannot work, before anything is written; NonFiniteError for a NaN or infinite
    reward or loss, with its place, after the last good agent is saved.
    """
    from vlmrl.rollout import Collector
    from vlmrl.runtime import guard_import_order, limit_threads

    limit_threads()
    guard_import_order()
    render_device = config.device if (config.device or "").startswith("cuda") else "cpu"
    envs = make_envs(
        config.task, config.num_envs, renderer=config.renderer, render_device=render_device or "cpu"
    )
    reward_model = make_reward(config, envs)
    agent = make_agent(config, envs)
    collector = Collector(envs, reward_model, config.agent.num_steps, fixed_horizon=config.task.horizon)
    out = config.out or default_run_path(config.task.name, config.seed)
    config = replace(config, out=out)
    folder = RunFolder.create(out, config)
    run = Run(config, folder, agent)
    try:
        _loop(run, collector, on_progress)
    finally:
        folder.close()
        envs.close()
    return run


def _loop(run: Run, collector: Any, on_progress: Callable[[Progress], None] | None) -> None:
    config, agent = run.config, run.agent
    step, frames, started, saved = 0, 0, time.perf_counter(), 0
    successes: deque[bool] = deque(maxlen=RECENT)
    since_saved: list[float] = []
    collector.reset(config.seed)
    shift: float | None = None
    warned = False
    try:
        while step < config.total_steps:
            found = collector.collect(agent)
            if shift is None:
                shift = _shift(found.rollout)
            losses = agent.update(found.rollout._replace(rewards=found.rollout.rewards - np.float32(shift)))
            step += config.num_envs * config.agent.num_steps
            if not (warned or losses["learning"]) and step >= FLAT_FROM * config.total_steps:
                warned = True
                warnings.warn(_flat_text(config, step), FlatRewardWarning, stacklevel=3)
            frames += found.frames_scored
            successes.extend(found.successes)
            vlm_reward = float(found.rollout.rewards[found.rollout.valid].mean())
            since_saved.append(vlm_reward)
            seconds = time.perf_counter() - started
            progress = Progress(
                global_step=step, total_steps=config.total_steps, steps_per_s=step / seconds,
                frames_per_s=frames / seconds, vlm_reward=vlm_reward, env_reward=float(found.env_rewards.mean()),
                success=float(np.mean(successes)) if successes else None,
                seconds_left=max(0.0, config.total_steps - step) * seconds / step,
            )  # fmt: skip
            run.folder.log(step, _row(progress, found, losses, seconds, frames))
            if on_progress is not None:
                on_progress(progress)
            if step - saved >= config.checkpoint_every:
                _save(run, step, since_saved)
                saved, since_saved = step, []
    except BaseException:
        _save(run, step, since_saved)
        raise
    if saved < step:
        _save(run, step, since_saved)


def _shift(rollout: Any) -> float:
    """Return what is taken off every reward of a run: the first rollout's mean, or 0 where episodes terminate.

    A similarity is far from 0 everywhere, and a constant that sums up over an episode drowns the differences that
    matter in the return's scale. Where episodes end by truncation only, a constant changes no policy's rank.
    """
    return 0.0 if rollout.terminated.any() else float(rollout.rewards[rollout.valid].mean())


def _flat_text(config: TrainConfig, step: int) -> str:
    """Say that nothing was learnt so far, and what to do."""
    width = f", to {config.reward_resolution:g}" if config.reward in FROM_FRAMES else ""
    return (
        f"reward: got one constant{width}, in {step:,} steps; expected one that differs between frames, or nothing "
        f"is learnt; see what `vlmrl preflight` says of goal, baseline and encoder"
    )


def _row(
    progress: Progress, found: Any, losses: dict[str, float], seconds: float, frames: int
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "vlm_reward": progress.vlm_reward, "env_reward": progress.env_reward, "success": progress.success,
        "env_return": float(np.mean(found.env_returns)) if found.env_returns else None,
        "seconds": seconds, "frames_scored": frames, "steps_per_s": progress.steps_per_s,
    }  # fmt: skip
    return (
        row | {f"time/{k}": v for k, v in found.seconds.items()} | {f"ppo/{k}": v for k, v in losses.items()}
    )


def _save(run: Run, step: int, rewards: list[float]) -> None:
    """Save the agent; the score that `best` goes by is the mean VLM reward, never success."""
    score = float(np.mean(rewards[-5:])) if rewards else None
    run.folder.save_checkpoint(step, run.agent.state_dict(), {"global_step": step}, score=score)


def load_run(path: str | Path, which: str = "latest") -> Run:
    """Load the agent of a run folder, its `latest` checkpoint or the `best` by VLM reward.

    Raises: UsageError if it is no run folder or has no checkpoint.
    """
    content = read_config(path)
    config = from_plain(TrainConfig, content["config"])
    folder = RunFolder.open(path)
    checkpoint = folder.load_checkpoint(which)
    envs = make_envs(config.task, 1)
    agent = make_agent(config, envs)
    envs.close()
    agent.load_state_dict(checkpoint.tensors)
    return Run(config, folder, agent)
