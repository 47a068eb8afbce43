"""What a run was made from, kept in its row: a row of other settings is measured again."""

from __future__ import annotations

from typing import Any

from vlmrl.configs import to_plain
from vlmrl.training import TrainConfig

ALWAYS = (
    "agent",
    "num_envs",
    "total_steps",
    "reward_resolution",
    "renderer",
    "queries",
    "query_share",
    "views",
)


def settings_of(config: TrainConfig) -> dict[str, Any]:
    """Return what decides a run, as JSON holds it: all but seed, reward, encoder and folder, which a row has besides."""
    plain = to_plain(config)
    found = {name: plain[name] for name in ALWAYS}
    found["task"] = {name: value for name, value in plain["task"].items() if name != "description"}
    if config.asks_rarely:
        found["learned"] = plain["learned"]
    if config.labeller is not None:
        undecided = (
            "chat",
            "person",
            "known",
        )  # who is asked and where, not what is learned from the answers
        found["preferences"] = {k: v for k, v in plain["preferences"].items() if k not in undecided}
    return found


def agree(old: Any, new: Any) -> bool:
    """Tell whether two settings are the same in all that both name: what a later version added is no difference."""
    if isinstance(old, dict) and isinstance(new, dict):
        return all(agree(old[name], new[name]) for name in old.keys() & new.keys())
    return bool(old == new)
