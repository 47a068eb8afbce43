"""When a pose is held: read off positions of the body, before any caption was written; no reward, no frame.

All lengths are metres in the world frame. The body is Gymnasium's humanoid, 1.6 m tall, with its own joint ranges:
hips open 25 degrees sideways and turn 60, feet are balls without ankles, elbows bend between 20 and 160 degrees. What
each pose means on such a body was settled by eye (`python -m experiments.pose_verdicts` draws true states beside near
misses):

kneeling       both knees on the floor, shins behind them, hips off the floor, torso upright
lotus          sitting upright, legs folded, a knee out to each side, both feet low and close before the hips
standing       torso upright, head high, both feet on the floor
arms_raised    standing, both hands at least 18 cm above the head's middle, elbows above the shoulders
splits         sitting upright, straight legs at least 100 degrees apart, one out to each side, both heels low:
               hips that open 25 degrees sideways allow no 180
hands_on_hips  standing, each hand within a hand's breadth of waist or hip on its own side, elbow bent and out
arms_crossed   standing, forearms crossed before the chest: elbows below the shoulders, each hand past the middle;
               the arms are too short to tuck the hands in
one_leg        upright over one nearly straight leg, the other foot at least 25 cm off the floor

Each pose is a list of margins (B,), in units of how far a limit may be missed before no progress counts: success is
every margin >= 0. Poses made of two things at once are in `composed.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vlmrl_envs.humanoid.body import Body
from vlmrl_envs.humanoid.limits import SIDES, elbow_bend, from_hips, least, leg_angle, most, reach

POSES = ("kneeling", "lotus", "standing", "arms_raised", "splits", "hands_on_hips", "arms_crossed", "one_leg")
"""VLM-RM's eight poses."""
KNOWN = (
    *POSES, "kneeling_one_arm_raised", "lotus_arms_forward", "lotus_hands_on_hips", "lotus_arms_crossed",
    "lying_front_arms_sideways", "lying_side_arms_crossed", "sitting_hands_on_head", "squatting_arms_hanging",
)  # fmt: skip
"""All poses: the eight, and those of two things at once (`composed.COMPOSED`)."""


def margins(body: Body, pose: str) -> np.ndarray:
    """Return the margins (K, B) of a pose; the pose is held where all are >= 0."""
    return np.stack(checks_of(pose)(body))


def success(body: Body, pose: str) -> np.ndarray:
    """Tell where a pose is held, bool (B,)."""
    return np.asarray((margins(body, pose) >= 0).all(axis=0))


def progress(body: Body, pose: str) -> np.ndarray:
    """Return true graded progress (B,) in 0..1: the mean over margins of 1 + margin, clipped to 0..1."""
    return np.clip(1.0 + margins(body, pose), 0.0, 1.0).mean(axis=0)


def checks_of(pose: str) -> Callable[[Body], list[np.ndarray]]:
    """Return the checks of a pose, one of `KNOWN`."""
    from vlmrl_envs.humanoid.composed import COMPOSED

    return {**_POSES, **COMPOSED}[pose]


def kneeling(b: Body) -> list[np.ndarray]:
    """Both knees on the floor, shins behind them, hips above the floor, torso upright.

    A first version also asked for hands off the floor: it called a humanoid that kneels upright with a hand at rest
    beside its knee a failure, which no one who sees the frames would. An upright torso rules out hands and knees.
    """
    checks = [least(b.up[:, 2], 0.75, 0.75), least(b.z("butt"), 0.19, 0.2)]
    heading = b.forward[:, :2] / np.maximum(np.linalg.norm(b.forward[:, :2], axis=1, keepdims=True), 1e-6)
    for side in ("right", "left"):
        behind = ((b.parts[f"{side}_knee"] - b.parts[f"{side}_foot"])[:, :2] * heading).sum(axis=1)
        checks += [
            most(b.z(f"{side}_knee"), 0.16, 0.4),
            most(b.z(f"{side}_foot"), 0.25, 0.5),
            least(behind, 0.15, 0.4),
        ]
    return checks


def lotus(b: Body) -> list[np.ndarray]:
    """Sitting in lotus, no hand above its shoulder: a pose of rest."""
    return lotus_legs(b) + [
        most(b.z(f"{side}_hand") - b.z(f"{side}_shoulder"), 0.0, 0.4) for side, _ in SIDES
    ]


def lotus_legs(b: Body) -> list[np.ndarray]:
    """Sitting on the floor, upright, both legs folded, a knee out to each side, the feet low and close before the hips.

    A first version asked only for folded legs and near feet: it took legs swept to one side, and knees drawn up before
    the chest, for lotus.
    """
    checks = [most(b.z("butt"), 0.18, 0.7), least(b.up[:, 2], 0.9, 0.9)]
    for i, (side, sign) in enumerate(SIDES):
        knee_front, knee_out = from_hips(b, f"{side}_knee", sign)
        foot_front, foot_out = from_hips(b, f"{side}_foot", sign)
        checks += [
            least(b.knee_bend[:, i], 90.0, 90.0),
            least(knee_out, 0.2, 0.3),
            least(knee_front, 0.0, 0.4),
        ]
        checks += [most(foot_out, 0.25, 0.4), least(foot_out, -0.2, 0.4), least(foot_front, 0.0, 0.4)]
        checks += [most(b.flat(f"{side}_foot", "butt"), 0.4, 0.5), least(knee_out - foot_out, 0.08, 0.3)]
        checks += [most(b.z(f"{side}_foot"), 0.2, 0.5), most(b.z(f"{side}_knee"), 0.4, 0.4)]
    return checks


def upright(b: Body) -> list[np.ndarray]:
    """Standing, on whatever foot: torso upright, head high, hips over straight legs."""
    return [least(b.up[:, 2], 0.9, 0.9), least(b.z("head"), 1.42, 1.0), least(b.z("butt"), 0.82, 0.6)]


def on_feet(b: Body) -> list[np.ndarray]:
    """Both feet on the floor."""
    return [most(b.z(f"{side}_foot"), 0.15, 0.3) for side, _ in SIDES]


def standing(b: Body) -> list[np.ndarray]:
    """Upright on both feet."""
    return upright(b) + on_feet(b)


def arm_up(b: Body, side: str) -> list[np.ndarray]:
    """One hand well above the head, its elbow above its shoulder: not held out level, not at the ear."""
    return [least(b.z(f"{side}_hand") - b.z("head"), 0.18, 0.8),
            least(b.z(f"{side}_elbow") - b.z(f"{side}_shoulder"), 0.08, 0.4)]  # fmt: skip


def arms_raised(b: Body) -> list[np.ndarray]:
    """Standing, both arms up."""
    return standing(b) + arm_up(b, "right") + arm_up(b, "left")


def splits(b: Body) -> list[np.ndarray]:
    """Hips on the floor, straight legs at least 100 degrees apart, one to each side with its heel low, torso upright."""
    checks = [most(b.z("butt"), 0.2, 0.7), least(leg_angle(b), 100.0, 100.0), least(b.up[:, 2], 0.8, 0.8)]
    for i, (side, sign) in enumerate(SIDES):
        front, out = from_hips(b, f"{side}_foot", sign, f"{side}_hip")
        checks += [most(b.knee_bend[:, i], 30.0, 60.0), most(b.z(f"{side}_foot"), 0.25, 0.5)]
        checks += [
            least(out - 0.8 * np.abs(front), 0.0, 0.5)
        ]  # nearer to sideways than to forward, or almost
    return checks


def hand_on_hip(b: Body, side: str, sign: float) -> list[np.ndarray]:
    """A hand at waist or hip on its own side, its elbow bent and out.

    Waist and hip are capsules across the body that reach 0.12 and 0.16 m from their middles to each side. A first
    version allowed 0.3 m from the waist's middle, which took forearms held out before the belly for hands on hips.
    """
    ahead, out, high = reach(b, f"{side}_hand", sign)
    _, elbow_out, _ = reach(b, f"{side}_elbow", sign)
    gap = np.minimum(b.distance(f"{side}_hand", "lwaist") - 0.12, b.distance(f"{side}_hand", "butt") - 0.16)
    return [most(gap, 0.11, 0.4), least(out, 0.07, 0.2), most(np.abs(ahead), 0.14, 0.3), most(high, -0.15, 0.4),
            least(elbow_out, 0.23, 0.2), least(elbow_bend(b, side), 70.0, 70.0)]  # fmt: skip


def hands_on_hips(b: Body) -> list[np.ndarray]:
    """Standing, each hand on its own hip, elbows out."""
    return [*standing(b), *(margin for side, sign in SIDES for margin in hand_on_hip(b, side, sign))]


def folded_arms(b: Body) -> list[np.ndarray]:
    """Forearms crossed before the chest: elbows below the shoulders, hands past the middle, below the chin.

    A first version left the elbows free: all that it found had them beside the head, the hands at the throat.
    """
    checks = []
    for side, sign in SIDES:
        ahead, out, high = reach(b, f"{side}_hand", sign)
        _, _, elbow_high = reach(b, f"{side}_elbow", sign)
        checks += [most(out, -0.05, 0.4), least(ahead, 0.1, 0.3), most(ahead, 0.55, 0.3)]
        checks += [most(high, 0.12, 0.4), least(high, -0.28, 0.4), most(elbow_high, 0.04, 0.3)]
    return checks


def arms_crossed(b: Body) -> list[np.ndarray]:
    """Standing, arms crossed."""
    return standing(b) + folded_arms(b)


def one_leg(b: Body) -> list[np.ndarray]:
    """Upright over one nearly straight leg, the other foot at least 0.25 m off the floor (its middle at 0.33)."""
    feet = np.stack([b.z(f"{side}_foot") for side, _ in SIDES])
    stands = feet.argmin(axis=0)
    rows = np.arange(feet.shape[1])
    under = np.stack([b.flat(f"{side}_foot", "torso") for side, _ in SIDES])[stands, rows]
    return [*upright(b), most(feet.min(axis=0), 0.15, 0.3), least(feet.max(axis=0), 0.33, 0.25),
            most(under, 0.35, 0.5), most(b.knee_bend[rows, stands], 60.0, 60.0)]  # fmt: skip


_POSES: dict[str, Callable[[Body], list[np.ndarray]]] = {
    "kneeling": kneeling, "lotus": lotus, "standing": standing, "arms_raised": arms_raised, "splits": splits,
    "hands_on_hips": hands_on_hips, "arms_crossed": arms_crossed, "one_leg": one_leg,
}  # fmt: skip
