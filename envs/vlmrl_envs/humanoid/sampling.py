"""Varied states of the humanoid: legs x arms x torso, blends of them, falls and random joints.

Legs, arms and torsos are drawn on their own and put together, so that every combination occurs. The body is set
on the floor at its lowest point, and two thirds of the states are then let go for a moment under random torques.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import mujoco
import numpy as np

from vlmrl_envs.posing import FloorSetter, settle

if TYPE_CHECKING:
    from vlmrl_envs.humanoid.rules import Humanoid

# Degrees. Legs: (torso pitch, then hip_x, hip_z, hip_y, knee for right and left); positive pitch leans forward.
LEGS: dict[str, tuple[float, ...]] = {
    "standing": (0, 0, 0, 0, -5, 0, 0, 0, -5),
    "wide_stance": (0, -20, 0, 0, -5, -20, 0, 0, -5),
    "bent_knees": (5, -3, 0, -35, -65, -3, 0, -35, -65),
    "squat": (15, -10, -15, -85, -120, -10, -15, -85, -120),
    "kneel_tall": (0, -3, 0, 0, -92, -3, 0, 0, -92),
    "kneel_half": (0, -3, 0, -35, -120, -3, 0, -35, -120),
    "kneel_sit": (0, -3, 0, -75, -155, -3, 0, -75, -155),
    "one_knee": (0, 0, 0, -90, -90, 0, 0, 0, -92),
    "one_leg_knee": (0, 0, 0, -95, -100, 0, 0, 0, -5),
    "one_leg_front": (-5, 0, 0, -75, -10, 0, 0, 0, -5),
    "one_leg_back": (15, 0, 0, 15, -95, 0, 0, 0, -5),
    "sit_legs_forward": (0, 0, 0, -88, -5, 0, 0, -88, -5),
    "sit_knees_up": (0, -5, 0, -110, -110, -5, 0, -110, -110),
    "lotus": (0, -25, -50, -85, -130, -25, -50, -85, -130),
    "straddle": (0, -25, -45, -85, -5, -25, -45, -85, -5),
    "front_splits": (0, 0, 0, -88, -5, 0, 0, 20, -10),
    "on_all_fours": (80, 0, 0, -85, -90, 0, 0, -85, -90),
    "on_back": (-90, 0, 0, -5, -10, 0, 0, -5, -10),
    "on_back_legs_up": (-90, 0, 0, -85, -10, 0, 0, -85, -10),
    "on_front": (90, 0, 0, 0, -5, 0, 0, 0, -5),
    "bowing": (50, 0, 0, -60, -5, 0, 0, -60, -5),
    "lunge": (5, 0, 0, -75, -75, 0, 0, 20, -25),
    "lotus_low": (-6, -4, -59, -106, -158, -4, -59, -106, -158),
    "on_side": (0, 0, 0, -25, -30, 0, 0, -10, -15),
    "bridge": (-57, -3, -10, 12, -118, -3, -10, 12, -118),
    "handstand": (180, 0, 0, 0, -5, 0, 0, 0, -5),
}
ROLLED = {"on_side": 90.0}
"""Templates that lie on a side: degrees of roll towards the robot's right."""
ROUNDED = {"lotus_low": -28.0}
"""Templates with the hips tilted back under the torso, degrees."""
RARE = {"lunge": 0.6, "on_side": 0.5, "bridge": 0.4, "handstand": 0.4, "lotus": 1.5, "straddle": 1.5}
"""How often a leg template is drawn, 1 by default."""
# Shoulder1, shoulder2, elbow of the left arm; the right arm mirrors it.
ARMS: dict[str, tuple[float, float, float]] = {
    "relaxed": (0, 0, 0),
    "hanging": (-44, 50, -65),
    "raised": (80, -18, -85),
    "sideways": (52, 42, -70),
    "forward": (4, -38, -80),
    "on_hips": (-50, 80, 8),
    "crossed": (-60, -23, -63),
    "crossed_under": (-60, -38, -64),
    "in_lap": (-36, 28, -28),
    "behind": (-58, 84, -85),
    "on_head": (-47, -74, 41),
}
UNDER = {"crossed": "crossed_under"}
"""Arms that cannot both be held alike: what the left one does where the right one does the other."""


def template(model: mujoco.MjModel, legs: str, arms: tuple[str, str], mirror: bool = False) -> np.ndarray:
    """Return qpos (nq,) of a leg template and (right, left) arm templates, not yet set on the floor."""
    pitch, *joints = LEGS[legs]
    right, left = joints[:4], joints[4:]
    if mirror:
        right, left = left, right
    qpos = model.qpos0.copy()
    half, roll = np.deg2rad(pitch) / 2, np.deg2rad(ROLLED.get(legs, 0.0)) / 2 * (-1 if mirror else 1)
    # pitch about y, then roll about x: one of the two is 0 in every template
    qpos[3:7] = [np.cos(half) * np.cos(roll), np.sin(roll), np.sin(half), 0.0]
    qpos[8] = np.deg2rad(ROUNDED.get(legs, 0.0))
    qpos[10:18] = np.deg2rad([*right, *left])
    qpos[18:21] = np.deg2rad(ARMS[arms[0]]) * [-1, -1, 1]
    qpos[21:24] = np.deg2rad(ARMS[arms[1]])
    return qpos


SOUGHT = (
    ("standing", "raised"), ("standing", "on_hips"), ("standing", "crossed"), ("standing", "hanging"), ("lotus_low", "in_lap"),
    ("straddle", "sideways"), ("straddle", "in_lap"), ("one_leg_knee", "hanging"), ("kneel_tall", "hanging"),
)  # fmt: skip
"""Legs and arms that tasks ask for: an eighth of all compositions, as chance would hardly bring some together."""
_WEIGHTS = np.array([RARE.get(legs, 1.0) for legs in LEGS])
_WEIGHTS /= _WEIGHTS.sum()


def sample_states(rules: Humanoid, rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw n states (n, S); the same rng gives the same states."""
    return _settled(rules, rng, [_draw(rules.model, rng) for _ in range(n)])


def sample_arms(rules: Humanoid, rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw n states (n, S) whose arms are on the way from one thing that arms do to another; half of them stand.

    Arms are small in a picture: among states of every kind few differ in nothing else.
    """
    return _settled(rules, rng, [_draw_arms(rules.model, rng) for _ in range(n)])


def _settled(rules: Humanoid, rng: np.random.Generator, drawn: list[np.ndarray]) -> np.ndarray:
    """Return the states (n, S) of qpos, set on the floor, some a little above it, and let go for a moment."""
    model, n = rules.model, len(drawn)
    qpos = np.stack(drawn) if n else np.zeros((0, model.nq))
    qpos[:, 7:] = np.clip(qpos[:, 7:], *model.jnt_range[1:].T)
    qpos = FloorSetter(model)(qpos) if n else qpos
    lifted = rng.random(n) < 0.08
    qpos[lifted, 2] += rng.uniform(0.0, 0.4, int(lifted.sum()))
    qvel = rng.normal(0.0, 0.3, (n, model.nv)) * (rng.random((n, 1)) < 0.5)
    return settle(rules, rng, rules.join(qpos, qvel), longest=40, across=2)


def _draw(model: mujoco.MjModel, rng: np.random.Generator) -> np.ndarray:
    """Draw one qpos: a composition, a blend of two, or random joints; with noise, turned about the vertical."""
    kind = rng.random()
    qpos = _compose(model, rng)
    if kind < 0.35:
        other = _compose(model, rng) if kind < 0.15 else template(model, "standing", ("relaxed", "relaxed"))
        share = rng.random()
        qpos = (1 - share) * qpos + share * other
    elif kind < 0.47:
        low, high = model.jnt_range[1:].T
        qpos[7:] = rng.uniform(low, high)
    return _placed(model, rng, qpos)


def _draw_arms(model: mujoco.MjModel, rng: np.random.Generator) -> np.ndarray:
    """Draw one qpos: legs, and arms between two of their templates; with noise, turned about the vertical."""
    legs = "standing" if rng.random() < 0.5 else str(rng.choice(list(LEGS), p=_WEIGHTS))
    first = ("relaxed", "relaxed") if rng.random() < 0.3 else _arms(rng)
    share, mirror = rng.random(), bool(rng.random() < 0.5)
    ends = [template(model, legs, arms, mirror) for arms in (first, _arms(rng))]
    return _placed(model, rng, (1 - share) * ends[0] + share * ends[1])


def _arms(rng: np.random.Generator) -> tuple[str, str]:
    """Draw what the right and the left arm do, mostly the same."""
    right = str(rng.choice(list(ARMS)))
    left = right if rng.random() < 0.75 else str(rng.choice(list(ARMS)))
    return right, UNDER.get(left, left) if left == right else left


def _placed(model: mujoco.MjModel, rng: np.random.Generator, qpos: np.ndarray) -> np.ndarray:
    """Return a qpos with noise in its joints, turned about the vertical and tilted, somewhere near the middle; in place."""
    qpos[7:] += rng.normal(0.0, np.deg2rad(rng.choice([3.0, 8.0, 16.0])), model.nq - 7)
    tilt = rng.normal(0.0, np.deg2rad(rng.choice([4.0, 12.0, 40.0], p=[0.6, 0.25, 0.15])), 2)
    yaw = rng.choice(
        [rng.normal(0.0, 0.15), rng.normal(0.0, 0.6), rng.uniform(-np.pi, np.pi)], p=[0.6, 0.25, 0.15]
    )
    turn = np.zeros(4)
    mujoco.mju_euler2Quat(turn, np.array([yaw, tilt[0], tilt[1]]), "ZYX")
    root = np.zeros(4)
    mujoco.mju_mulQuat(root, turn, qpos[3:7] / np.linalg.norm(qpos[3:7]))
    qpos[3:7] = root
    qpos[:2] = rng.normal(0.0, 0.12, 2)
    return qpos


def _compose(model: mujoco.MjModel, rng: np.random.Generator) -> np.ndarray:
    """Draw legs, arms and a torso bend, each on its own, or now and then what tasks ask for."""
    if rng.random() < 1 / 8:
        legs, arms = SOUGHT[rng.integers(len(SOUGHT))]
        return template(model, legs, (arms, UNDER.get(arms, arms)), mirror=bool(rng.random() < 0.5))
    legs = str(rng.choice(list(LEGS), p=_WEIGHTS))
    qpos = template(model, legs, _arms(rng), mirror=bool(rng.random() < 0.5))
    if rng.random() < 0.3:
        qpos[7:10] = rng.uniform(np.deg2rad([-45, -60, -35]), np.deg2rad([45, 30, 35]))
    return qpos
