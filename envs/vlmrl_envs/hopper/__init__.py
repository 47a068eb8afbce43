"""Hopper: Gymnasium's one-legged body in a scene of its own; four poses to be named in words share it."""

from __future__ import annotations

from vlmrl_envs.making import makers


def _rules():
    from vlmrl_envs.hopper.rules import Hopper

    return Hopper


make_single, make_batched = makers(_rules)
