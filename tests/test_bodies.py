"""The bodies with several goals: Gymnasium's own, told apart by success, sampled all over, set on the floor."""

from __future__ import annotations

import importlib
import subprocess
import sys

import mujoco
import numpy as np
import pytest

from vlmrl.tasks import BODIES, TASKS
from vlmrl_envs.ant.rules import Ant
from vlmrl_envs.batched import BatchedWorld
from vlmrl_envs.errors import WorldError
from vlmrl_envs.goal_world import GoalWorld
from vlmrl_envs.half_cheetah.rules import HalfCheetah
from vlmrl_envs.hopper.rules import Hopper
from vlmrl_envs.leg_world import LegWorld
from vlmrl_envs.pendulum.rules import Pendulum
from vlmrl_envs.reacher.rules import Reacher, finger
from vlmrl_envs.stock import stock_path
from vlmrl_envs.walker2d.rules import Walker2d

BODY_RULES: dict[str, type[GoalWorld]] = {
    "ant": Ant, "half_cheetah": HalfCheetah, "hopper": Hopper, "walker2d": Walker2d, "reacher": Reacher, "pendulum": Pendulum,
}  # fmt: skip
LEGS: dict[str, type[LegWorld]] = {
    "ant": Ant,
    "half_cheetah": HalfCheetah,
    "hopper": Hopper,
    "walker2d": Walker2d,
}
FILES = {"ant": "ant.xml", "half_cheetah": "half_cheetah.xml", "hopper": "hopper.xml", "walker2d": "walker2d_v5.xml",
         "reacher": "reacher.xml"}  # fmt: skip
STANDING = ("hopper", "walker2d")
"""Bodies that begin where their goal "standing" holds, and fall when they do nothing."""
GOALS = [(body, goal) for body, rules in BODY_RULES.items() for goal in rules.goals]


@pytest.mark.parametrize("body", FILES)
def test_the_body_is_gymnasiums(body: str) -> None:
    ours = BODY_RULES[body]().model
    stock = mujoco.MjModel.from_xml_path(str(stock_path(FILES[body])))
    for name in ("body_mass", "body_inertia", "body_pos", "jnt_range", "jnt_stiffness", "actuator_gear", "actuator_ctrlrange",
                 "dof_damping", "dof_armature", "qpos0"):  # fmt: skip
        np.testing.assert_allclose(getattr(ours, name), getattr(stock, name), rtol=1e-12, err_msg=name)
    for i in range(stock.ngeom):
        geom = stock.geom(i)
        same = ours.geom(geom.name) if geom.name else ours.geom(i)
        for name in ("size", "friction", "contype", "conaffinity", "solref", "solimp"):
            np.testing.assert_array_equal(
                getattr(same, name), getattr(geom, name), err_msg=f"{geom.name} {name}"
            )
    assert ours.opt.timestep == stock.opt.timestep


def test_the_pendulum_swings_as_gymnasiums() -> None:
    """3 g / (2 l) sin(angle) + 3 / (m l^2) torque, from Gymnasium's Pendulum-v1."""
    model = Pendulum().model
    data = mujoco.MjData(model)
    for angle, torque in ((0.3, 0.0), (2.0, 1.0), (-1.2, -0.5)):
        data.qpos[0], data.qvel[0], data.ctrl[0] = angle, 0.0, torque
        mujoco.mj_forward(model, data)
        assert data.qacc[0] == pytest.approx(15.0 * np.sin(angle) + 3.0 * 2.0 * torque, rel=1e-6)


@pytest.mark.parametrize(("body", "goal"), GOALS)
def test_goals_are_false_at_the_start_unless_one_starts_standing(body: str, goal: str) -> None:
    rules = BODY_RULES[body](goal)
    starts = np.stack([rules.start(np.random.default_rng(i)) for i in range(16)])
    assert (
        rules.success(starts).all()
        == rules.success(starts).any()
        == (goal == "standing" and body in STANDING)
    )


@pytest.mark.parametrize(("body", "goal"), GOALS)
def test_doing_nothing_reaches_no_goal(body: str, goal: str) -> None:
    world = BatchedWorld(BODY_RULES[body](goal), 4)
    world.reset(seed=0)
    for _ in range(world.horizon):
        *_, infos = world.step(np.zeros(world.action_space.shape))
    assert infos["final_info"]["is_success"].mean() < 0.5


@pytest.mark.parametrize(("body", "goal"), [(b, g) for b, g in GOALS if b in LEGS])
def test_each_pose_reaches_its_own_goal_and_no_other(body: str, goal: str) -> None:
    rules = LEGS[body](goal)
    for kind in rules.poses:
        posed = rules.posed(kind)
        assert rules.success(posed).tolist() == [kind == goal] * len(posed), kind
        if kind == goal:
            np.testing.assert_array_equal(rules.env_reward(posed), 1.0)
            assert rules.similarity(posed).min() > 0.6


@pytest.mark.parametrize(("body", "goal"), GOALS)
def test_words_agree_with_success_and_rise_on_the_way(body: str, goal: str) -> None:
    rules = BODY_RULES[body](goal)
    states = rules.sample_states(np.random.default_rng(11), 800)
    success, similarity, reward = rules.success(states), rules.similarity(states), rules.env_reward(states)
    assert 0.01 < success.mean() < 0.4, "samples hold goals and others"
    assert similarity[success].mean() > max(0.8, similarity[~success].mean() + 0.4)
    assert (reward[success] == 1.0).all() and reward.min() >= 0.0 and reward[~success].max() < 1.0
    between = (similarity > 0.15) & (similarity < 0.85)
    assert between.mean() > 0.01, "and what lies between"


@pytest.mark.parametrize(("body", "goal"), [(b, g) for b, g in GOALS if b in LEGS and g != "standing"])
def test_words_grow_truer_along_the_way_from_standing(body: str, goal: str) -> None:
    rules = LEGS[body](goal)
    start, end = (np.array(pose, float) for pose in (rules.start_pose, rules.poses[goal][0]))
    way = np.stack([rules.place(start + t * (end - start)) for t in np.linspace(0, 1, 13)])
    states = rules.join(rules._set_on_floor(way), np.zeros((13, rules.nv)))
    similarity = rules.similarity(states)
    ranks = np.argsort(np.argsort(similarity, kind="stable"))
    assert np.corrcoef(ranks, np.arange(13))[0, 1] > 0.93
    assert similarity[0] < 0.2 and similarity[9] > 0.05 and similarity[-1] > 0.7


@pytest.mark.parametrize("body", BODY_RULES)
def test_samples_repeat_and_facts_are_degrees(body: str) -> None:
    rules = BODY_RULES[body]()
    first, second = (rules.sample_states(np.random.default_rng(5), 120) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert (
        first.shape == (120, rules.state_size)
        and rules.sample_states(np.random.default_rng(5), 0).shape[0] == 0
    )
    degrees = rules.fact_degrees(first)
    assert degrees.shape == (120, len(rules.grammar.facts)) and degrees.min() >= 0.0 and degrees.max() <= 1.0
    many = rules.fact_degrees(rules.sample_states(np.random.default_rng(6), 800))
    assert (many.max(axis=0) > 0.8).all() and (many.min(axis=0) < 0.2).all(), (
        "every fact is true and false somewhere"
    )
    assert rules.observe(first).shape == (120, *rules.observation_space.shape)
    for state in first[:5]:
        captions = rules.describe(state)
        assert captions == rules.describe(state) and all(0.6 <= c.degree <= 1 and c.text for c in captions)


@pytest.mark.parametrize("body", LEGS)
def test_samples_touch_the_floor_and_do_not_sink_in(body: str) -> None:
    rules = LEGS[body]()
    states = rules.sample_states(np.random.default_rng(8), 300)
    z = states[:, 1 + rules.height]
    on_floor = rules._set_on_floor(rules.split(states)[0])[:, rules.height]
    assert (z > on_floor - 0.06).all() and (z < on_floor + 0.05).mean() > 0.7


def test_the_reachers_finger_is_where_the_model_has_it() -> None:
    rules = Reacher()
    states = rules.sample_states(np.random.default_rng(0), 20)
    qpos = rules.split(states)[0]
    np.testing.assert_allclose(finger(qpos[:, :2]), rules.read_parts(qpos).points["finger"][:, :2], atol=1e-9)
    np.testing.assert_allclose(qpos[:, 2:], rules.read_parts(qpos).points["target"][:, :2], atol=1e-9)


@pytest.mark.parametrize("body", BODY_RULES)
def test_an_unknown_pose_is_one_line_with_the_known_ones(body: str) -> None:
    with pytest.raises(WorldError, match="pose: got flying") as error:
        BODY_RULES[body]("flying")
    assert all(goal in str(error.value) for goal in BODY_RULES[body].goals) and "\n" not in str(error.value)


def test_every_goal_is_a_task_in_words_that_its_grammar_knows() -> None:
    for body, rules in BODY_RULES.items():
        assert list(BODIES[body][3]) == list(rules.goals)
        module = importlib.import_module(f"vlmrl_envs.{body}.captions")
        assert module.GRAMMAR is rules.grammar and set(rules.goal_facts) == set(rules.goals)
        facts = {fact.name: fact for fact in rules.grammar.facts}
        for goal in rules.goals:
            task = TASKS[f"{body}_{goal}"]
            subject, words = task.baseline[0], BODIES[body][3][goal][0]
            assert subject in rules.grammar.subjects and subject in rules.grammar.plain
            assert words in facts[rules.goal_facts[goal]].phrases
            assert task.kwargs == {"pose": goal} and task.horizon == rules.horizon


def test_the_package_loads_no_model_before_a_world_is_made() -> None:
    code = (
        "import sys, vlmrl_envs; "
        "print([m for m in sys.modules if m in ('mujoco', 'warp') or m.startswith('vlmrl_envs.')])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
