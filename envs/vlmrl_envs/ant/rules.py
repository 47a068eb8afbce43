"""The rules of the ant."""

from __future__ import annotations

from typing import ClassVar

import mujoco
import numpy as np

from vlmrl_envs import stock
from vlmrl_envs.ant import body, captions, success
from vlmrl_envs.leg_world import LegWorld, Poses
from vlmrl_envs.parts import Parts

COLOURS: dict[str, stock.Colour] = {
    "torso_geom": (0.28, 0.30, 0.38),
    "aux_1_geom": (0.80, 0.36, 0.14), "left_leg_geom": (0.80, 0.36, 0.14), "left_ankle_geom": (0.95, 0.55, 0.20),
    "aux_2_geom": (0.16, 0.36, 0.70), "right_leg_geom": (0.16, 0.36, 0.70), "right_ankle_geom": (0.30, 0.56, 0.90),
    "aux_3_geom": (0.16, 0.46, 0.30), "back_leg_geom": (0.16, 0.46, 0.30), "third_ankle_geom": (0.30, 0.68, 0.44),
    "aux_4_geom": (0.62, 0.16, 0.40), "rightback_leg_geom": (0.62, 0.16, 0.40), "fourth_ankle_geom": (0.86, 0.36, 0.60),
}  # fmt: skip
SIGNS = (1, -1, -1, 1)
"""Which way each ankle bends down."""


def _pose(
    pitch: float, ankles: tuple[float, ...], hips: tuple[float, ...] = (0, 0, 0, 0)
) -> tuple[float, ...]:
    """Return a pose with the ankles (4,) so many degrees below level and the hips (4,) turned."""
    joints = [angle for i in range(4) for angle in (hips[i], SIGNS[i] * ankles[i])]
    return (pitch, *joints)


def _lifted(leg: int) -> tuple[float, ...]:
    """Return the pose that lifts one leg: its neighbours turn towards it, so that three feet carry the torso."""
    ankles, hips = [68.0] * 4, [0.0] * 4
    ankles[leg], hips[(leg + 1) % 4], hips[(leg + 3) % 4] = 30.0, -30.0, 30.0
    return _pose(0, tuple(ankles), tuple(hips))


class Ant(LegWorld):
    """Gymnasium's ant, judged by one of four poses; one env step is 50 ms, an episode 100 steps.

    Observation (29,): see `LegWorld`. Action (8,): torques of hips and ankles, leg by leg.
    """

    name = "Ant"
    flat = False
    frame_skip = 5
    horizon = 100
    noise = 0.1
    trunk, points, goals = body.TRUNK, body.POINTS, success.GOALS
    grammar, goal_facts = captions.GRAMMAR, captions.GOAL_FACTS
    other_starts: ClassVar = {"standing": "crouching"}
    start_pose = _pose(0, (57, 57, 57, 57))
    poses: ClassVar[Poses] = {
        "standing": (start_pose, _pose(0, (66,) * 4), _pose(0, (52,) * 4, (15, -15, 15, -15))),
        "crouching": (_pose(0, (31,) * 4), _pose(0, (34,) * 4, (20, 20, 20, 20))),
        "upside_down": (_pose(180, (57,) * 4), _pose(180, (32,) * 4), _pose(180, (69,) * 4)),
        "one_leg": tuple(_lifted(leg) for leg in range(4)),
        "on_side": (_pose(90, (50,) * 4), _pose(-90, (35,) * 4)),
        "tilted": (_pose(20, (31, 66, 66, 31)), _pose(-20, (66, 31, 31, 66))),
    }

    def __init__(self, pose: str | None = None) -> None:
        super().__init__(pose)
        self.observation_space, self.action_space = self.spaces(8)

    def build_spec(self) -> mujoco.MjSpec:
        """Build the ant in its scene."""
        spec = stock.load("ant.xml")
        stock.dress(spec, "floor", 0.6, COLOURS)
        stock.add_follower(spec, "torso", distance=4.0, elevation=28.0, fovy=31.0)
        return spec

    def facts(self, parts: Parts) -> dict[str, np.ndarray]:
        """Return fact -> degree (B,)."""
        return captions.facts(parts)
