"""Cart-pole: keep a pole upright on a cart that runs on a rail."""

from __future__ import annotations

from typing import Any

from vlmrl_envs.batched import BatchedWorld
from vlmrl_envs.single import SingleWorld


def make_single(**kwargs: Any) -> SingleWorld:
    """Make one cart-pole; keyword arguments of `BatchedWorld` but `num_envs` and `autoreset_mode`."""
    from vlmrl_envs.cartpole.rules import CartPole

    return SingleWorld(CartPole(), **kwargs)


def make_batched(num_envs: int = 1, **kwargs: Any) -> BatchedWorld:
    """Make N cart-poles; keyword arguments of `BatchedWorld`."""
    from vlmrl_envs.cartpole.rules import CartPole

    return BatchedWorld(CartPole(), num_envs, **kwargs)
