"""Pendulum: Gymnasium's rod on a pivot, as a MuJoCo model; four goals to be named in words share it."""

from __future__ import annotations

from vlmrl_envs.making import makers


def _rules():
    from vlmrl_envs.pendulum.rules import Pendulum

    return Pendulum


make_single, make_batched = makers(_rules)
