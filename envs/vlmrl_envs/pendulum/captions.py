"""What can be said of a pendulum; written after `success`, from its own reading of the angle."""

from __future__ import annotations

import numpy as np

from vlmrl_envs.captions import Fact, Grammar, ramp
from vlmrl_envs.parts import Parts

GRAMMAR = Grammar(
    subjects=("a pendulum", "the pendulum", "a rod on a pivot", "a swinging pendulum", "an inverted pendulum"),
    plain=("a pendulum", "the pendulum", "a rod on a pivot", "a swinging pendulum", "a picture of a pendulum",
           "a pendulum and its pivot"),
    facts=(
        Fact("upright", ("pointing straight up", "upright", "standing upright", "balanced upright", "vertical, pointing up",
                         "standing on end above its pivot"), ("not upright", "not balanced"), "angle"),
        Fact("hanging", ("hanging straight down", "hanging down", "pointing straight down", "at rest below its pivot",
                         "hanging below its pivot"), ("not hanging down",), "angle"),
        Fact("leaning_left", ("leaning to the left", "leaning left", "upright but leaning to the left", "tilted to the left"),
             (), "angle"),
        Fact("leaning_right", ("leaning to the right", "leaning right", "upright but leaning to the right", "tilted to the right"),
             (), "angle"),
        Fact("level_left", ("horizontal, pointing to the left", "pointing left", "level, on the left side"), (), "angle"),
        Fact("level_right", ("horizontal, pointing to the right", "pointing right", "level, on the right side"), (), "angle"),
        Fact("level", ("horizontal", "level", "pointing sideways"), ("not horizontal",), "angle"),
        Fact("left", ("on the left side", "left of its pivot"), (), "side"),
        Fact("right", ("on the right side", "right of its pivot"), (), "side"),
        Fact("above", ("above its pivot", "in the upper half"), ("below its pivot",), "half"),
    ),
)  # fmt: skip

GOAL_FACTS = {
    "upright": "upright", "hanging": "hanging", "leaning_left": "leaning_left", "leaning_right": "leaning_right",
}  # fmt: skip
"""The fact that says each goal."""


def facts(p: Parts) -> dict[str, np.ndarray]:
    """Return fact -> degree (B,)."""
    x, z = p.points["tip"][:, 0], p.points["tip"][:, 2]
    tilt = np.rad2deg(np.arccos(np.clip(z, -1.0, 1.0)))
    level = ramp(np.abs(tilt - 90.0), 50.0, 10.0)
    return {
        "upright": 0.3 * ramp(tilt, 180.0, 0.0) + 0.7 * ramp(tilt, 60.0, 2.0),
        "hanging": 0.3 * ramp(tilt, 0.0, 180.0) + 0.7 * ramp(tilt, 120.0, 178.0),
        "leaning_left": ramp(np.abs(np.where(x < 0, tilt, -tilt) - 25.0), 60.0, 12.0),
        "leaning_right": ramp(np.abs(np.where(x > 0, tilt, -tilt) - 25.0), 60.0, 12.0),
        "level_left": level * (x < 0),
        "level_right": level * (x > 0),
        "level": level,
        "left": ramp(x, 0.0, -0.4),
        "right": ramp(x, 0.0, 0.4),
        "above": ramp(z, -0.3, 0.3),
    }
