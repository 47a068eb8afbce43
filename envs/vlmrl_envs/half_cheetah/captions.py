"""What can be said of a half-cheetah; written after `success`, from its own reading of the same positions."""

from __future__ import annotations

import numpy as np

from vlmrl_envs.captions import Fact, Grammar, ramp
from vlmrl_envs.parts import Parts

GRAMMAR = Grammar(
    subjects=("a cheetah robot", "the cheetah robot", "a robot cheetah", "the cheetah", "a running robot", "a half cheetah"),
    plain=("a cheetah robot", "a robot cheetah", "the cheetah", "a half cheetah", "a running robot",
           "a picture of a cheetah robot", "a cheetah robot on a tiled floor"),
    facts=(
        Fact("standing", ("standing on its feet", "standing on both feet", "standing on its legs", "standing with a level back",
                          "standing"), ("not standing on its feet",), "pose"),
        Fact("on_back", ("lying on its back", "on its back", "upside down", "turned over with its legs in the air",
                         "flipped over on its back"), ("not on its back",), "pose"),
        Fact("upright", ("standing upright on its hind leg", "rearing up on its hind leg", "standing upright",
                         "standing up on its hind leg with its head up", "rearing up"), ("not rearing up",), "pose"),
        Fact("headstand", ("doing a headstand", "standing on its head", "standing on its head with its hind leg in the air",
                           "head down with its hind leg up", "balancing on its front leg"), ("not on its head",), "pose"),
        Fact("crouching", ("crouching", "crouching low on its legs", "with its belly close to the floor"), (), "pose"),
        Fact("nose_up", ("with its head up", "tilted backwards", "with its head higher than its tail"), (), "tilt"),
        Fact("nose_down", ("with its head down", "tilted forwards", "with its head lower than its tail"), (), "tilt"),
        Fact("level", ("with a level back", "with a horizontal back"), ("with a slanting back",), "tilt"),
        Fact("front_up", ("with its front foot in the air", "lifting its front foot"), (), "front"),
        Fact("hind_up", ("with its hind foot in the air", "lifting its hind foot"), (), "hind"),
        Fact("in_air", ("in the air", "jumping", "off the ground"), ("on the ground",), "contact"),
    ),
)  # fmt: skip

GOAL_FACTS = {"standing": "standing", "on_back": "on_back", "upright": "upright", "headstand": "headstand"}
"""The fact that says each goal."""


def facts(p: Parts) -> dict[str, np.ndarray]:
    """Return fact -> degree (B,)."""
    up, nose = p.up[:, 2], p.forward[:, 2]
    hind, front, torso = p.z("back_foot"), p.z("front_foot"), p.z("torso")
    lowest = p.lowest("rump", "shoulder", "head", "back_foot", "front_foot")
    level = ramp(up, 0.3, 0.95)
    return {
        "standing": level * ramp(torso, 0.15, 0.5) * ramp(np.maximum(hind, front), 0.5, 0.12),
        "on_back": ramp(up, 0.95, -0.85) * ramp(p.z("rump", "shoulder"), 1.8, 0.4),
        "upright": ramp(nose, 0.0, 0.85) * ramp(p.z("rump"), 0.0, 0.25) * ramp(hind, 0.6, 0.12),
        "headstand": ramp(nose, 0.05, -0.75) * ramp(p.lowest("head", "front_foot"), 0.6, 0.15) * ramp(p.z("rump"), 0.4, 0.85),
        "crouching": level * ramp(torso, 0.58, 0.4),
        "nose_up": ramp(nose, 0.05, 0.5),
        "nose_down": ramp(nose, -0.05, -0.5),
        "level": ramp(np.abs(nose), 0.5, 0.1),
        "front_up": ramp(front, 0.1, 0.5),
        "hind_up": ramp(hind, 0.1, 0.5),
        "in_air": ramp(lowest, 0.1, 0.3),
    }  # fmt: skip
