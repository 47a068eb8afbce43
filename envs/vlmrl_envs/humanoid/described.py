"""The eight poses in other words: how an encoder that never met a pose can still be asked for it.

Each description says facts that stay when the pose itself is left out (`Grammar.leave_out`), in their own wordings.
"""

from __future__ import annotations

import numpy as np

from vlmrl_envs.captions import Grammar, Sentence, Term
from vlmrl_envs.errors import world_error
from vlmrl_envs.humanoid.captions import GRAMMAR, POSE_FACTS

DESCRIBED: dict[str, tuple[tuple[str, str], ...]] = {
    "kneeling": (("knees_floor", "with both knees on the floor"), ("upright", "with an upright torso"),
                 ("feet_behind", "with its feet behind its knees")),
    "lotus": (("sitting", "sitting on the floor"), ("knees_bent", "with folded legs"), ("upright", "with an upright torso")),
    "standing": (("feet_only", "with only its feet on the floor"), ("upright", "with an upright torso"),
                 ("head_high", "with its head high")),
    "arms_raised": (("feet_only", "with only its feet on the floor"), ("head_high", "with its head high"),
                    ("hands_over_head", "with its hands higher than its head")),
    "splits": (("sitting", "sitting on the floor"), ("legs_apart", "with its legs wide apart"),
               ("upright", "with an upright torso")),
    "hands_on_hips": (("feet_only", "with only its feet on the floor"), ("head_high", "with its head high"),
                      ("elbows_bent", "with both elbows bent"), ("hanging", "with its arms down at its sides")),
    "arms_crossed": (("feet_only", "with only its feet on the floor"), ("head_high", "with its head high"),
                     ("elbows_bent", "with both elbows bent"), ("hands_together", "with its hands together")),
    "one_leg": (("head_high", "with its head high"), ("upright", "with an upright torso"), ("feet_floor", "with a foot off the floor")),
}  # fmt: skip
"""Pose -> (fact, its wording) pairs; "with a foot off the floor" denies its fact."""

LEFT_OUT = {
    "kneeling": ("kneeling", "sit_heels"), "lotus": ("lotus",), "standing": ("standing",), "arms_raised": ("standing_raised",),
    "splits": ("splits",), "hands_on_hips": ("on_hips",), "arms_crossed": ("crossed",), "one_leg": ("one_leg",),
}  # fmt: skip
"""Pose -> the facts to leave out for an encoder that never met it."""


def without(poses: tuple[str, ...]) -> Grammar:
    """Return the humanoid's grammar without the given poses. Raises: WorldError for a pose that is none."""
    return GRAMMAR.leave_out(name for pose in poses for name in LEFT_OUT[_checked(pose)])


def described(pose: str, subject: str = "a humanoid robot") -> Sentence:
    """Return a pose in words other than its own, at most 32 tokens. Raises: WorldError for a pose that is none."""
    said = DESCRIBED[_checked(pose)]
    terms = []
    for name, wording in said:
        fact = GRAMMAR.facts[GRAMMAR.columns[name]]
        terms.append(Term(GRAMMAR.columns[name], 0.0 if wording in fact.negations else 1.0))
    return Sentence(f"{subject} {', '.join(wording for _, wording in said)}", tuple(terms))


def agreement(pose: str, degrees: np.ndarray) -> float:
    """Return the correlation over states, whose facts hold to degrees (B, F), of a description with its pose's fact."""
    truth = described(pose).truth(degrees)
    return float(np.corrcoef(truth, degrees[:, GRAMMAR.columns[POSE_FACTS[pose]]])[0, 1])


def _checked(pose: str) -> str:
    if pose not in LEFT_OUT:
        raise world_error("pose", pose, f"one of {sorted(LEFT_OUT)}", "pick one of these")
    return pose
