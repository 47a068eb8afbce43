"""The rope, the cloth and the water: they can be solved, not by doing nothing; words, samples and success agree."""

from __future__ import annotations

from collections.abc import Callable

import mujoco
import numpy as np
import pytest

from vlmrl.tasks import RECREATIONS, TASKS
from vlmrl_envs.batched import BatchedWorld
from vlmrl_envs.fold_cloth import folds
from vlmrl_envs.fold_cloth import model as cloth
from vlmrl_envs.fold_cloth.rules import FoldCloth
from vlmrl_envs.pass_water import model as water
from vlmrl_envs.pass_water.rules import PassWater
from vlmrl_envs.soft_world import SoftWorld
from vlmrl_envs.straighten_rope import model as rope
from vlmrl_envs.straighten_rope import success as straight
from vlmrl_envs.straighten_rope.rules import StraightenRope

RULES: dict[str, SoftWorld] = {
    "straighten_rope": StraightenRope(), "fold_cloth": FoldCloth(), "pass_water": PassWater(),
}  # fmt: skip
WORDS = {"straighten_rope": "straight", "fold_cloth": "folded", "pass_water": "delivered"}


def pull_apart(obs: np.ndarray) -> np.ndarray:
    """Pull the rope's ends away from each other, about the table's middle."""
    first, last = obs[:, :2], obs[:, 20:22]
    way = (last - first) / np.maximum(np.linalg.norm(last - first, axis=1, keepdims=True), 1e-6)
    middle = (first + last) / 2
    return np.concatenate([-way - 2 * middle, way - 2 * middle], axis=1)


def carry_over(obs: np.ndarray) -> np.ndarray:
    """Lift the held corner, carry it to the opposite one, lower it."""
    seen = obs[:, :75].reshape(len(obs), 5, 5, 3)
    held, way = seen[:, -1, 0], seen[:, 0, -1] - seen[:, -1, 0]
    far = np.abs(way[:, :2]).max(axis=1)
    high = np.where(far > 0.2, 0.3, 0.0)
    across = np.clip(6 * way[:, :2], -0.7, 0.7) * ((held[:, 2] > 0.12) | (far < 0.25))[:, None]
    return np.concatenate([across, 6 * (high - held[:, 2])[:, None]], axis=1)


def slide_gently(obs: np.ndarray) -> np.ndarray:
    """Slide the container to the circle at 1 m/s at most, slower towards the end."""
    return np.clip(2 * obs[:, 1:2], -0.4, 0.4)


SOLVERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "straighten_rope": pull_apart, "fold_cloth": carry_over, "pass_water": slide_gently,
}  # fmt: skip


def play(name: str, act: Callable[[np.ndarray], np.ndarray], num_envs: int = 3) -> dict:
    """Play one episode; return the last infos."""
    world = BatchedWorld(RULES[name], num_envs)
    obs, _ = world.reset(seed=0)
    for _ in range(world.horizon):
        obs, *_, infos = world.step(np.clip(act(obs), -1, 1))
    assert "diverged" not in infos
    return infos


@pytest.mark.parametrize("name", RULES)
def test_a_scripted_policy_reaches_the_goal(name: str) -> None:
    assert play(name, SOLVERS[name])["final_info"]["is_success"].all()


@pytest.mark.parametrize("name", RULES)
def test_doing_nothing_reaches_no_goal(name: str) -> None:
    infos = play(name, lambda obs: np.zeros((len(obs), *RULES[name].action_space.shape)))
    assert not infos["success"].any() and not infos["final_info"]["is_success"].any()


def test_rushing_spills() -> None:
    """At full speed the container is at the circle in time, and too much of its water is not."""
    infos = play("pass_water", lambda obs: np.clip(20 * obs[:, 1:2], -1, 1))
    qpos = RULES["pass_water"].split(infos["states_before_reset"])[0]
    assert (np.abs(qpos[:, 0] - water.CIRCLE) < 0.03).all() and not infos["success"].any()
    assert (~water.inside(qpos)).sum(axis=1).min() > 5


@pytest.mark.parametrize("name", RULES)
def test_rough_handling_stays_finite_and_in_bounds(name: str) -> None:
    world = BatchedWorld(RULES[name], 3)
    world.reset(seed=3)
    rng = np.random.default_rng(0)
    for step in range(30):
        if step % 5 == 0:
            actions = rng.choice([-1.0, 1.0], world.action_space.shape)
        *_, infos = world.step(actions)
        assert "diverged" not in infos
    states = world.get_states()
    assert np.isfinite(states).all() and np.abs(states[:, 1 : 1 + RULES[name].nq]).max() < 7.0
    qpos = RULES[name].split(states)[0]
    if name == "straighten_rope":
        tip = rope.points(qpos)[:, -1]
        assert np.abs(tip - qpos[:, -2:]).max() < 0.02, "the rope's end stays in its picker"
        assert np.abs(qpos[:, [0, 1, -2, -1]]).max() < rope.EDGE + 0.02
    if name == "fold_cloth":
        assert cloth.places(qpos)[..., 2].min() > -0.01, "nothing sinks through the table"
    if name == "pass_water":
        drops = water.droplets(qpos)
        assert drops[..., 1].min() > 0.0 and np.abs(drops[..., 0]).max() < water.END


@pytest.mark.parametrize("name", RULES)
def test_words_agree_with_success_and_samples_hold_all_there_is(name: str) -> None:
    rules = RULES[name]
    states = rules.sample_states(np.random.default_rng(11), 300)
    success, similarity, reward = rules.success(states), rules.similarity(states), rules.env_reward(states)
    assert 0.05 < success.mean() < 0.4, "samples hold goals and others"
    assert similarity[success].mean() > max(0.8, similarity[~success].mean() + 0.4)
    assert (reward[success] == 1.0).all() and reward.min() >= 0.0 and reward[~success].max() < 1.0
    assert ((similarity > 0.15) & (similarity < 0.85)).mean() > 0.1, "and what lies between"
    degrees = rules.fact_degrees(states)
    assert degrees.min() >= 0.0 and degrees.max() <= 1.0
    names = [fact.name for fact in rules.grammar.facts]
    never = [n for n, high, low in zip(names, degrees.max(axis=0), degrees.min(axis=0), strict=True)
             if high < 0.8 or low > 0.2]  # fmt: skip
    assert not never, "every fact is true and false somewhere"
    np.testing.assert_array_equal(states[:20], rules.sample_states(np.random.default_rng(11), 300)[:20])
    assert rules.sample_states(np.random.default_rng(0), 0).shape == (0, rules.state_size)
    for state in states[:5]:
        captions = rules.describe(state)
        assert captions == rules.describe(state) and all(0.6 <= c.degree <= 1 and c.text for c in captions)


@pytest.mark.parametrize("name", RULES)
def test_words_grow_truer_on_the_way_from_start_to_goal(name: str) -> None:
    rules = RULES[name]
    start = rules.start(np.random.default_rng(5))
    pool = rules.sample_states(np.random.default_rng(4), 60)
    way = rules.path(start, pool[np.flatnonzero(rules.success(pool))[0]], 13)
    assert way.shape == (13, rules.state_size)
    similarity, reward = rules.similarity(way), rules.env_reward(way)
    ranks = np.argsort(np.argsort(similarity, kind="stable"))
    assert np.corrcoef(ranks, np.arange(13))[0, 1] > 0.9
    assert similarity[0] < 0.45 and similarity[-1] > 0.8 and reward[0] < reward[-1] == 1.0


@pytest.mark.parametrize("name", RULES)
def test_the_task_says_what_the_grammar_knows(name: str) -> None:
    task, rules = TASKS[name], RULES[name]
    fact = rules.grammar.facts[0]
    assert fact.name == WORDS[name] and "re-creation" in task.description
    assert task.goal[0] == fact.scenes[0] and task.baseline[0] in rules.grammar.plain
    assert task.horizon == rules.horizon and task.env_id == f"vlmrl/{rules.name}-v0"
    assert all(len(f.phrases) >= 5 for f in rules.grammar.facts)
    assert "re-creation" in (type(rules).__doc__ or "").lower() and set(RECREATIONS) == set(RULES)


def test_the_ropes_points_are_where_the_model_has_them() -> None:
    rules = RULES["straighten_rope"]
    qpos = rules.split(rules.sample_states(np.random.default_rng(0), 3))[0]
    data = mujoco.MjData(rules.model)
    for row, points in zip(qpos, rope.points(qpos), strict=True):
        data.qpos[:] = row
        mujoco.mj_kinematics(rules.model, data)
        np.testing.assert_allclose(data.xpos[data.model.body("link0").id][:2], points[0], atol=1e-9)
        np.testing.assert_allclose(data.site("tip").xpos[:2], points[-1], atol=1e-9)
        np.testing.assert_allclose(data.site("tip").xpos, data.site("last").xpos, atol=1e-9)
    np.testing.assert_allclose(np.diff(rope.headings(qpos), axis=1), qpos[:, 3 : 2 + rope.LINKS], atol=1e-12)


def test_straight_is_far_apart_and_near_the_line() -> None:
    along = np.linspace(0, 1, 21)
    line = np.stack([along, 0 * along], axis=1)
    bow = np.stack([along, 0.1 * np.sin(np.pi * along)], axis=1)
    found = straight.success(np.stack([line, 0.98 * line, 0.96 * line, bow]), 1.0)
    assert found.tolist() == [True, True, False, False]


def test_a_fold_of_paper() -> None:
    flat, corner = cloth.rest(), np.array([[0.4, -0.4], [-0.4, 0.4], [0.0, 0.0]])
    over = folds.folded(corner, np.full(3, np.pi))
    np.testing.assert_allclose(over[:, cloth.HELD[0], cloth.HELD[1], :2], corner, atol=1e-9)
    np.testing.assert_allclose(over[0, ..., :2], over[0, ..., :2].transpose(1, 0, 2), atol=1e-9)
    np.testing.assert_allclose(over[1], flat, atol=1e-9)
    upright = folds.folded(corner[:1], np.array([np.pi / 2]))[0]
    assert upright[cloth.HELD][2] == pytest.approx(cloth.SIDE / np.sqrt(2) + cloth.LAYER)


def test_the_full_container_holds_all_droplets_at_rest() -> None:
    rules = RULES["pass_water"]
    starts = np.stack([rules.start(np.random.default_rng(i)) for i in range(4)])
    qpos = rules.split(starts)[0]
    assert water.inside(qpos).all() and len(np.unique(qpos[:, 0])) == 4
    world = BatchedWorld(rules, 4)
    world.reset(seed=0)
    world.set_states(starts)
    for _ in range(5):
        world.step(np.zeros((4, 1)))
    assert water.inside(rules.split(world.get_states())[0]).all()
    assert np.abs(world.get_states()[:, 1 + rules.nq :]).max() < 0.3
