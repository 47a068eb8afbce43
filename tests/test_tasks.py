"""Tasks: the published sentences, errors that help, environments that draw nothing."""

from __future__ import annotations

import dataclasses

import gymnasium
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmrl.errors import UsageError
from vlmrl.tasks import BODIES, COMPOSITIONS, POSES, TASKS, Task, check_env, get_task, slug

ANY = {"name": "any", "env_id": "Any-v0", "goal": ("a",), "baseline": ("b",)}


def test_the_published_sentences():
    assert get_task("cartpole").goal == ("pole vertically upright on top of the cart",)
    assert get_task("cartpole").baseline == ("pole and cart",)
    assert get_task("mountain_car").goal == ("a car at the peak of the mountain, next to the yellow flag",)
    assert get_task("mountain_car").baseline == ("a car in the mountain",)
    kneeling = get_task("humanoid_kneeling")
    assert kneeling.goal == ("a humanoid robot kneeling",)
    assert kneeling.kwargs == {"pose": "kneeling", "control": "position"}
    assert kneeling.horizon == 100
    assert len(POSES) == 8
    assert len(TASKS) == 24 + sum(len(poses) for *_, poses in BODIES.values()) == 48
    assert get_task("straighten_rope").goal == ("the blue rope is straightened",)
    assert get_task("drawer_open").goal == ("the drawer is opened",)
    for pose in (*POSES, *COMPOSITIONS):
        task = get_task(f"humanoid_{pose}")
        assert task.baseline == ("a humanoid robot",)
        assert task.goal[0].startswith("a humanoid robot ")


def test_tasks_are_values():
    task = get_task("cartpole")
    assert hash(task) == hash(dataclasses.replace(task))
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.alpha = 1.0  # type: ignore[misc]


def test_a_sentence_may_come_alone_and_kwargs_as_a_mapping():
    task = Task(**{**ANY, "goal": "up", "baseline": "down", "env_kwargs": {"pose": "lotus"}})
    assert (task.goal, task.baseline, task.env_kwargs) == (("up",), ("down",), (("pose", "lotus"),))


def test_an_unknown_task_names_the_closest():
    with pytest.raises(UsageError, match=r"task: got 'cartpool'; .*; did you mean cartpole\?"):
        get_task("cartpool")
    with pytest.raises(UsageError, match="did you mean humanoid_kneeling"):
        get_task("humanoid-knelling")
    with pytest.raises(UsageError, match="`vlmrl tasks` lists them"):
        get_task("zzz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"goal": ()}, "goal: got .*; expected at least one sentence"),
        ({"goal": ("  ",)}, "goal: got .*none of them empty"),
        ({"baseline": ("",)}, "baseline: got "),
        ({"baseline": ("a",)}, "baseline: got the goal itself"),
        ({"baseline": ("b", "c")}, "baseline: got 2 sentences; expected 1"),
        ({"alpha": 1.5}, "alpha: got 1.5; expected a number from 0 to 1"),
        ({"alpha": float("nan")}, "alpha: got nan"),
        ({"render_size": (64,)}, "render_size: got"),
        ({"render_size": (1, 1)}, "render_size: got"),
        ({"horizon": 0}, "horizon: got 0"),
        ({"name": "../evil"}, "task name: got"),
    ],
)
def test_wrong_fields_are_named(change, message):
    with pytest.raises(UsageError, match=message) as caught:
        Task(**{**ANY, **change})
    assert "\n" not in str(caught.value)


def test_goal_may_equal_baseline_where_it_is_not_used():
    assert Task(**{**ANY, "baseline": ("a",), "alpha": 0.0}).alpha == 0.0


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=40))
def test_every_slug_is_a_task_name(text):
    assert Task(**{**ANY, "name": slug(text)}).name


def test_worlds_and_stock_envs_pass():
    check_env("vlmrl/CartPole-v0")
    check_env("CartPole-v1")


def test_an_unknown_env_names_the_closest():
    with pytest.raises(UsageError, match=r"env: got 'CartPol-v1'; .*did you mean CartPole-v1\?"):
        check_env("CartPol-v1")
    with pytest.raises(UsageError, match="env: got 'no_such_module_zz:Env-v0'"):
        check_env("no_such_module_zz:Env-v0")


class Blind(gymnasium.Env):
    """An environment that draws text only."""

    metadata = {"render_modes": ["ansi"]}  # noqa: RUF012


def test_an_env_without_rgb_array_is_refused():
    gymnasium.register("tests/Blind-v0", entry_point=Blind)
    try:
        with pytest.raises(UsageError, match=r"env: got tests/Blind-v0 with render modes \['ansi'\]"):
            check_env("tests/Blind-v0")
    finally:
        del gymnasium.registry["tests/Blind-v0"]
