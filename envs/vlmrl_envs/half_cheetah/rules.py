"""The rules of the half-cheetah."""

from __future__ import annotations

from typing import ClassVar

import mujoco
import numpy as np

from vlmrl_envs import stock
from vlmrl_envs.half_cheetah import body, captions, success
from vlmrl_envs.leg_world import LegWorld, Poses
from vlmrl_envs.parts import Parts

COLOURS: dict[str, stock.Colour] = {
    "torso": (0.90, 0.62, 0.22), "head": (0.75, 0.22, 0.16),
    "bthigh": (0.16, 0.32, 0.66), "bshin": (0.22, 0.46, 0.80), "bfoot": (0.10, 0.20, 0.42),
    "fthigh": (0.18, 0.50, 0.30), "fshin": (0.30, 0.68, 0.42), "ffoot": (0.10, 0.32, 0.18),
}  # fmt: skip


class HalfCheetah(LegWorld):
    """Gymnasium's half-cheetah, judged by one of four poses; one env step is 50 ms, an episode 100 steps.

    Observation (18,): see `LegWorld`. Action (6,): torques of thigh, shin and foot, hind leg first.
    """

    name = "HalfCheetah"
    flat = True
    frame_skip = 5
    horizon = 100
    noise = 0.1
    trunk, points, goals = body.TRUNK, body.POINTS, success.GOALS
    grammar, goal_facts = captions.GRAMMAR, captions.GOAL_FACTS
    other_starts: ClassVar = {"standing": "on_back"}
    start_pose = (0, 0, 0, 0, 0, 0, 0)
    poses: ClassVar[Poses] = {
        "standing": (start_pose, (0, -10, 15, 0, 10, -15, 0), (0, 15, -10, 10, -15, 10, 0)),
        "on_back": ((180, 0, 0, 0, 0, 0, 0), (185, 25, 20, 0, -25, 20, 0), (175, -20, -20, 0, 20, -40, 0)),
        "upright": ((-78, 50, 20, 0, 0, 0, 0), (-85, 58, 10, 0, -30, -20, 0), (-70, 45, 30, 10, 20, 20, 0)),
        "headstand": ((75, 0, 0, 0, -40, 20, 0), (85, 30, 20, 0, -50, 0, 0), (65, -20, 20, 0, -30, 20, 0)),
        "sitting": ((-35, -25, 30, 0, 0, 0, 0), (-45, -10, 40, 0, 10, 20, 0)),
        "bowing": ((30, 0, 0, 0, 35, -60, 0), (22, 10, 0, 0, -50, 45, 0)),
        "crouching": ((0, 12, 40, 40, 25, -60, -20), (0, 35, 36, 10, -30, -62, -10)),
    }

    def __init__(self, pose: str | None = None) -> None:
        super().__init__(pose)
        self.observation_space, self.action_space = self.spaces(6)

    def build_spec(self) -> mujoco.MjSpec:
        """Build the half-cheetah in its scene."""
        spec = stock.load("half_cheetah.xml")
        stock.dress(spec, "floor", 1.0, COLOURS)
        stock.add_follower(spec, "torso", distance=4.0, elevation=10.0, fovy=28.5)
        return spec

    def facts(self, parts: Parts) -> dict[str, np.ndarray]:
        """Return fact -> degree (B,)."""
        return captions.facts(parts)
