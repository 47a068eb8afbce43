"""Train an agent from a sentence: the runner that ties worlds, reward, agent and run folder together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from vlmrl.agents.config import PPOConfig
from vlmrl.configs import from_plain
from vlmrl.errors import usage_error
from vlmrl.loop import FlatRewardWarning, Loop, agent_tensors
from vlmrl.making import make_envs
from vlmrl.progress import Progress
from vlmrl.rewards.learned_config import LearnedConfig, check_budget
from vlmrl.rewards.protocol import FLAT
from vlmrl.runs import RunFolder, default_run_path, read_config
from vlmrl.tasks import Task, get_task

__all__ = [
    "FROM_FRAMES", "REWARDS", "FlatRewardWarning", "RewardName", "Run", "StateSimilarity", "TrainConfig", "load_run",
    "make_agent", "make_learned", "make_reward", "preset", "resume", "train",
]  # fmt: skip

RewardName = Literal["vlm", "constant", "random_encoder", "swapped_goal", "blank", "true", "state_similarity"]
REWARDS: tuple[RewardName, ...] = get_args(RewardName)
FROM_FRAMES: tuple[RewardName, ...] = ("vlm", "random_encoder", "swapped_goal", "blank")
"""Rewards that an encoder gives."""
ROUNDING = 1e-6
"""Other rewards that differ by no more than this are one constant to a learned reward."""


@dataclass(frozen=True)
class TrainConfig:
    """Everything that a training run is made from."""

    task: Task
    """The goal in words and the world it is meant for."""
    encoder: str = "embedded"
    """What `load_encoder` takes: embedded, MODEL/PRETRAINED, local-dir:PATH, random:SEED or as-slow-as:MODEL."""
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
    queries: int | None = None
    """How many states the reward model may be asked about in all; None is no limit."""
    query_share: float | None = None
    """How many as a share of all states, in (0, 1]; None is no limit. Without either, it is asked about every state."""
    learned: LearnedConfig = field(default_factory=LearnedConfig)
    """The reward that is learned from the answers where there is a limit."""
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
        check_budget(self.queries, self.query_share)
        if self.asks_rarely and self.reward == "true":
            remedy = "leave them out: the world's own reward costs nothing"
            raise usage_error("queries", "a limit with reward 'true'", "a reward that can be asked", remedy)

    @property
    def from_frames(self) -> bool:
        """Whether an encoder gives the reward."""
        return self.reward in FROM_FRAMES

    @property
    def asks_rarely(self) -> bool:
        """Whether the reward model is asked about some states only."""
        return self.queries is not None or self.query_share is not None

    @property
    def num_updates(self) -> int:
        """Updates that the run will make."""
        return -(-self.total_steps // (self.num_envs * self.agent.num_steps))


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


def make_learned(config: TrainConfig, reward_model: Any, envs: Any) -> Any:
    """Return what a run is trained on: the reward model itself, or a `LearnedReward` that asks it rarely.

    Raises: UsageError for limits that come to no query.
    """
    if not config.asks_rarely:
        return reward_model
    from vlmrl.rewards.learned import LearnedReward
    from vlmrl_envs.world import is_world

    return LearnedReward(
        reward_model,
        config.num_updates * config.num_envs * config.agent.num_steps,
        queries=config.queries,
        query_share=config.query_share,
        config=config.learned,
        world=envs.unwrapped if is_world(envs) else None,
        seed=config.seed,
        resolution=config.reward_resolution if config.from_frames else ROUNDING,
    )


def make_agent(config: TrainConfig, envs: Any) -> Any:
    """Make the untrained agent of a run."""
    from vlmrl.agents.ppo import PPO

    settings = config.agent
    if config.from_frames:
        wider = max(settings.reward_resolution, config.reward_resolution)
        settings = replace(settings, reward_resolution=wider)
    return PPO(
        envs.single_observation_space,
        envs.single_action_space,
        settings,
        config.num_envs,
        config.seed,
        config.num_updates,
    )


def train(config: TrainConfig, on_progress: Callable[[Progress], None] | None = None) -> Run:
    """Train an agent and write its run folder; an interrupt leaves a checkpoint and is raised again.

    Raises: UsageError for settings that cannot work, before anything is written; NonFiniteError for a NaN or infinite
    reward or loss, with its place, after the last good agent is saved.
    """
    out = config.out or default_run_path(config.task.name, config.seed)
    config = replace(config, out=out)
    envs, agent, collector = _make(config)
    folder = RunFolder.create(out, config)
    run = Run(config, folder, agent)
    loop = Loop(run, collector)
    try:
        loop.begin()
        loop.go(on_progress)
    finally:
        folder.close()
        envs.close()
    return run


def resume(path: str | Path, on_progress: Callable[[Progress], None] | None = None) -> Run:
    """Go on with a run from its latest checkpoint; what was logged after that is taken back.

    With a World, on a CPU, the rest of the run equals the rest of one that was never stopped, to the bit. Other envs
    begin new episodes, with a warning. A finished run is returned as it is.

    Raises: UsageError if it is no run folder or has no checkpoint that can be taken up; else as `train`.
    """
    config = from_plain(TrainConfig, read_config(path)["config"])
    folder = RunFolder.open(path, writing=True)
    checkpoint = folder.load_checkpoint()
    if "loop" not in checkpoint.extra:
        expected = "one that holds the worlds too"
        raise usage_error("checkpoint", "one of an older version", expected, "train again")
    folder.mend_best(checkpoint)
    folder.take_back(checkpoint.global_step)
    envs, agent, collector = _make(config)
    run = Run(config, folder, agent)
    loop = Loop(run, collector)
    try:
        loop.take_up(checkpoint)
        loop.go(on_progress)
    finally:
        folder.close()
        envs.close()
    return run


def _make(config: TrainConfig) -> tuple[Any, Any, Any]:
    """Make the worlds, the agent and the collector of a run."""
    from vlmrl.rollout import Collector
    from vlmrl.runtime import guard_import_order, limit_threads

    limit_threads()
    guard_import_order()
    render_device = config.device if (config.device or "").startswith("cuda") else "cpu"
    envs = make_envs(
        config.task, config.num_envs, renderer=config.renderer, render_device=render_device or "cpu"
    )
    reward_model = make_learned(config, make_reward(config, envs), envs)
    agent = make_agent(config, envs)
    return (
        envs,
        agent,
        Collector(envs, reward_model, config.agent.num_steps, fixed_horizon=config.task.horizon),
    )


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
    agent.load_state_dict(agent_tensors(checkpoint.tensors))
    return Run(config, folder, agent)
