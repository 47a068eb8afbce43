"""Half-cheetah: Gymnasium's flat runner in a scene of its own; four poses to be named in words share it."""

from __future__ import annotations

from vlmrl_envs.making import makers


def _rules():
    from vlmrl_envs.half_cheetah.rules import HalfCheetah

    return HalfCheetah


make_single, make_batched = makers(_rules)
