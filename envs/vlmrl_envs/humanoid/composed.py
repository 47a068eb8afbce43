"""When two things hold at once that training never says or shows together: success of held-out compositions.

As in `success.py`: physics only. Each joins a posture and what arms or torso do in it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vlmrl_envs.humanoid.body import Body
from vlmrl_envs.humanoid.limits import SIDES, least, most, reach
from vlmrl_envs.humanoid.success import arm_up, folded_arms, hand_on_hip, kneeling, lotus_legs, on_feet


def _one_arm_up(b: Body) -> list[np.ndarray]:
    """One arm up, either; the other hand below its shoulder."""
    highest = b.z("right_hand") > b.z("left_hand")
    up = {side: np.stack(arm_up(b, side)) for side, _ in SIDES}
    down = {side: most(b.z(f"{side}_hand") - b.z(f"{side}_shoulder"), 0.0, 0.4) for side, _ in SIDES}
    chosen = np.where(highest, up["right"], up["left"])
    return [*chosen, np.where(highest, down["left"], down["right"])]


def _kneeling_one_arm_raised(b: Body) -> list[np.ndarray]:
    """Kneeling upright with one arm up."""
    return kneeling(b) + _one_arm_up(b)


def _arms_forward(b: Body) -> list[np.ndarray]:
    """Both hands held out in front at about the height of the shoulders, neither apart nor crossed."""
    checks = []
    for side, sign in SIDES:
        ahead, out, high = reach(b, f"{side}_hand", sign)
        checks += [least(ahead, 0.4, 0.4), most(np.abs(high), 0.25, 0.4), most(np.abs(out - 0.15), 0.25, 0.4)]
    return checks


def _lotus_arms_forward(b: Body) -> list[np.ndarray]:
    """Lotus with both arms stretched forward."""
    return lotus_legs(b) + _arms_forward(b)


def _lotus_hands_on_hips(b: Body) -> list[np.ndarray]:
    """Lotus with hands on hips."""
    return [*lotus_legs(b), *(margin for side, sign in SIDES for margin in hand_on_hip(b, side, sign))]


def _lotus_arms_crossed(b: Body) -> list[np.ndarray]:
    """Lotus with arms crossed."""
    return lotus_legs(b) + folded_arms(b)


def _lying(b: Body) -> list[np.ndarray]:
    return [most(b.z("head"), 0.35, 0.6), most(b.z("butt"), 0.3, 0.5), most(np.abs(b.up[:, 2]), 0.35, 0.5)]


def _lying_front_arms_sideways(b: Body) -> list[np.ndarray]:
    """Face down, legs low, both arms stretched out sideways."""
    checks = [*_lying(b), most(b.forward[:, 2], -0.75, 1.0)]
    for side, sign in SIDES:
        _, out, high = reach(b, f"{side}_hand", sign)
        checks += [
            least(out, 0.55, 0.5),
            most(np.abs(high - 0.05), 0.3, 0.4),
            most(b.z(f"{side}_foot"), 0.35, 0.5),
        ]
    return checks


def _lying_side_arms_crossed(b: Body) -> list[np.ndarray]:
    """On one side, legs low, arms crossed before the chest."""
    sideways = np.cross(b.up, b.forward)
    legs = [most(b.z(f"{side}_foot"), 0.45, 0.5) for side, _ in SIDES]
    return [*_lying(b), least(np.abs(sideways[:, 2]), 0.8, 1.0), *legs, *folded_arms(b)]


def _sitting_hands_on_head(b: Body) -> list[np.ndarray]:
    """Hips on the floor, feet low, torso upright, both hands at the head's sides or top."""
    checks = [most(b.z("butt"), 0.2, 0.7), least(b.up[:, 2], 0.85, 0.85)]
    for side, _ in SIDES:
        checks += [most(b.distance(f"{side}_hand", "head"), 0.2, 0.4), most(b.z(f"{side}_foot"), 0.3, 0.5)]
        checks += [least(b.z(f"{side}_hand") - b.z("head"), -0.08, 0.4)]
    return checks


def _squatting_arms_hanging(b: Body) -> list[np.ndarray]:
    """On both feet, knees sharply bent and off the floor, hips low but off it, torso upright, arms down at the sides."""
    checks = [
        *on_feet(b),
        least(b.up[:, 2], 0.75, 0.75),
        most(b.z("butt"), 0.55, 0.4),
        least(b.z("butt"), 0.25, 0.3),
    ]
    for i, (side, sign) in enumerate(SIDES):
        ahead, out, high = reach(b, f"{side}_hand", sign)
        checks += [
            least(b.knee_bend[:, i], 80.0, 90.0),
            least(b.z(f"{side}_knee"), 0.2, 0.2),
            most(high, -0.2, 0.4),
        ]
        checks += [most(np.abs(ahead), 0.25, 0.4), least(out, 0.1, 0.3)]
    return checks


COMPOSED: dict[str, Callable[[Body], list[np.ndarray]]] = {
    "kneeling_one_arm_raised": _kneeling_one_arm_raised,
    "lotus_arms_forward": _lotus_arms_forward,
    "lotus_hands_on_hips": _lotus_hands_on_hips,
    "lotus_arms_crossed": _lotus_arms_crossed,
    "lying_front_arms_sideways": _lying_front_arms_sideways,
    "lying_side_arms_crossed": _lying_side_arms_crossed,
    "sitting_hands_on_head": _sitting_hands_on_head,
    "squatting_arms_hanging": _squatting_arms_hanging,
}
"""Composition -> its checks."""
