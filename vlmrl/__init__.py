"""Reinforcement learning from a sentence: a vision-language model's score of rendered frames is the reward.

Modules, in the order data flows through them; each imports only from those above it:

    errors, runtime, configs, tasks, frames      what everything stands on
    encoders, rewards                            frames and sentences -> embeddings -> rewards
    horizon, wrappers, vector, sb3               the reward dropped onto any Gymnasium env
    agents, rollout                              PPO in JAX; worlds stepped at once, drawn late
    checkpoints, runs, overlay, video, report    what a run leaves behind
    preflight, loop, training, evaluation, doctor, cli
    adapt                                        encoders trained or fine-tuned on frames and captions
    preferences                                  pairs of clips, labellers, a store, a reward learned from answers
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlmrl.encoders import Encoder, load_encoder
    from vlmrl.rewards import (
        GoalBaselineReward,
        LearnedConfig,
        LearnedReward,
        RewardModel,
        goal_baseline_reward,
    )
    from vlmrl.tasks import Task
    from vlmrl.training import Run, TrainConfig, load_run, resume, train
    from vlmrl.vector import VLMVectorReward
    from vlmrl.wrappers import VLMRewardWrapper

__version__ = "0.1.0"

_HOMES = {
    "Encoder": "encoders", "load_encoder": "encoders",
    "GoalBaselineReward": "rewards", "LearnedConfig": "rewards", "LearnedReward": "rewards", "RewardModel": "rewards", "goal_baseline_reward": "rewards",
    "Task": "tasks",
    "Run": "training", "TrainConfig": "training", "load_run": "training", "resume": "training",
    "train": "training",
    "VLMVectorReward": "vector", "VLMRewardWrapper": "wrappers",
}  # fmt: skip

__all__ = [
    "Encoder", "GoalBaselineReward", "LearnedConfig", "LearnedReward", "RewardModel", "Run", "Task", "TrainConfig",
    "VLMRewardWrapper", "VLMVectorReward", "__version__", "goal_baseline_reward", "load_encoder", "load_run", "resume",
    "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use, so that `import vlmrl` stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module 'vlmrl' has no attribute {name!r}")
    return getattr(import_module(f"vlmrl.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
