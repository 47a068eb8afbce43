"""The rules of the hopper."""

from __future__ import annotations

from typing import ClassVar

import mujoco
import numpy as np

from vlmrl_envs import stock
from vlmrl_envs.hopper import body, captions, success
from vlmrl_envs.leg_world import LegWorld, Poses
from vlmrl_envs.parts import Parts

COLOURS: dict[str, stock.Colour] = {
    "torso_geom": (0.85, 0.42, 0.16), "thigh_geom": (0.16, 0.34, 0.68), "leg_geom": (0.30, 0.58, 0.88),
    "foot_geom": (0.12, 0.14, 0.20),
}  # fmt: skip


class Hopper(LegWorld):
    """Gymnasium's hopper, judged by one of four poses; one env step is 16 ms, an episode 150 steps.

    Observation (12,): see `LegWorld`. Action (3,): torques of hip, knee and ankle.
    """

    name = "Hopper"
    flat = True
    frame_skip = 8
    horizon = 150
    noise = 0.005
    trunk, points, goals = body.TRUNK, body.POINTS, success.GOALS
    grammar, goal_facts = captions.GRAMMAR, captions.GOAL_FACTS
    start_pose = (0, 0, 0, 0)
    poses: ClassVar[Poses] = {
        "standing": (start_pose, (-10, 0, -20, 10), (3, -2, 0, 5)),
        "bent": ((-75, -60, -15, 0), (-85, -70, -25, 10), (-70, -65, -5, 0)),
        "kneeling": ((-8, 0, -115, -45), (-15, 0, -120, -45), (0, -5, -105, -45)),
        "lying": ((90, 0, 0, 45), (-90, 0, 0, 0), (-88, 0, 0, 5), (95, -5, -60, 0)),
        "crouching": ((-32, 0, -75, 40), (-45, 0, -90, 45)),
        "sitting": ((0, -97, 0, -45), (10, -85, 0, 45)),
    }

    def __init__(self, pose: str | None = None) -> None:
        super().__init__(pose)
        self.observation_space, self.action_space = self.spaces(3)

    def build_spec(self) -> mujoco.MjSpec:
        """Build the hopper in its scene."""
        spec = stock.load("hopper.xml")
        stock.dress(spec, "floor", 1.0, COLOURS)
        stock.add_follower(spec, "torso", distance=4.0, elevation=10.0, fovy=25.0, down=0.45)
        return spec

    def facts(self, parts: Parts) -> dict[str, np.ndarray]:
        """Return fact -> degree (B,)."""
        return captions.facts(parts)
