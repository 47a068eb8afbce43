"""A rope to be straightened by its two ends: a re-creation of SoftGym's RopeFlatten as RL-VLM-F uses it."""

from __future__ import annotations

from vlmrl_envs.making import makers_of_one


def _rules():
    from vlmrl_envs.straighten_rope.rules import StraightenRope

    return StraightenRope


make_single, make_batched = makers_of_one(_rules)
