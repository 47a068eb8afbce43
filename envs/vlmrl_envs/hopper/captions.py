"""What can be said of a hopper; written after `success`, from its own reading of the same positions."""

from __future__ import annotations

import numpy as np

from vlmrl_envs.captions import Fact, Grammar, ramp
from vlmrl_envs.parts import Parts

GRAMMAR = Grammar(
    subjects=("a one-legged robot", "the one-legged robot", "a hopper robot", "the hopper", "a hopping robot",
              "a robot with one leg"),
    plain=("a one-legged robot", "a hopper robot", "the hopper", "a hopping robot", "a robot with one leg",
           "a picture of a one-legged robot", "a one-legged robot on a tiled floor"),
    facts=(
        Fact("standing", ("standing upright", "standing up", "standing straight on its foot", "standing", "upright on its foot"),
             ("not standing",), "pose"),
        Fact("bent", ("bent over at the hip", "bending over", "bent over", "bowing down on its foot", "folded at the hip"),
             ("not bent over",), "pose"),
        Fact("kneeling", ("kneeling", "kneeling on the floor", "on its knee", "down on its knee", "kneeling upright"),
             ("not kneeling",), "pose"),
        Fact("lying", ("lying on the floor", "lying down", "lying flat on the ground", "fallen over", "fallen to the ground"),
             ("not lying down",), "pose"),
        Fact("crouching", ("crouching", "crouching with a bent knee", "squatting"), (), "pose"),
        Fact("sitting", ("sitting on the floor", "seated", "sitting with its leg stretched out"), (), "pose"),
        Fact("leaning_right", ("leaning to the right", "with its body tilted to the right"), (), "trunk"),
        Fact("leaning_left", ("leaning to the left", "with its body tilted to the left"), (), "trunk"),
        Fact("trunk_up", ("with an upright body", "with a vertical body"), (), "trunk"),
        Fact("knee_bent", ("with a bent knee", "with its leg bent"), ("with a straight leg",), "knee"),
        Fact("in_air", ("in the air", "jumping", "off the ground"), ("on the ground",), "contact"),
        Fact("high", ("with its body high above the floor", "with its hip high"), ("with its body close to the floor",), "height"),
    ),
)  # fmt: skip

GOAL_FACTS = {"standing": "standing", "bent": "bent", "kneeling": "kneeling", "lying": "lying"}
"""The fact that says each goal."""


def facts(p: Parts) -> dict[str, np.ndarray]:
    """Return fact -> degree (B,)."""
    up, lean = p.up[:, 2], p.up[:, 0]
    head, hip, knee, ankle = p.z("head"), p.z("hip"), p.z("knee"), p.z("ankle")
    foot, bend = p.z("heel", "toe"), -p.joints["leg_joint"]
    upright, on_foot = ramp(up, 0.1, 0.92), ramp(foot, 0.5, 0.17)
    lowest = p.lowest("head", "hip", "knee", "ankle", "heel", "toe")
    return {
        "standing": upright * on_foot * ramp(hip, 0.4, 0.98) * ramp(head, 0.7, 1.4),
        "bent": on_foot * ramp(up, 0.97, 0.45) * ramp(hip, 0.3, 0.8) * ramp(head - hip, 0.4, 0.15),
        "kneeling": ramp(up, 0.1, 0.85) * ramp(knee, 0.68, 0.13) * ramp(ankle, 0.6, 0.28) * ramp(hip, 0.15, 0.35) * ramp(bend, 20.0, 75.0),
        "lying": ramp(np.abs(up), 0.98, 0.3) * ramp(p.z("torso"), 1.25, 0.2) * ramp(hip, 0.95, 0.4),
        "crouching": on_foot * ramp(bend, 15.0, 70.0) * ramp(knee, 0.15, 0.35) * ramp(up, 0.2, 0.6) * ramp(hip, 1.0, 0.8),
        "sitting": ramp(up, 0.1, 0.85) * ramp(hip, 0.6, 0.12) * ramp(bend, 90.0, 40.0),
        "leaning_right": ramp(lean, 0.1, 0.5) * ramp(up, 0.0, 0.4),
        "leaning_left": ramp(lean, -0.1, -0.5) * ramp(up, 0.0, 0.4),
        "trunk_up": upright,
        "knee_bent": ramp(bend, 15.0, 90.0),
        "in_air": ramp(lowest, 0.12, 0.35),
        "high": ramp(hip, 0.15, 1.0),
    }  # fmt: skip
