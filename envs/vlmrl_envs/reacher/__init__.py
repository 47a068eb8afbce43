"""Reacher: Gymnasium's two-link arm on a table of its own; three goals to be named in words share it."""

from __future__ import annotations

from vlmrl_envs.making import makers


def _rules():
    from vlmrl_envs.reacher.rules import Reacher

    return Reacher


make_single, make_batched = makers(_rules)
