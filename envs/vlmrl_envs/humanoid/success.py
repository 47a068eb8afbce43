"""When a pose is held: read off positions of the body, before any caption was written; no reward, no frame.

All lengths are metres in the world frame. The body is Gymnasium's humanoid: 1.6 m tall, its hips open 25 degrees
sideways, so that splits and lotus mean what this body can do of them: sitting with the straight legs at least 100
degrees apart; sitting upright with folded legs and the feet close. Each pose is a list of margins (B,), in units of
how far a limit may be missed before no progress counts: success is every margin >= 0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vlmrl_envs.humanoid.body import Body

POSES = ("kneeling", "lotus", "standing", "arms_raised", "splits", "hands_on_hips", "arms_crossed", "one_leg")


def margins(body: Body, pose: str) -> np.ndarray:
    """Return the margins (K, B) of a pose; the pose is held where all are >= 0."""
    return np.stack(_POSES[pose](body))


def success(body: Body, pose: str) -> np.ndarray:
    """Tell where a pose is held, bool (B,)."""
    return np.asarray((margins(body, pose) >= 0).all(axis=0))


def progress(body: Body, pose: str) -> np.ndarray:
    """Return true graded progress (B,) in 0..1: the mean over margins of 1 + margin, clipped to 0..1."""
    return np.clip(1.0 + margins(body, pose), 0.0, 1.0).mean(axis=0)


def _least(value: np.ndarray, limit: float, slack: float) -> np.ndarray:
    return (value - limit) / slack


def _most(value: np.ndarray, limit: float, slack: float) -> np.ndarray:
    return (limit - value) / slack


def _kneeling(b: Body) -> list[np.ndarray]:
    """Both knees on the floor, shins behind them, hips above the floor, torso upright.

    A first version also asked for hands off the floor: it called a humanoid that kneels upright with a hand at rest
    beside its knee a failure, which no one who sees the frames would. An upright torso rules out hands and knees.
    """
    checks = [_least(b.up[:, 2], 0.75, 0.75), _least(b.z("butt"), 0.19, 0.2)]
    heading = b.forward[:, :2] / np.maximum(np.linalg.norm(b.forward[:, :2], axis=1, keepdims=True), 1e-6)
    for side in ("right", "left"):
        behind = ((b.parts[f"{side}_knee"] - b.parts[f"{side}_foot"])[:, :2] * heading).sum(axis=1)
        checks += [
            _most(b.z(f"{side}_knee"), 0.16, 0.4),
            _most(b.z(f"{side}_foot"), 0.25, 0.5),
            _least(behind, 0.15, 0.4),
        ]
    return checks


def _lotus(b: Body) -> list[np.ndarray]:
    """Sitting on the floor, upright, both legs folded with the feet close and low, hands no higher than the shoulders."""
    checks = [_most(b.z("butt"), 0.18, 0.7), _least(b.up[:, 2], 0.8, 0.8)]
    for i, side in enumerate(("right", "left")):
        checks += [_least(b.knee_bend[:, i], 75.0, 75.0), _most(b.flat(f"{side}_foot", "butt"), 0.5, 0.5)]
        checks += [_most(b.z(f"{side}_foot"), 0.3, 0.5), _most(b.z(f"{side}_knee"), 0.42, 0.4)]
        checks += [_most(b.z(f"{side}_hand") - b.z(f"{side}_shoulder"), 0.0, 0.4)]
    return checks


def _upright(b: Body) -> list[np.ndarray]:
    """Standing: torso upright, head high, hips over straight legs."""
    return [_least(b.up[:, 2], 0.9, 0.9), _least(b.z("head"), 1.42, 1.0), _least(b.z("butt"), 0.82, 0.6)]


def _on_feet(b: Body) -> list[np.ndarray]:
    return [_most(b.z(f"{side}_foot"), 0.15, 0.3) for side in ("right", "left")]


def _standing(b: Body) -> list[np.ndarray]:
    """Upright on both feet."""
    return _upright(b) + _on_feet(b)


def _arms_raised(b: Body) -> list[np.ndarray]:
    """Standing, both hands above the head."""
    return _standing(b) + [_least(b.z(f"{side}_hand") - b.z("head"), 0.05, 0.8) for side in ("right", "left")]


def _splits(b: Body) -> list[np.ndarray]:
    """Hips on the floor, legs straight and at least 100 degrees apart, torso not lying."""
    legs = [b.parts[f"{side}_foot"] - b.parts[f"{side}_hip"] for side in ("right", "left")]
    cosine = (legs[0] * legs[1]).sum(axis=1) / np.prod([np.linalg.norm(leg, axis=1) for leg in legs], axis=0)
    apart = np.rad2deg(np.arccos(np.clip(cosine, -1.0, 1.0)))
    checks = [_most(b.z("butt"), 0.2, 0.7), _least(apart, 100.0, 100.0), _least(b.up[:, 2], 0.6, 0.6)]
    return checks + [_most(b.knee_bend[:, i], 35.0, 60.0) for i in (0, 1)]


def _hands_on_hips(b: Body) -> list[np.ndarray]:
    """Standing, each hand at the waist on its own side, elbows out."""
    checks = _standing(b)
    for side in ("right", "left"):
        checks += [_most(b.distance(f"{side}_hand", "lwaist"), 0.3, 0.4)]
        checks += [_least(b.flat(f"{side}_elbow", "torso"), 0.27, 0.2)]
        checks += [
            _most(
                b.distance(f"{side}_hand", f"{side}_hip") - b.distance(f"{side}_hand", f"{_other(side)}_hip"),
                0,
                0.2,
            )
        ]
    return checks


def _arms_crossed(b: Body) -> list[np.ndarray]:
    """Standing, each hand before the chest and past the middle, towards the other arm."""
    checks = _standing(b)
    sideways = np.cross(b.up, b.forward)
    for side, sign in (("right", 1.0), ("left", -1.0)):
        reach = b.parts[f"{side}_hand"] - b.parts["torso"]
        checks += [_least(sign * (reach * sideways).sum(axis=1), 0.02, 0.4)]
        checks += [_least((reach * b.forward).sum(axis=1), 0.05, 0.3)]
        checks += [_most(np.abs((reach * b.up).sum(axis=1) + 0.02), 0.25, 0.4)]
    return checks


def _one_leg(b: Body) -> list[np.ndarray]:
    """Upright on one foot, the other at least 0.25 m off the floor."""
    feet = np.stack([b.z("right_foot"), b.z("left_foot")])
    return [*_upright(b), _most(feet.min(axis=0), 0.15, 0.3), _least(feet.max(axis=0), 0.33, 0.25)]


def _other(side: str) -> str:
    return "left" if side == "right" else "right"


_POSES: dict[str, Callable[[Body], list[np.ndarray]]] = {
    "kneeling": _kneeling, "lotus": _lotus, "standing": _standing, "arms_raised": _arms_raised, "splits": _splits,
    "hands_on_hips": _hands_on_hips, "arms_crossed": _arms_crossed, "one_leg": _one_leg,
}  # fmt: skip
