"""When the pendulum is where it should be: read off the physics, before any caption was written; no reward, no frame.

The angle is Gymnasium's: 0 upright, growing anticlockwise as the picture shows it. The motor is weak: its 2 N m hold
the 1 kg rod no further than 23 degrees off the vertical, so that no goal asks to hold it level.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vlmrl_envs.margins import least, most
from vlmrl_envs.parts import Parts


def turn(p: Parts) -> np.ndarray:
    """Return the rod's angle from upright (B,), degrees in -180..180, positive where it leans left."""
    return (p.joints["hinge"] + 180.0) % 360.0 - 180.0


def _upright(p: Parts) -> list[np.ndarray]:
    """Within 10 degrees of upright."""
    return [most(np.abs(turn(p)), 10.0, 170.0)]


def _hanging(p: Parts) -> list[np.ndarray]:
    """Within 10 degrees of hanging straight down."""
    return [least(np.abs(turn(p)), 170.0, 170.0)]


def _leaning_left(p: Parts) -> list[np.ndarray]:
    """Up, leaning 10 to 40 degrees to the left."""
    return [least(turn(p), 10.0, 40.0), most(np.abs(turn(p)), 40.0, 140.0)]


def _leaning_right(p: Parts) -> list[np.ndarray]:
    """Up, leaning 10 to 40 degrees to the right."""
    return [most(turn(p), -10.0, 40.0), most(np.abs(turn(p)), 40.0, 140.0)]


GOALS: dict[str, Callable[[Parts], list[np.ndarray]]] = {
    "upright": _upright, "hanging": _hanging, "leaning_left": _leaning_left, "leaning_right": _leaning_right,
}  # fmt: skip
"""Goal -> its margins."""
