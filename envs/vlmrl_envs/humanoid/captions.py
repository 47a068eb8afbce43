"""What can be said of a humanoid's body; written after `success`, from its own reading of the same positions."""

from __future__ import annotations

import numpy as np

from vlmrl_envs.captions import Fact, Grammar, ramp
from vlmrl_envs.humanoid.body import Body
from vlmrl_envs.rules import Caption

GRAMMAR = Grammar(
    subjects=("a humanoid robot", "a robot", "the humanoid robot", "a humanoid", "the robot", "a human-like robot"),
    plain=("a humanoid robot", "a robot", "a humanoid", "the robot", "a picture of a humanoid robot",
           "a humanoid robot on a tiled floor", "a human-like robot"),
    facts=(
        Fact("kneeling", ("kneeling", "on its knees", "kneeling on the floor", "down on both knees", "kneeling down",
                          "kneeling upright"), ("not kneeling",), "legs"),
        Fact("one_knee", ("on one knee", "kneeling on one knee", "with one knee on the floor"), (), "legs"),
        Fact("standing", ("standing up", "standing", "standing upright", "on its feet", "upright on both feet"),
             ("not standing",), "legs"),
        Fact("lotus", ("seated down, meditating in the lotus position", "meditating in the lotus position",
                       "sitting cross-legged", "seated with folded legs", "in the lotus position"), (), "legs"),
        Fact("sitting", ("sitting on the floor", "seated", "sitting down", "seated on the ground"),
             ("not sitting",), "legs"),
        Fact("splits", ("practicing gymnastics, doing the side splits", "doing the side splits", "doing the splits",
                        "seated with its legs wide apart"), (), "legs"),
        Fact("one_leg", ("standing up on one leg", "standing on one leg", "balancing on one leg",
                         "with one foot lifted off the floor"), (), "legs"),
        Fact("squatting", ("squatting", "crouching", "in a squat", "crouching with bent knees"), (), "legs"),
        Fact("all_fours", ("on all fours", "on its hands and knees", "crawling"), (), "legs"),
        Fact("lying", ("lying on the floor", "lying down", "lying flat on the ground", "fallen to the ground"),
             ("not lying down",), "legs"),
        Fact("lying_back", ("lying on its back", "on its back, face up"), (), "legs"),
        Fact("lying_front", ("lying on its front", "lying face down", "on its belly"), (), "legs"),
        Fact("upright", ("with an upright torso", "holding its torso upright", "with a straight back"), (), "torso"),
        Fact("bent_over", ("bent over", "leaning forward", "bowing"), (), "torso"),
        Fact("raised", ("with both arms raised", "with its arms up in the air",
             "with both hands above its head", "raising both arms"), ("with its arms lowered",), "arms"),
        Fact("one_raised", ("with one arm raised", "raising one hand", "with one hand above its head"), (), "arms"),
        Fact("sideways", ("with its arms stretched out to the sides", "with both arms out sideways", "in a T-pose"), (), "arms"),
        Fact("forward", ("with its arms stretched forward", "reaching forward", "with both arms held out in front"), (), "arms"),
        Fact("on_hips", ("with hands on hips", "with its hands on its hips", "hands on hips"), (), "arms"),
        Fact("crossed", ("with its arms crossed", "with arms crossed", "with arms folded in front of its chest"), (), "arms"),
        Fact("hanging", ("with its arms hanging down", "with its arms at its sides", "with lowered arms"), (), "arms"),
        Fact("legs_apart", ("with its legs apart", "with its legs spread", "with its feet far apart"), (), "stance"),
        Fact("legs_together", ("with its legs together", "with its feet close together"), (), "stance"),
        Fact("legs_up", ("with its legs up", "with both feet in the air", "with its legs in the air"), (), "stance"),
        Fact("knees_bent", ("with bent knees", "with bent legs", "with folded legs"), ("with straight legs",), "knees"),
        Fact("head_high", ("with its head high", "holding its head high above the floor"), ("with its head low",), "head"),
        # VLM-RM's sentences that say two things at once, as wholes
        Fact("standing_raised", ("standing up, with both arms raised", "standing with both arms raised"), (), "legs"),
        Fact("standing_hips", ("standing up with hands on hips", "standing with its hands on its hips"), (), "legs"),
        Fact("standing_crossed", ("standing up, with its arms crossed", "standing with arms crossed"), (), "legs"),
    ),
)  # fmt: skip


POSE_FACTS = {
    "kneeling": "kneeling", "lotus": "lotus", "standing": "standing", "arms_raised": "standing_raised",
    "splits": "splits", "hands_on_hips": "standing_hips", "arms_crossed": "standing_crossed", "one_leg": "one_leg",
}  # fmt: skip
"""The fact that says each of the eight poses."""


def degrees(b: Body) -> np.ndarray:
    """Return the facts' degrees (B, 29)."""
    up, butt, head = b.up[:, 2], b.z("butt"), b.z("head")
    knees = np.stack([b.z("right_knee"), b.z("left_knee")])
    feet = np.stack([b.z("right_foot"), b.z("left_foot")])
    upright = ramp(up, 0.1, 0.9)
    bend = b.knee_bend.T
    kneel_side = ramp(knees, 0.48, 0.13) * ramp(feet, 0.6, 0.2) * ramp(_shin_back(b), -0.25, 0.2)
    kneeling = kneel_side.min(axis=0) * upright * ramp(butt, 0.1, 0.2)
    standing = upright * ramp(head, 0.7, 1.5) * ramp(butt, 0.3, 0.85) * ramp(feet.max(axis=0), 0.5, 0.15)
    on_floor = ramp(butt, 0.6, 0.15)
    sitting = on_floor * ramp(up, 0.1, 0.8)
    spread = _leg_angle(b)
    folded = ramp(bend.min(axis=0), 20.0, 90.0)
    feet_near = ramp(np.maximum(b.flat("right_foot", "butt"), b.flat("left_foot", "butt")), 0.9, 0.4)
    lying = ramp(head, 0.7, 0.2) * ramp(np.abs(up), 0.8, 0.25) * ramp(butt, 0.5, 0.15)
    face_up = b.forward[:, 2]
    legs = {
        "kneeling": kneeling,
        "one_knee": np.clip(kneel_side.max(axis=0) - kneel_side.min(axis=0), 0, 1) * upright * ramp(butt, 0.1, 0.3),
        "standing": standing,
        "lotus": sitting * folded * feet_near * ramp(knees.max(axis=0), 0.6, 0.35) * ramp(_shin_back(b).max(axis=0), 0.3, 0.0),
        "sitting": sitting,
        "splits": on_floor * ramp(spread, 20.0, 110.0) * ramp(bend.max(axis=0), 110.0, 25.0) * ramp(up, 0.0, 0.6),
        "one_leg": upright * ramp(butt, 0.4, 0.85) * ramp(feet.max(axis=0) - feet.min(axis=0), 0.02, 0.3)
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
    arms = _arms(b)
    stance = {
        "legs_apart": ramp(spread, 10.0, 60.0),
        "legs_together": ramp(spread, 40.0, 8.0),
        "legs_up": ramp(feet.min(axis=0) - butt, 0.0, 0.4),
        "knees_bent": ramp(bend.mean(axis=0), 15.0, 90.0),
        "head_high": ramp(head, 0.2, 1.55),
    }
    wholes = {"standing_raised": standing * arms["raised"], "standing_hips": standing * arms["on_hips"],
              "standing_crossed": standing * arms["crossed"]}  # fmt: skip
    found = legs | arms | stance | wholes
    return np.stack([found[fact.name] for fact in GRAMMAR.facts], axis=1)


def describe(body: Body, qpos: np.ndarray) -> list[Caption]:
    """Write graded captions of one state's body (B = 1)."""
    return GRAMMAR.describe(degrees(body)[0], np.random.default_rng(int(np.abs(qpos).sum() * 1e6) % 2**32))


def _arms(b: Body) -> dict[str, np.ndarray]:
    """Return the degrees of what the arms do, each arm in the torso's own frame."""
    sideways = np.cross(b.up, b.forward)
    each: dict[str, list[np.ndarray]] = {
        k: [] for k in ("raised", "sideways", "forward", "on_hips", "crossed", "hanging")
    }
    for side, sign in (("right", -1.0), ("left", 1.0)):
        hand = b.parts[f"{side}_hand"] - b.parts["torso"]
        elbow = b.parts[f"{side}_elbow"] - b.parts["torso"]
        ahead, out, high = ((hand * axis).sum(axis=1) for axis in (b.forward, sign * sideways, b.up))
        elbow_out = (elbow * sign * sideways).sum(axis=1)
        each["raised"].append(ramp(high, -0.3, 0.45))
        each["sideways"].append(ramp(out, 0.25, 0.7) * ramp(np.abs(high - 0.05), 0.5, 0.15))
        each["forward"].append(ramp(ahead, 0.15, 0.55) * ramp(np.abs(high), 0.5, 0.15))
        each["on_hips"].append(
            ramp(np.hypot(np.hypot(ahead, out - 0.17), high + 0.27), 0.6, 0.1) * ramp(elbow_out, 0.1, 0.26)
        )
        each["crossed"].append(
            ramp(out, 0.35, -0.05) * ramp(ahead, -0.1, 0.15) * ramp(np.abs(high - 0.03), 0.45, 0.12)
        )
        each["hanging"].append(ramp(high, -0.1, -0.45) * ramp(np.hypot(ahead, out - 0.25), 0.5, 0.15))
    found = {name: np.minimum(*pair) for name, pair in each.items()}
    raised = each["raised"]
    found["one_raised"] = np.clip(np.maximum(*raised) - np.minimum(*raised), 0.0, 1.0)
    return found


def _shin_back(b: Body) -> np.ndarray:
    """Return how far each foot is behind its knee, metres along the torso's heading (2, B)."""
    heading = b.forward[:, :2] / np.maximum(np.linalg.norm(b.forward[:, :2], axis=1, keepdims=True), 1e-6)
    return np.stack([
        ((b.parts[f"{side}_knee"] - b.parts[f"{side}_foot"])[:, :2] * heading).sum(axis=1) for side in ("right", "left")
    ])  # fmt: skip


def _leg_angle(b: Body) -> np.ndarray:
    """Return the angle between the two legs, hip to foot, degrees (B,)."""
    legs = [b.parts[f"{side}_foot"] - b.parts[f"{side}_hip"] for side in ("right", "left")]
    lengths = np.prod([np.maximum(np.linalg.norm(leg, axis=1), 1e-6) for leg in legs], axis=0)
    return np.rad2deg(np.arccos(np.clip((legs[0] * legs[1]).sum(axis=1) / lengths, -1.0, 1.0)))
