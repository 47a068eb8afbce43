"""Train an agent from a sentence: the runner that ties worlds, reward, agent and run folder together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vlmrl.configs import from_plain
from vlmrl.errors import usage_error
from vlmrl.loop import FlatRewardWarning, Loop, agent_tensors
from vlmrl.making import make_envs
from vlmrl.preferring import load_learned, make_online_reward
from vlmrl.progress import Progress
from vlmrl.runs import RunFolder, default_run_path, read_config
from vlmrl.train_config import FROM_FRAMES, REWARDS, RewardName, TrainConfig, preset

__all__ = [
    "FROM_FRAMES", "REWARDS", "FlatRewardWarning", "RewardName", "Run", "StateSimilarity", "TrainConfig", "load_run",
    "make_agent", "make_learned", "make_reward", "preset", "resume", "shown_reward", "train",
]  # fmt: skip

ROUNDING = 1e-6
"""Other rewards that differ by no more than this are one constant to a learned reward."""


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

    Raises: UsageError for state_similarity and several views where envs are no World; what `load_encoder` raises.
    """
    if not config.views:
        return _make_reward(config, envs)
    from vlmrl.rewards.views import ManyViews
    from vlmrl_envs.world import is_world

    if not is_world(envs):
        remedy = "leave the views out"
        raise usage_error(
            "views", f"{', '.join(config.views)} for {config.task.env_id}", "a World of vlmrl", remedy
        )
    return ManyViews(_make_reward(config, envs), envs.unwrapped, config.views)


def _make_reward(config: TrainConfig, envs: Any) -> Any:
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


def make_learned(config: TrainConfig, envs: Any, path: Path) -> Any:
    """Return what the run at `path` is trained on: a reward model, or one that is learned by asking now and then.

    Raises: UsageError for limits that come to no query, and what the makers of rewards and labellers raise.
    """
    if config.labeller is not None:
        from vlmrl.encoders import load_encoder

        encoder = load_encoder(config.encoder, config.device)
        settings = config.preferences
        return make_online_reward(config.labeller, settings, config.task, encoder, envs, path, config.seed)
    reward_model = make_reward(config, envs)
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


def shown_reward(run: Run, envs: Any) -> Any:
    """Return the reward that a video of a run shows: the one learned last from preferences, else the run's reward."""
    if run.config.labeller is None:
        return make_reward(run.config, envs)
    from vlmrl.encoders import load_encoder

    encoder = load_encoder(run.config.encoder, run.config.device)
    return load_learned(run.config.preferences, encoder, run.path) or make_reward(run.config, envs)


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
    agent, collector = _make(config, out)
    folder = RunFolder.create(out, config)
    run = Run(config, folder, agent)
    loop = Loop(run, collector)
    try:
        loop.begin()
        loop.go(on_progress)
    finally:
        folder.close()
        collector.close()
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
    agent, collector = _make(config, folder.path)
    run = Run(config, folder, agent)
    loop = Loop(run, collector)
    try:
        loop.take_up(checkpoint)
        loop.go(on_progress)
    finally:
        folder.close()
        collector.close()
    return run


def _make(config: TrainConfig, path: Path) -> tuple[Any, Any]:
    """Make the agent and the collector, with its worlds, of the run at `path`."""
    from vlmrl.rollout import Collector
    from vlmrl.runtime import guard_import_order, limit_threads

    limit_threads()
    guard_import_order()
    render_device = config.device if (config.device or "").startswith("cuda") else "cpu"
    envs = make_envs(
        config.task, config.num_envs, renderer=config.renderer, render_device=render_device or "cpu"
    )
    reward_model = make_learned(config, envs, path)
    agent = make_agent(config, envs)
    return agent, Collector(envs, reward_model, config.agent.num_steps, fixed_horizon=config.task.horizon)


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
