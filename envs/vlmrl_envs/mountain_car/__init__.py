"""Mountain car: an engine too weak for the slope, a flag at the peak."""

from __future__ import annotations

from typing import Any

from vlmrl_envs.batched import BatchedWorld
from vlmrl_envs.single import SingleWorld


def make_single(**kwargs: Any) -> SingleWorld:
    """Make one mountain car; keyword arguments of `BatchedWorld` but `num_envs` and `autoreset_mode`."""
    from vlmrl_envs.mountain_car.rules import MountainCar

    return SingleWorld(MountainCar(), **kwargs)


def make_batched(num_envs: int = 1, **kwargs: Any) -> BatchedWorld:
    """Make N mountain cars; keyword arguments of `BatchedWorld`."""
    from vlmrl_envs.mountain_car.rules import MountainCar

    return BatchedWorld(MountainCar(), num_envs, **kwargs)
