"""What can be said of a two-legged walker; written after `success`, from its own reading of the same positions."""

from __future__ import annotations

import numpy as np

from vlmrl_envs.captions import Fact, Grammar, ramp
from vlmrl_envs.parts import Parts

KNEES, ANKLES = ("right_knee", "left_knee"), ("right_ankle", "left_ankle")
GRAMMAR = Grammar(
    subjects=("a two-legged robot", "the two-legged robot", "a walker robot", "the walker", "a walking robot",
              "a robot with two legs"),
    plain=("a two-legged robot", "a walker robot", "the walker", "a walking robot", "a robot with two legs",
           "a picture of a two-legged robot", "a two-legged robot on a tiled floor"),
    facts=(
        Fact("standing", ("standing upright", "standing up", "standing upright on both feet", "standing", "upright on its feet"),
             ("not standing",), "pose"),
        Fact("stride", ("standing with its legs wide apart", "in a wide stride", "doing the splits", "making a long step",
                        "standing in a lunge", "with one leg far in front of the other"), (), "pose"),
        Fact("kneeling", ("kneeling", "kneeling on the floor", "on its knees", "down on both knees", "kneeling upright"),
             ("not kneeling",), "pose"),
        Fact("sitting", ("sitting on the floor", "sitting", "seated on the floor", "sitting with its legs stretched out",
                         "sitting down"), ("not sitting",), "pose"),
        Fact("lying", ("lying on the floor", "lying down", "lying flat on the ground", "fallen over", "fallen to the ground"),
             ("not lying down",), "pose"),
        Fact("one_leg", ("standing on one leg", "with one foot lifted off the floor", "balancing on one leg"), (), "pose"),
        Fact("bent", ("bent over at the hips", "bending over", "bent over", "bowing"), (), "pose"),
        Fact("crouching", ("crouching", "crouching with bent knees", "squatting"), (), "pose"),
        Fact("leaning_right", ("leaning to the right", "with its body tilted to the right"), (), "trunk"),
        Fact("leaning_left", ("leaning to the left", "with its body tilted to the left"), (), "trunk"),
        Fact("trunk_up", ("with an upright body", "with a vertical body"), (), "trunk"),
        Fact("legs_apart", ("with its legs apart", "with its feet far apart", "with its legs spread"), (), "stance"),
        Fact("legs_together", ("with its legs together", "with its feet side by side"), (), "stance"),
        Fact("knees_bent", ("with bent knees", "with bent legs"), ("with straight legs",), "knees"),
        Fact("in_air", ("in the air", "jumping", "off the ground"), ("on the ground",), "contact"),
        Fact("high", ("with its body high above the floor", "with high hips"), ("with its body close to the floor",), "height"),
    ),
)  # fmt: skip

GOAL_FACTS = {
    "standing": "standing", "stride": "stride", "kneeling": "kneeling", "sitting": "sitting", "lying": "lying",
}  # fmt: skip
"""The fact that says each goal."""


def facts(p: Parts) -> dict[str, np.ndarray]:
    """Return fact -> degree (B,)."""
    up, lean = p.up[:, 2], p.up[:, 0]
    head, hip, apart = p.z("head"), p.z("hip"), p.flat(*ANKLES)
    knees, high_foot, low_foot = p.z(*KNEES), p.z(*ANKLES), p.lowest(*ANKLES)
    bends = -np.stack([p.joints["leg_joint"], p.joints["leg_left_joint"]])
    upright, on_feet = ramp(up, 0.1, 0.92), ramp(high_foot, 0.6, 0.2)
    kneel_bend = ramp(bends.min(axis=0), 20.0, 75.0)
    lowest = p.lowest("head", "hip", "right_toe", "left_toe", *KNEES, *ANKLES)
    return {
        "standing": upright * on_feet * ramp(hip, 0.4, 1.0) * ramp(head, 0.7, 1.4) * ramp(apart, 1.0, 0.45),
        "stride": ramp(up, 0.1, 0.8) * ramp(high_foot, 0.6, 0.27) * ramp(apart, 0.15, 0.85) * ramp(hip, 0.2, 0.6),
        "kneeling": ramp(up, 0.1, 0.85) * ramp(knees, 0.68, 0.13) * ramp(high_foot, 0.6, 0.28) * ramp(hip, 0.15, 0.35) * kneel_bend,
        "sitting": ramp(up, 0.0, 0.8) * ramp(hip, 1.0, 0.15) * ramp(knees, 0.75, 0.3),
        "lying": ramp(np.abs(up), 0.98, 0.3) * ramp(p.z("torso"), 1.25, 0.2) * ramp(hip, 0.95, 0.4),
        "one_leg": upright * ramp(hip, 0.5, 0.9) * ramp(high_foot - low_foot, 0.03, 0.3) * ramp(low_foot, 0.5, 0.2),
        "bent": on_feet * ramp(up, 0.97, 0.45) * ramp(hip, 0.3, 0.8) * ramp(head - hip, 0.4, 0.15),
        "crouching": on_feet * ramp(bends.min(axis=0), 15.0, 70.0) * ramp(p.lowest(*KNEES), 0.15, 0.35) * ramp(up, 0.2, 0.6)
        * ramp(hip, 1.0, 0.8),
        "leaning_right": ramp(lean, 0.1, 0.5) * ramp(up, 0.0, 0.4),
        "leaning_left": ramp(lean, -0.1, -0.5) * ramp(up, 0.0, 0.4),
        "trunk_up": upright,
        "legs_apart": ramp(apart, 0.15, 0.8),
        "legs_together": ramp(apart, 0.4, 0.06),
        "knees_bent": ramp(bends.mean(axis=0), 15.0, 90.0),
        "in_air": ramp(lowest, 0.12, 0.35),
        "high": ramp(hip, 0.15, 1.0),
    }  # fmt: skip
