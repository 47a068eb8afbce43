"""Agents that learn from N worlds at once. Importing this package imports no JAX; touching `PPO` does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vlmrl.agents.config import PPOConfig, sb3_defaults

if TYPE_CHECKING:
    from vlmrl.agents.ppo import PPO, NonFiniteError, Rollout, Sample

__all__ = ["PPO", "NonFiniteError", "PPOConfig", "Rollout", "Sample", "sb3_defaults"]


def __getattr__(name: str) -> Any:
    if name in {"PPO", "NonFiniteError", "Rollout", "Sample"}:
        from vlmrl.agents import ppo

        return getattr(ppo, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
