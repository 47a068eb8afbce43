"""The two makers of a world, as Gymnasium's registration wants them: of one with several goals, and of one with one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vlmrl_envs.batched import BatchedWorld
from vlmrl_envs.goal_world import GoalWorld
from vlmrl_envs.rules import WorldRules
from vlmrl_envs.single import SingleWorld


def makers(
    rules: Callable[[], Callable[[str | None], GoalWorld]],
) -> tuple[Callable[..., SingleWorld], Callable[..., BatchedWorld]]:
    """Return `make_single(pose=None, **kwargs)` and `make_batched(num_envs=1, pose=None, **kwargs)` of a world.

    `rules` imports the world's rules when it is first called, so that no model is loaded before. Keyword arguments are
    those of `BatchedWorld`; a single world takes no `num_envs` and no `autoreset_mode`.
    """

    def make_single(pose: str | None = None, **kwargs: Any) -> SingleWorld:
        return SingleWorld(rules()(pose), **kwargs)

    def make_batched(num_envs: int = 1, pose: str | None = None, **kwargs: Any) -> BatchedWorld:
        return BatchedWorld(rules()(pose), num_envs, **kwargs)

    return make_single, make_batched


def makers_of_one(
    rules: Callable[[], Callable[[], WorldRules]],
) -> tuple[Callable[..., SingleWorld], Callable[..., BatchedWorld]]:
    """Return `make_single(**kwargs)` and `make_batched(num_envs=1, **kwargs)` of a world with one goal; as `makers`."""

    def make_single(**kwargs: Any) -> SingleWorld:
        return SingleWorld(rules()(), **kwargs)

    def make_batched(num_envs: int = 1, **kwargs: Any) -> BatchedWorld:
        return BatchedWorld(rules()(), num_envs, **kwargs)

    return make_single, make_batched
