"""What can be said of a two-link arm and its target; written after `success`, from its own reading of the positions."""

from __future__ import annotations

import numpy as np

from vlmrl_envs.captions import Fact, Grammar, ramp
from vlmrl_envs.parts import Parts

GRAMMAR = Grammar(
    subjects=("a robot arm", "the robot arm", "a two-link robot arm", "an arm", "the arm", "a reacher arm"),
    plain=("a robot arm", "a two-link robot arm", "a robot arm and a red target", "a robot arm on a table",
           "a picture of a robot arm", "a robot arm seen from above", "a reacher arm"),
    facts=(
        Fact("touching", ("touching the red target", "touching the target with its fingertip", "with its fingertip on the target",
                          "reaching the target", "at the red target", "with its finger on the red target"),
             ("far from the target", "not touching the target"), "target"),
        Fact("stretched", ("stretched out straight", "stretched out", "fully extended", "with a straight elbow",
                           "stretched out in a straight line"), ("not stretched out",), "elbow"),
        Fact("folded", ("folded up", "folded together", "with its elbow folded", "folded back on itself",
                        "with its fingertip back at the shoulder"), ("not folded",), "elbow"),
        Fact("bent", ("bent at a right angle", "with its elbow bent", "half bent"), (), "elbow"),
        Fact("right", ("pointing right", "pointing to the right"), (), "direction"),
        Fact("left", ("pointing left", "pointing to the left"), (), "direction"),
        Fact("up", ("pointing up", "pointing to the top"), (), "direction"),
        Fact("down", ("pointing down", "pointing to the bottom"), (), "direction"),
        Fact("target_right", ("with the target on the right",), (), "side"),
        Fact("target_left", ("with the target on the left",), (), "side"),
    ),
)  # fmt: skip

GOAL_FACTS = {"touching": "touching", "stretched": "stretched", "folded": "folded"}
"""The fact that says each goal."""


def facts(p: Parts) -> dict[str, np.ndarray]:
    """Return fact -> degree (B,)."""
    apart, elbow = p.distance("finger", "target"), np.abs(p.joints["joint1"])
    x, y = p.points["finger"][:, 0], p.points["finger"][:, 1]
    reach = np.maximum(np.hypot(x, y), 1e-6)
    far = ramp(reach, 0.04, 0.1)
    target = p.points["target"][:, 0]
    return {
        "touching": 0.4 * ramp(apart, 0.35, 0.02) + 0.6 * ramp(apart, 0.1, 0.02),
        "stretched": ramp(elbow, 100.0, 8.0),
        "folded": ramp(elbow, 60.0, 152.0),
        "bent": ramp(np.abs(elbow - 90.0), 60.0, 15.0),
        "right": far * ramp(x / reach, 0.5, 0.92),
        "left": far * ramp(x / reach, -0.5, -0.92),
        "up": far * ramp(y / reach, 0.5, 0.92),
        "down": far * ramp(y / reach, -0.5, -0.92),
        "target_right": ramp(target, 0.0, 0.08),
        "target_left": ramp(target, 0.0, -0.08),
    }
