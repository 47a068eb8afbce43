"""A cloth to be folded along its diagonal: a re-creation of SoftGym's ClothFoldDiagonal of RL-VLM-F."""

from __future__ import annotations

from vlmrl_envs.making import makers_of_one


def _rules():
    from vlmrl_envs.fold_cloth.rules import FoldCloth

    return FoldCloth


make_single, make_batched = makers_of_one(_rules)
