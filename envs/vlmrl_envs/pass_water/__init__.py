"""Water to be brought to a place without spilling: a re-creation of SoftGym's PassWater as RL-VLM-F uses it."""

from __future__ import annotations

from vlmrl_envs.making import makers_of_one


def _rules():
    from vlmrl_envs.pass_water.rules import PassWater

    return PassWater


make_single, make_batched = makers_of_one(_rules)
