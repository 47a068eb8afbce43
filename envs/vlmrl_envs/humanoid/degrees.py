"""To what degree each fact holds of a body: its own reading of positions, apart from `success`."""

from __future__ import annotations

import numpy as np

from vlmrl_envs.captions import ramp
from vlmrl_envs.humanoid.body import Body
from vlmrl_envs.humanoid.wordings import FACTS

SIDES = (("right", -1.0), ("left", 1.0))
"""The robot's own sides, and the sign of its sideways axis, which points to its left."""
RADIUS = 0.08
"""A part whose middle is this low, metres, touches the floor; feet, hands, hips and knees are 0.04..0.09 thick."""


def degrees(b: Body) -> np.ndarray:
    """Return the degrees (B, F), 0..1, of the facts in `wordings.FACTS`."""
    found = _legs(b) | _arms(b) | _stance(b)
    standing = found["standing"]
    found |= {"standing_raised": standing * found["raised"], "standing_hips": standing * found["on_hips"],
              "standing_crossed": standing * found["crossed"]}  # fmt: skip
    found |= _postures(b, found) | _torso(b) | _single_arms(b) | _hands(b) | _single_legs(b) | _relations(b)
    return np.stack([found[fact.name] for fact in FACTS], axis=1)


def _legs(b: Body) -> dict[str, np.ndarray]:
    """Return the degrees of what the whole body does, by its legs."""
    up, butt, head = b.up[:, 2], b.z("butt"), b.z("head")
    knees = np.stack([b.z("right_knee"), b.z("left_knee")])
    feet = np.stack([b.z("right_foot"), b.z("left_foot")])
    upright = ramp(up, 0.1, 0.9)
    bend = b.knee_bend.T
    kneel_side = ramp(knees, 0.48, 0.13) * ramp(feet, 0.6, 0.2) * ramp(_shin_back(b), -0.25, 0.2)
    kneeling = kneel_side.min(axis=0) * upright * ramp(butt, 0.1, 0.2)
    standing = upright * ramp(head, 0.7, 1.5) * ramp(butt, 0.3, 0.85) * ramp(feet.max(axis=0), 0.5, 0.15)
    on_floor = ramp(butt, 0.6, 0.15)
    sitting = on_floor * ramp(up, 0.1, 0.95)
    spread = _leg_angle(b)
    folded = ramp(bend.min(axis=0), 20.0, 90.0)
    feet_near = ramp(np.maximum(b.flat("right_foot", "butt"), b.flat("left_foot", "butt")), 0.9, 0.4)
    lying = ramp(head, 0.7, 0.3) * ramp(np.abs(up), 0.8, 0.25) * ramp(butt, 0.5, 0.22)
    face_up = b.forward[:, 2]
    return {
        "kneeling": kneeling,
        "one_knee": np.clip(kneel_side.max(axis=0) - kneel_side.min(axis=0), 0, 1) * upright * ramp(butt, 0.1, 0.3),
        "standing": standing,
        "lotus": sitting * folded * feet_near * ramp(knees.max(axis=0), 0.6, 0.35) * ramp(_shin_back(b).max(axis=0), 0.45, 0.25)
        * _crossed_legs(b) * (0.4 + 0.6 * _hands_at_rest(b)),
        "sitting": sitting,
        "splits": on_floor * ramp(spread, 20.0, 110.0) * ramp(bend.max(axis=0), 110.0, 25.0) * ramp(up, 0.2, 0.92)
        * ramp(feet.max(axis=0), 0.6, 0.22) * _sideways_legs(b),
        "one_leg": upright * ramp(butt, 0.4, 0.85) * ramp(feet.max(axis=0) - feet.min(axis=0), 0.02, 0.33)
        * ramp(feet.min(axis=0), 0.5, 0.15),
        "squatting": upright * folded * ramp(np.abs(butt - 0.4), 0.4, 0.1) * ramp(feet.max(axis=0), 0.4, 0.15)
        * ramp(knees.min(axis=0), 0.1, 0.35),
        "all_fours": ramp(up, 0.8, 0.3) * ramp(knees.max(axis=0), 0.5, 0.15) * ramp(butt, 0.15, 0.4)
        * ramp(np.maximum(b.z("right_hand"), b.z("left_hand")), 0.6, 0.15) * ramp(face_up, 0.1, -0.5),
        "lying": lying,
        "lying_back": lying * ramp(face_up, 0.0, 0.8),
        "lying_front": lying * ramp(face_up, 0.0, -0.8),
        "upright": upright,
        "bent_over": ramp(up, 0.95, 0.4) * ramp(face_up, 0.0, -0.6) * ramp(butt, 0.2, 0.6),
    }  # fmt: skip


def _stance(b: Body) -> dict[str, np.ndarray]:
    """Return the degrees of how legs and head are held."""
    butt, head, bend, spread = b.z("butt"), b.z("head"), b.knee_bend.T, _leg_angle(b)
    feet = np.stack([b.z("right_foot"), b.z("left_foot")])
    return {
        "legs_apart": ramp(spread, 10.0, 60.0),
        "legs_together": ramp(spread, 40.0, 8.0),
        "legs_up": ramp(feet.min(axis=0) - butt, 0.0, 0.4),
        "knees_bent": ramp(bend.mean(axis=0), 15.0, 90.0),
        "head_high": ramp(head, 0.2, 1.55),
    }


def _arms(b: Body) -> dict[str, np.ndarray]:
    """Return the degrees of what the arms do, each arm in the torso's own frame."""
    each: dict[str, list[np.ndarray]] = {
        k: [] for k in ("raised", "sideways", "forward", "on_hips", "crossed", "hanging")
    }
    for side, sign in SIDES:
        ahead, out, high = _reach(b, f"{side}_hand", sign)
        _, elbow_out, elbow_high = _reach(b, f"{side}_elbow", sign)
        each["raised"].append(_arm_up(high, elbow_high))
        each["sideways"].append(ramp(out, 0.25, 0.7) * ramp(np.abs(high - 0.05), 0.5, 0.15))
        each["forward"].append(ramp(ahead, 0.15, 0.55) * ramp(np.abs(high), 0.5, 0.15))
        each["on_hips"].append(
            ramp(np.hypot(np.hypot(ahead, out - 0.17), high + 0.27), 0.6, 0.1) * ramp(elbow_out, 0.1, 0.26)
        )
        each["crossed"].append(
            ramp(out, 0.35, -0.05)
            * ramp(ahead, -0.1, 0.12)
            * ramp(np.abs(high + 0.08), 0.45, 0.2)
            * ramp(elbow_high, 0.3, 0.04)  # folded before the chest, and not elbows up beside the head
        )
        each["hanging"].append(ramp(high, -0.1, -0.45) * ramp(np.hypot(ahead, out - 0.25), 0.5, 0.15))
    found = {name: np.minimum(*pair) for name, pair in each.items()}
    raised = each["raised"]
    found["one_raised"] = np.maximum(*raised) * ramp(np.minimum(*raised), 0.8, 0.3)
    return found


def _arm_up(hand: np.ndarray, elbow: np.ndarray) -> np.ndarray:
    """Return how far an arm is raised by the heights of hand and elbow over the shoulder, metres (B,).

    By the hand alone, a hand beside the head with its elbow down is all but raised, and an agent is content with it.
    """
    return 0.25 * ramp(hand, -0.3, 0.15) + 0.45 * ramp(hand, 0.15, 0.5) + 0.3 * ramp(elbow, -0.25, 0.12)


def _shin_back(b: Body) -> np.ndarray:
    """Return how far each foot is behind its knee, metres along the torso's heading (2, B)."""
    heading = _heading(b)
    return np.stack([
        ((b.parts[f"{side}_knee"] - b.parts[f"{side}_foot"])[:, :2] * heading).sum(axis=1) for side in ("right", "left")
    ])  # fmt: skip


def _crossed_legs(b: Body) -> np.ndarray:
    """Return how far both knees are out to their sides, farther than the feet, and no knee or foot behind the hips (B,)."""
    found, left = [], _hips(b)
    front = np.cross(left, b.up)
    for side, sign in SIDES:
        knee, foot = (b.parts[f"{side}_{part}"] - b.parts[f"{side}_hip"] for part in ("knee", "foot"))
        knee_out, foot_out = (knee * sign * left).sum(axis=1), (foot * sign * left).sum(axis=1)
        found.append(ramp(knee_out, -0.1, 0.22) * ramp(knee_out - foot_out, -0.2, 0.12) * ramp(foot_out, -0.5, -0.15)
                     * ramp((foot * front).sum(axis=1), -0.25, 0.0) * ramp((knee * front).sum(axis=1), -0.3, 0.06))  # fmt: skip
    return np.minimum(*found)


def _hands_at_rest(b: Body) -> np.ndarray:
    """Return how far no hand is up, as nobody meditates with a hand in the air (B,)."""
    high = np.maximum(*(b.z(f"{side}_hand") - b.z(f"{side}_shoulder") for side, _ in SIDES))
    return ramp(high, 0.45, -0.08)


def _along(b: Body) -> np.ndarray:
    """Return how far one foot is ahead of the other and not beside it, as the hips point, 0 (beside) to 1 (B,)."""
    apart = b.parts["right_foot"] - b.parts["left_foot"]
    beside = np.abs((apart * _hips(b)).sum(axis=1)) / np.maximum(np.linalg.norm(apart, axis=1), 1e-6)
    return np.sqrt(np.clip(1.0 - beside**2, 0.0, 1.0))


def _sideways_legs(b: Body) -> np.ndarray:
    """Return how far the legs go apart sideways and not forward and back, 0.1..1 (B,)."""
    return 0.1 + 0.9 * ramp(_along(b), 1.0, 0.72)


def _hips(b: Body) -> np.ndarray:
    """Return the unit axis from the right hip to the left one (B, 3): the torso can be turned against it."""
    hips = b.parts["left_hip"] - b.parts["right_hip"]
    return hips / np.maximum(np.linalg.norm(hips, axis=1, keepdims=True), 1e-6)


def _leg_angle(b: Body) -> np.ndarray:
    """Return the angle between the two legs, hip to foot, degrees (B,)."""
    right, left = (b.parts[f"{side}_foot"] - b.parts[f"{side}_hip"] for side, _ in SIDES)
    return _angle(right, left)


def _postures(b: Body, found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the degrees of further postures of the whole body; found: those of `_legs` and `_stance`."""
    up, butt, face_up = b.up[:, 2], b.z("butt"), b.forward[:, 2]
    bend, heading = b.knee_bend.T, _heading(b)
    feet = np.stack([b.z("right_foot"), b.z("left_foot")])
    hands = np.maximum(b.z("right_hand"), b.z("left_hand"))
    knees = np.minimum(b.z("right_knee"), b.z("left_knee"))
    apart, along = (b.parts["right_foot"] - b.parts["left_foot"])[:, :2], _along(b)
    ahead = np.stack(
        [((b.parts[f"{s}_foot"] - b.parts["butt"])[:, :2] * heading).sum(axis=1) for s, _ in SIDES]
    )
    sitting = found["sitting"]
    return {
        "lying_side": found["lying"] * ramp(np.abs(_sideways(b)[:, 2]), 0.4, 0.85),
        "lunging": ramp(up, 0.3, 0.8) * ramp(np.linalg.norm(apart, axis=1), 0.3, 0.75) * ramp(along, 0.5, 0.9)
        * ramp(np.abs(butt - 0.6), 0.35, 0.15) * ramp(feet.max(axis=0), 0.5, 0.2) * ramp(bend.max(axis=0), 25.0, 75.0),
        "front_splits": found["splits"] / _sideways_legs(b) * ramp(along, 0.6, 0.95),
        "bridge": ramp(face_up, 0.1, 0.7) * ramp(butt, 0.15, 0.35) * ramp(feet.max(axis=0), 0.4, 0.15)
        * ramp(hands, 0.5, 0.15) * ramp(bend.min(axis=0), 20.0, 70.0),
        "upside_down": ramp(up, -0.2, -0.8) * ramp(feet.min(axis=0) - b.z("head"), 0.3, 0.9),
        "sit_forward": sitting * ramp(bend.max(axis=0), 70.0, 20.0) * ramp(ahead.min(axis=0), 0.2, 0.55)
        * found["legs_together"],
        "sit_knees_up": sitting * ramp(knees, 0.25, 0.42) * ramp(bend.min(axis=0), 30.0, 90.0),
        "sit_heels": found["kneeling"] * ramp(butt, 0.42, 0.24) * ramp(bend.min(axis=0), 90.0, 140.0),
        "airborne": ramp(_lowest(b), 0.06, 0.2),
    }  # fmt: skip


def _torso(b: Body) -> dict[str, np.ndarray]:
    """Return the degrees of which way the torso leans and turns."""
    up, side = b.up[:, 2], _sideways(b)
    tilt = ramp(up, 0.98, 0.75) * ramp(up, -0.1, 0.3)
    # Where the torso's own axes point, up or down, says which way it leans.
    hips = b.parts["left_hip"] - b.parts["right_hip"]
    turned = np.abs((hips * b.forward).sum(axis=1)) / np.maximum(np.linalg.norm(hips, axis=1), 1e-6)
    return {
        "leaning_back": tilt * ramp(b.forward[:, 2], 0.1, 0.45),
        "leaning_left": tilt * ramp(side[:, 2], -0.1, -0.4),
        "leaning_right": tilt * ramp(side[:, 2], 0.1, 0.4),
        "twisted": ramp(turned, 0.15, 0.55),
    }


def _single_arms(b: Body) -> dict[str, np.ndarray]:
    """Return the degrees of what each arm does, in the torso's own frame."""
    found = {}
    for side, sign in SIDES:
        ahead, out, high = _reach(b, f"{side}_hand", sign)
        found[f"{side}_raised"] = _arm_up(high, _reach(b, f"{side}_elbow", sign)[2])
        found[f"{side}_forward"] = ramp(ahead, 0.15, 0.55) * ramp(np.abs(high), 0.5, 0.15)
        found[f"{side}_sideways"] = ramp(out, 0.25, 0.7) * ramp(np.abs(high - 0.05), 0.5, 0.15)
        found[f"{side}_hanging"] = ramp(high, -0.1, -0.45) * ramp(np.hypot(ahead, out - 0.25), 0.5, 0.15)
    return found


def _hands(b: Body) -> dict[str, np.ndarray]:
    """Return the degrees of where both hands are and how the arms bend."""
    hands = [f"{side}_hand" for side, _ in SIDES]
    bends, behind, high_up = [], [], []
    for side, sign in SIDES:
        upper = b.parts[f"{side}_elbow"] - b.parts[f"{side}_shoulder"]
        lower = b.parts[f"{side}_hand"] - b.parts[f"{side}_elbow"]
        bends.append(_angle(upper, lower))
        ahead, _, high = _reach(b, f"{side}_hand", sign)
        behind.append(ramp(ahead, 0.0, -0.2) * ramp(high, 0.2, -0.1))
        high_up.append(ramp(high, 0.02, 0.14))
    head = np.max([b.distance(hand, "head") for hand in hands], axis=0)
    knees = np.max([b.distance(f"{side}_hand", f"{side}_knee") for side, _ in SIDES], axis=0)
    return {
        "elbows_bent": ramp(np.min(bends, axis=0), 25.0, 90.0),
        "on_head": ramp(head, 0.5, 0.18) * np.min(high_up, axis=0),
        "on_floor": ramp(np.max([b.z(hand) for hand in hands], axis=0), 0.5, RADIUS),
        "behind": np.min(behind, axis=0),
        "hands_together": ramp(b.distance(*hands), 0.7, 0.15),
        "on_knees": ramp(knees, 0.5, 0.2),
    }


def _single_legs(b: Body) -> dict[str, np.ndarray]:
    """Return the degrees of what each leg does; its directions are those of the torso's heading."""
    heading = _heading(b)
    leftward = np.stack([-heading[:, 1], heading[:, 0]], axis=1)
    found = {}
    for i, (side, sign) in enumerate(SIDES):
        other = SIDES[1 - i][0]
        reach = b.parts[f"{side}_foot"] - b.parts["butt"]
        length = np.maximum(np.linalg.norm(reach, axis=1), 1e-6)
        forward = (reach[:, :2] * heading).sum(axis=1) / length
        out = sign * (reach[:, :2] * leftward).sum(axis=1) / length
        found[f"{side}_knee_bent"] = ramp(b.knee_bend[:, i], 15.0, 90.0)
        found[f"{side}_leg_raised"] = ramp(b.z(f"{side}_foot") - b.z(f"{other}_foot"), 0.03, 0.35)
        found[f"{side}_leg_forward"] = ramp(forward, 0.2, 0.75)
        found[f"{side}_leg_side"] = ramp(out, 0.25, 0.7)
    return found


def _relations(b: Body) -> dict[str, np.ndarray]:
    """Return the degrees of what touches the floor and what is higher than what."""
    butt, head = b.z("butt"), b.z("head")
    feet, knees, hands = (
        np.stack([b.z(f"{s}_{part}") for s, _ in SIDES]) for part in ("foot", "knee", "hand")
    )
    others = np.min([butt, head, *hands, b.z("torso")], axis=0)
    feet_floor = ramp(feet.max(axis=0), 0.4, 0.12)
    return {
        "knees_floor": ramp(knees.max(axis=0), 0.48, 0.13),
        "feet_floor": feet_floor,
        "hips_floor": ramp(butt, 0.5, 0.13),
        "feet_only": feet_floor * ramp(np.minimum(others, knees.min(axis=0)), 0.1, 0.32),
        "hands_over_head": ramp(hands.min(axis=0) - head, -0.6, 0.1),
        "knees_over_hips": ramp(knees.min(axis=0) - butt, -0.25, 0.1),
        "hips_low": ramp(butt, 0.9, 0.15),
        "feet_behind": ramp(_shin_back(b).min(axis=0), -0.1, 0.25),
    }


def _lowest(b: Body) -> np.ndarray:
    """Return how far the lowest of the named parts is off the floor, metres (B,)."""
    parts = (
        "head",
        "butt",
        "lwaist",
        "torso",
        *(f"{s}_{p}" for s, _ in SIDES for p in ("foot", "knee", "hand", "elbow")),
    )
    # A foot's ball is 0.1 m short of the sole on these legs: the shin ends there.
    return np.min([b.z(part) - RADIUS for part in parts], axis=0)


def _reach(b: Body, part: str, sign: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how far a part is ahead of, out from and above the torso's middle, metres along the torso's axes (B,)."""
    offset = b.parts[part] - b.parts["torso"]
    ahead, out, high = ((offset * axis).sum(axis=1) for axis in (b.forward, sign * _sideways(b), b.up))
    return ahead, out, high


def _sideways(b: Body) -> np.ndarray:
    """Return the torso's unit axis towards its left (B, 3)."""
    return np.cross(b.up, b.forward)


def _heading(b: Body) -> np.ndarray:
    """Return the unit horizontal direction (B, 2) that the torso faces."""
    return b.forward[:, :2] / np.maximum(np.linalg.norm(b.forward[:, :2], axis=1, keepdims=True), 1e-6)


def _angle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the angle between vectors (B, 3) and (B, 3), degrees (B,)."""
    lengths = np.maximum(np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), 1e-6)
    return np.rad2deg(np.arccos(np.clip((a * b).sum(axis=1) / lengths, -1.0, 1.0)))
