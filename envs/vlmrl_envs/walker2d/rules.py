"""The rules of the two-legged walker."""

from __future__ import annotations

from typing import ClassVar

import mujoco
import numpy as np

from vlmrl_envs import stock
from vlmrl_envs.leg_world import LegWorld, Poses
from vlmrl_envs.parts import Parts
from vlmrl_envs.walker2d import body, captions, success

COLOURS: dict[str, stock.Colour] = {
    "torso_geom": (0.85, 0.62, 0.20),
    "thigh_geom": (0.16, 0.34, 0.68), "leg_geom": (0.26, 0.52, 0.86), "foot_geom": (0.08, 0.16, 0.36),
    "thigh_left_geom": (0.66, 0.18, 0.18), "leg_left_geom": (0.90, 0.38, 0.30), "foot_left_geom": (0.36, 0.08, 0.10),
}  # fmt: skip


def _both(pitch: float, *leg: float) -> tuple[float, ...]:
    """Return the pose in which both legs do the same: thigh, shin, foot."""
    return (pitch, *leg, *leg)


class Walker2d(LegWorld):
    """Gymnasium's walker (its fifth version), judged by one of five poses; one env step is 16 ms, an episode 150 steps.

    Observation (18,): see `LegWorld`. Action (6,): torques of hip, knee and ankle, right leg first.
    """

    name = "Walker2d"
    flat = True
    frame_skip = 8
    horizon = 150
    noise = 0.005
    trunk, points, goals = body.TRUNK, body.POINTS, success.GOALS
    grammar, goal_facts = captions.GRAMMAR, captions.GOAL_FACTS
    start_pose = (0, 0, 0, 0, 0, 0, 0)
    mirror = (3, 4, 5, 0, 1, 2)
    poses: ClassVar[Poses] = {
        "standing": (start_pose, _both(-6, 0, -12, 6), (-6, 0, -3, -4, -12, 0, 6)),
        "stride": (
            (-28, 0, 0, -28, -60, 0, 32),
            (-32, 0, -8, -24, -62, 0, 30),
            (-25, 0, -5, -20, -58, 0, 33),
        ),
        "kneeling": (_both(-8, 0, -112, -45), _both(-15, 0, -118, -45), (0, -3, -105, -45, -8, -98, -45)),
        "sitting": (_both(0, -98, 0, -45), _both(-10, -106, 0, 45), (8, -92, 0, -45, -86, 0, -45)),
        "lying": (
            _both(-90, 0, 0, 0),
            _both(90, 0, 0, 45),
            (-85, 0, 0, 0, 0, 0, 20),
            (90, 0, -60, 0, 0, -20, 30),
        ),
        "one_leg": ((-3, 0, -5, 2, -45, -60, 0), (-12, 0, -12, 0, -80, -20, 0)),
        "bent": (_both(-75, -60, -15, 0), _both(-85, -72, -20, 7)),
        "crouching": (_both(-32, 0, -75, 40), _both(-45, 0, -90, 45)),
    }

    def __init__(self, pose: str | None = None) -> None:
        super().__init__(pose)
        self.observation_space, self.action_space = self.spaces(6)

    def build_spec(self) -> mujoco.MjSpec:
        """Build the walker in its scene."""
        spec = stock.load("walker2d_v5.xml")
        stock.dress(spec, "floor", 1.0, COLOURS)
        stock.add_follower(spec, "torso", distance=4.0, elevation=10.0, fovy=25.0, down=0.45)
        return spec

    def facts(self, parts: Parts) -> dict[str, np.ndarray]:
        """Return fact -> degree (B,)."""
        return captions.facts(parts)
