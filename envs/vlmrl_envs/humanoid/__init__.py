"""Humanoid: Gymnasium's body in a scene of its own; eight poses to be named in words share it."""

from __future__ import annotations

from typing import Any

from vlmrl_envs.batched import BatchedWorld
from vlmrl_envs.single import SingleWorld


def make_single(pose: str = "kneeling", control: str = "torque", **kwargs: Any) -> SingleWorld:
    """Make one humanoid judged by a pose, driven by torques or positions.

    kwargs: those of `BatchedWorld` but `num_envs` and `autoreset_mode`.
    """
    from vlmrl_envs.humanoid.rules import Humanoid

    return SingleWorld(Humanoid(pose, control), **kwargs)


def make_batched(
    num_envs: int = 1, pose: str = "kneeling", control: str = "torque", **kwargs: Any
) -> BatchedWorld:
    """Make N humanoids judged by a pose, driven by torques or positions; keyword arguments of `BatchedWorld`."""
    from vlmrl_envs.humanoid.rules import Humanoid

    return BatchedWorld(Humanoid(pose, control), num_envs, **kwargs)
