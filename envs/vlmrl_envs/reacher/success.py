"""When the arm is where it should be: read off the physics, before any caption was written; no reward, no frame.

Two links of 0.1 m turn on a table around a shoulder at its middle; the target lies within 0.2 m of it. The elbow bends
172 degrees to either side. Lengths are metres in the world frame.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vlmrl_envs.margins import least, most
from vlmrl_envs.parts import Parts


def _touching(p: Parts) -> list[np.ndarray]:
    """The fingertip on the target: their centres within 0.025 m."""
    return [most(p.distance("finger", "target"), 0.025, 0.2)]


def _stretched(p: Parts) -> list[np.ndarray]:
    """The elbow within 15 degrees of straight."""
    return [most(np.abs(p.joints["joint1"]), 15.0, 150.0)]


def _folded(p: Parts) -> list[np.ndarray]:
    """The elbow bent by 145 degrees or more."""
    return [least(np.abs(p.joints["joint1"]), 145.0, 140.0)]


GOALS: dict[str, Callable[[Parts], list[np.ndarray]]] = {
    "touching": _touching, "stretched": _stretched, "folded": _folded,
}  # fmt: skip
"""Goal -> its margins."""
