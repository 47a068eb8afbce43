"""What can be said of a humanoid's body; written after `success`, from its own reading of the same positions."""

from __future__ import annotations

import numpy as np

from vlmrl_envs.captions import Grammar
from vlmrl_envs.humanoid.body import Body
from vlmrl_envs.humanoid.degrees import degrees
from vlmrl_envs.humanoid.wordings import FACTS, PLAIN, SUBJECTS
from vlmrl_envs.rules import Caption

GRAMMAR = Grammar(
    subjects=SUBJECTS,
    plain=PLAIN,
    facts=FACTS,
    axes=(
        ("upside_down", "bridge", "lotus", "front_splits", "splits", "sit_heels", "sit_knees_up", "sit_forward", "kneeling", "one_knee",
         "all_fours", "lying_back", "lying_front", "lying_side", "one_leg", "squatting", "lunging", "standing", "sitting"),
        ("crossed", "on_hips", "on_head", "behind", "on_knees", "raised", "one_raised", "sideways", "forward", "hanging"),
        ("leaning_back", "leaning_left", "leaning_right", "bent_over", "upright"),
    ),
    kept=(
        # what VLM-RM's goals say or mean, and how an episode starts
        ("standing", "raised"), ("standing", "on_hips"), ("standing", "crossed"), ("standing", "upright"), ("standing", "hanging"),
        ("standing", "forward"), ("kneeling", "upright"), ("lotus", "upright"), ("splits", "upright"), ("one_leg", "upright"),
        ("raised", "upright"), ("on_hips", "upright"), ("crossed", "upright"), ("hanging", "upright"),
    ),
)  # fmt: skip

POSE_FACTS = {
    "kneeling": "kneeling", "lotus": "lotus", "standing": "standing", "arms_raised": "standing_raised",
    "splits": "splits", "hands_on_hips": "standing_hips", "arms_crossed": "standing_crossed", "one_leg": "one_leg",
}  # fmt: skip
"""The fact that says each of the eight poses."""

COMPOSED_FACTS = {
    "kneeling_one_arm_raised": ("kneeling", "one_raised"), "lotus_arms_forward": ("lotus", "forward"),
    "lotus_hands_on_hips": ("lotus", "on_hips"), "lotus_arms_crossed": ("lotus", "crossed"),
    "lying_front_arms_sideways": ("lying_front", "sideways"), "lying_side_arms_crossed": ("lying_side", "crossed"),
    "sitting_hands_on_head": ("sitting", "on_head"), "squatting_arms_hanging": ("squatting", "hanging"),
}  # fmt: skip
"""The two facts, held out together, of each pose made of two."""

__all__ = ["COMPOSED_FACTS", "GRAMMAR", "POSE_FACTS", "degrees", "describe"]


def describe(body: Body, qpos: np.ndarray) -> list[Caption]:
    """Write graded captions of one state's body (B = 1)."""
    return GRAMMAR.describe(degrees(body)[0], np.random.default_rng(int(np.abs(qpos).sum() * 1e6) % 2**32))
