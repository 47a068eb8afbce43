"""Reward models: what turns frames, embeddings or states into rewards. Importing this loads no torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlmrl.rewards.controls import BlankFrames, ConstantReward, random_encoder_reward, swapped_goal
    from vlmrl.rewards.goal_baseline import GoalBaselineReward, goal_baseline_reward
    from vlmrl.rewards.learned import LearnedReward, LearnedRewardDrift
    from vlmrl.rewards.learned_config import LearnedConfig
    from vlmrl.rewards.protocol import EmbeddingReward, Reads, RewardModel

__all__ = [
    "BlankFrames",
    "ConstantReward",
    "EmbeddingReward",
    "GoalBaselineReward",
    "LearnedConfig",
    "LearnedReward",
    "LearnedRewardDrift",
    "Reads",
    "RewardModel",
    "goal_baseline_reward",
    "random_encoder_reward",
    "swapped_goal",
]

_HOMES = {
    "BlankFrames": "controls",
    "ConstantReward": "controls",
    "EmbeddingReward": "protocol",
    "GoalBaselineReward": "goal_baseline",
    "LearnedConfig": "learned_config",
    "LearnedReward": "learned",
    "LearnedRewardDrift": "learned",
    "Reads": "protocol",
    "RewardModel": "protocol",
    "goal_baseline_reward": "goal_baseline",
    "random_encoder_reward": "controls",
    "swapped_goal": "controls",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
