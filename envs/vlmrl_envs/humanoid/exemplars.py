"""One clear example of each pose, and states near it: to evaluate and to look at, never to train on.

`sampling.sample_states`, which the encoder's training draws from, knows nothing of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vlmrl_envs.humanoid import sampling
from vlmrl_envs.posing import FloorSetter

if TYPE_CHECKING:
    from vlmrl_envs.humanoid.rules import Humanoid

FOLDED = ("crossed", "crossed_under")
"""Right and left arm: forearms crossed one above the other, so that they do not touch."""


@dataclass(frozen=True)
class Exemplar:
    """A pose by its parts."""

    legs: str
    """A template of `sampling.LEGS`."""
    arms: tuple[str, str] = ("hanging", "hanging")
    """Right and left arm: templates of `sampling.ARMS`."""
    abdomen: tuple[float, float, float] | None = None
    """Twist, bend forward (positive) and bend to the side, degrees; None leaves the legs' own."""
    pitch: float | None = None
    """How far the torso is tipped forward, degrees; None leaves the legs' own."""
    roll: float = 0.0
    """How far the torso is tipped to its left, degrees."""
    joints: tuple[tuple[str, float], ...] = ()
    """Joints of the legs that differ from the template, degrees."""


EXEMPLARS: dict[str, Exemplar] = {
    "kneeling": Exemplar("kneel_tall"),
    # hands on the floor behind: the hips rest on a round capsule, and without a prop or balance the body rolls back
    "lotus": Exemplar("lotus_low", ("behind", "behind"), abdomen=(0.0, -47.0, 0.0), pitch=-10.0, joints=tuple(
        (f"{side}_{joint}", value) for side in ("right", "left")
        for joint, value in (("hip_x", -7.0), ("hip_z", -57.0), ("hip_y", -109.0), ("knee", -153.0)))),
    "standing": Exemplar("standing"),
    "arms_raised": Exemplar("standing", ("raised", "raised")),
    "splits": Exemplar("straddle", ("in_lap", "in_lap"), joints=tuple(
        (f"{side}_{joint}", value) for side in ("right", "left") for joint, value in (("hip_z", -60.0), ("hip_y", -78.0), ("knee", -3.0)))),
    "hands_on_hips": Exemplar("standing", ("on_hips", "on_hips")),
    "arms_crossed": Exemplar("standing", FOLDED),
    "one_leg": Exemplar("one_leg_knee"),
    "kneeling_one_arm_raised": Exemplar("kneel_tall", ("raised", "hanging")),
    "lotus_arms_forward": Exemplar("lotus_low", ("forward", "forward")),
    "lotus_hands_on_hips": Exemplar("lotus_low", ("on_hips", "on_hips")),
    "lotus_arms_crossed": Exemplar("lotus_low", FOLDED),
    "lying_front_arms_sideways": Exemplar("on_front", ("sideways", "sideways")),
    "lying_side_arms_crossed": Exemplar("on_side", FOLDED),
    "sitting_hands_on_head": Exemplar("sit_legs_forward", ("on_head", "on_head")),
    "squatting_arms_hanging": Exemplar("squat", ("hanging", "hanging")),
}  # fmt: skip
"""Pose -> its example."""


def exemplar(rules: Humanoid, pose: str) -> np.ndarray:
    """Return the example of a pose as a state (S,), at rest on the floor."""
    found = EXEMPLARS[pose]
    qpos = sampling.template(rules.model, found.legs, found.arms)
    if found.abdomen is not None:
        qpos[7:10] = np.deg2rad(found.abdomen)
    for name, value in found.joints:
        qpos[rules.model.joint(name).qposadr[0]] = np.deg2rad(value)
    if found.pitch is not None or found.roll:
        qpos[3:7] = _tipped(found.pitch or 0.0, found.roll)
    return rules.join(FloorSetter(rules.model)(qpos[None])[0], np.zeros(rules.nv))


def _tipped(pitch: float, roll: float) -> np.ndarray:
    """Return the quaternion (4,) of a pitch forward or a roll to the left, degrees; one of the two is 0."""
    half = np.deg2rad([pitch, -roll]) / 2
    return np.array([np.cos(half[0]) * np.cos(half[1]), np.sin(half[1]), np.sin(half[0]), 0.0])


def near(rules: Humanoid, pose: str, rng: np.random.Generator, n: int, noise: float = 6.0) -> np.ndarray:
    """Draw n states (n, S) around the example of a pose, joints and tilt perturbed by up to `noise` degrees (std)."""
    return perturbed(rules, exemplar(rules, pose), rng, n, noise)


def perturbed(
    rules: Humanoid, state: np.ndarray, rng: np.random.Generator, n: int, noise: float
) -> np.ndarray:
    """Draw n states (n, S), at rest on the floor, around one (S,): each by its own share of `noise` degrees (std)."""
    if n == 0:
        return np.zeros((0, len(state)))
    qpos = np.repeat(rules.split(state[None])[0], n, axis=0)
    share = rng.random((n, 1))
    qpos[:, 7:] += np.deg2rad(noise) * share * rng.normal(size=(n, rules.nq - 7))
    qpos[:, 7:] = np.clip(qpos[:, 7:], *rules.model.jnt_range[1:].T)
    qpos[:, 3:7] += np.deg2rad(noise) / 2 * share * rng.normal(size=(n, 4))
    qpos[:, 3:7] /= np.linalg.norm(qpos[:, 3:7], axis=1, keepdims=True)
    return rules.join(FloorSetter(rules.model)(qpos), np.zeros((n, rules.nv)))
