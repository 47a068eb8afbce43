"""What can be said of an ant; written after `success`, from its own reading of the same positions."""

from __future__ import annotations

import numpy as np

from vlmrl_envs.ant.body import FEET
from vlmrl_envs.captions import Fact, Grammar, ramp
from vlmrl_envs.parts import Parts

GRAMMAR = Grammar(
    subjects=("a four-legged robot", "the four-legged robot", "an ant robot", "the ant", "a robot ant", "a robot with four legs"),
    plain=("a four-legged robot", "an ant robot", "a robot ant", "the ant", "a robot with four legs",
           "a picture of a four-legged robot", "a four-legged robot on a tiled floor"),
    facts=(
        Fact("standing", ("standing on all four legs", "standing up", "standing tall on four legs", "standing",
                          "standing high on its legs"), ("not standing",), "pose"),
        Fact("crouching", ("crouching", "crouching low on the floor", "crouching with its body close to the floor",
                           "squatting low", "with its body low over the floor"), ("not crouching",), "pose"),
        Fact("upside_down", ("lying upside down on its back", "upside down", "lying on its back", "on its back",
                             "turned over on its back", "flipped over with its legs in the air"),
             ("not upside down",), "pose"),
        Fact("one_leg", ("standing with one leg raised", "with one leg raised", "lifting one leg off the floor",
                         "standing on three legs", "raising one leg in the air"), ("with no leg raised",), "pose"),
        Fact("on_side", ("lying on its side", "on its side", "tipped over on its side", "tipped on edge"), (), "pose"),
        Fact("tilted", ("tilted", "with a tilted body", "leaning to one side", "with its body at a slant"),
             ("with a level body",), "tilt"),
        Fact("in_air", ("in the air", "jumping", "off the ground"), ("on the ground",), "contact"),
        Fact("legs_up", ("with all its legs up", "with its feet in the air", "with its feet above its body"), (), "legs"),
        Fact("high", ("with its body high above the floor", "with a high body"), ("with its body close to the floor",), "height"),
    ),
)  # fmt: skip

GOAL_FACTS = {
    "standing": "standing",
    "crouching": "crouching",
    "upside_down": "upside_down",
    "one_leg": "one_leg",
}
"""The fact that says each goal."""


def facts(p: Parts) -> dict[str, np.ndarray]:
    """Return fact -> degree (B,)."""
    up, high = p.up[:, 2], p.z("torso")
    feet = np.sort([p.z(foot) for foot in FEET], axis=0)
    level, low_feet = ramp(up, 0.3, 0.95), ramp(feet[3], 0.5, 0.15)
    lifted = ramp(feet[3] - feet[2], 0.02, 0.23)
    return {
        "standing": level * low_feet * ramp(high, 0.34, 0.54),
        "crouching": level * low_feet * ramp(high, 0.58, 0.42),
        "upside_down": ramp(up, 0.7, -0.85) * ramp(high, 0.9, 0.4),
        "one_leg": ramp(up, 0.2, 0.85) * lifted * ramp(feet[2], 0.45, 0.17),
        "on_side": ramp(np.abs(up), 0.85, 0.25) * ramp(high, 1.0, 0.6),
        "tilted": ramp(up, 0.98, 0.75) * ramp(up, -0.2, 0.3),
        "in_air": ramp(np.minimum(feet[0], high - 0.17), 0.12, 0.3),
        "legs_up": ramp(feet[0] - high, -0.2, 0.25),
        "high": ramp(high, 0.3, 0.65),
    }
