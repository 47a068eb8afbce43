"""What the humanoid's facts ask of a body: an agent that was paid for them once pleased each of these without the pose."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from vlmrl_envs.humanoid.captions import GRAMMAR
from vlmrl_envs.humanoid.rules import Humanoid
from vlmrl_envs.humanoid.sampling import template
from vlmrl_envs.posing import FloorSetter

RULES = Humanoid("lotus")


def degree(fact: str, legs: str, arms: str | tuple[str, str], lean: float = 0.0, sweep: float = 0.0) -> float:
    """Return the degree of a fact of templates for legs and arms, leant forward and with one leg swept inwards, degrees."""
    qpos = template(RULES.model, legs, (arms, arms) if isinstance(arms, str) else arms)
    half, root = np.deg2rad(lean) / 2, np.zeros(4)
    mujoco.mju_mulQuat(root, np.array([np.cos(half), 0.0, np.sin(half), 0.0]), qpos[3:7])
    qpos[3:7] = root
    if sweep:
        qpos[10:12] = np.deg2rad([10.0, sweep - 59.0])
    states = RULES.join(FloorSetter(RULES.model)(qpos[None]), np.zeros((1, RULES.nv)))
    return float(RULES.fact_degrees(states)[0, GRAMMAR.columns[fact]])


@pytest.mark.parametrize(
    ("fact", "legs", "arms", "changes", "low", "high"),
    [
        ("raised", "standing", "raised", {}, 0.95, 1.0),
        ("raised", "standing", "on_head", {}, 0.3, 0.7),  # hands beside the head, elbows out
        ("raised", "standing", "sideways", {}, 0.2, 0.5),
        ("one_raised", "standing", ("raised", "hanging"), {}, 0.95, 1.0),
        ("one_raised", "standing", ("raised", "relaxed"), {}, 0.95, 1.0),
        ("one_raised", "standing", "raised", {}, 0.0, 0.05),
        ("one_raised", "standing", "hanging", {}, 0.0, 0.05),
        ("lotus", "lotus_low", "in_lap", {}, 0.9, 1.0),
        ("lotus", "lotus_low", "raised", {}, 0.2, 0.5),  # nobody meditates with the hands in the air
        ("lotus", "lotus_low", "in_lap", {"sweep": 60.0}, 0.0, 0.3),  # both legs to one side
        ("lotus", "sit_knees_up", "in_lap", {}, 0.0, 0.15),
        ("lotus", "kneel_sit", "in_lap", {}, 0.0, 0.15),
        ("splits", "straddle", "in_lap", {}, 0.7, 1.0),
        ("splits", "straddle", "in_lap", {"lean": 45.0}, 0.0, 0.35),  # the trunk on the floor
        ("splits", "straddle", "in_lap", {"lean": -30.0}, 0.0, 0.35),
        ("splits", "front_splits", "in_lap", {}, 0.0, 0.1),
        ("sitting", "sit_legs_forward", "on_head", {}, 0.9, 1.0),
        ("sitting", "sit_legs_forward", "on_head", {"lean": 30.0}, 0.0, 0.6),
    ],
)
def test_degrees_of_poses_and_of_what_is_not_quite_one(fact, legs, arms, changes, low, high) -> None:
    assert low <= degree(fact, legs, arms, **changes) <= high


@pytest.mark.parametrize("pose", ["lotus", "splits"])
def test_where_a_rare_pose_is_held_its_words_are_mostly_true(pose: str) -> None:
    """Too strict a fact pays for leaving what is already the pose: the trunk was leant over to have the legs wider apart."""
    rules = Humanoid(pose)
    states = rules.sample_states(np.random.default_rng(3), 8000)
    held = np.asarray(rules.success(states))
    truth = rules.similarity(states)
    assert held.sum() >= 5 and np.median(truth[held]) > 0.85
    assert held[truth >= 0.95].all()
