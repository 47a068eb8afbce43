"""Walker2d: Gymnasium's flat two-legged body in a scene of its own; five poses to be named in words share it."""

from __future__ import annotations

from vlmrl_envs.making import makers


def _rules():
    from vlmrl_envs.walker2d.rules import Walker2d

    return Walker2d


make_single, make_batched = makers(_rules)
