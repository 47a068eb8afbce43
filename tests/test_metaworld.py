"""Meta-World by its own package on MuJoCo 4: the adapter's one line, errors without the package, solved with it."""

from __future__ import annotations

import importlib.util

import gymnasium
import mujoco
import numpy as np
import pytest

import vlmrl_envs
from vlmrl.making import make_envs, open_task
from vlmrl.tasks import METAWORLD, get_task
from vlmrl_envs import metaworld
from vlmrl_envs import metaworld_scenes as scenes
from vlmrl_envs.errors import WorldError

INSTALLED = importlib.util.find_spec("metaworld") is not None
needs_package = pytest.mark.skipif(
    not INSTALLED, reason='Meta-World is not installed: pip install --no-deps "metaworld==3.1.1"'
)
POLICIES = {
    "drawer-open": "SawyerDrawerOpenV3Policy",
    "soccer": "SawyerSoccerV3Policy",
    "sweep-into": "SawyerSweepIntoV3Policy",
}
WELDED = """<mujoco><worldbody><body mocap="true" name="a"/><body name="b"><freejoint/><geom size=".1"/></body></worldbody>
<equality><weld body1="a" body2="b" anchor="1 2 3" relpose="4 5 6 1 0 0 0" torquescale="7"/></equality></mujoco>"""


def test_a_welds_first_eleven_numbers_are_what_meta_world_means() -> None:
    model = mujoco.MjModel.from_xml_string(WELDED)
    assert model.eq_data.shape == (1, 12)
    np.testing.assert_array_equal(model.eq_data[0, :11], [1, 2, 3, 4, 5, 6, 1, 0, 0, 0, 7])
    rest = model.eq_data[0, 11:].copy()
    metaworld.weld_data(model.eq_data, np.array([0]))
    np.testing.assert_array_equal(model.eq_data[0, :11], metaworld.WELD)
    np.testing.assert_array_equal(model.eq_data[0, 11:], rest)


def test_an_unknown_task_is_one_line() -> None:
    with pytest.raises(WorldError, match="task: got 'door-open'; expected one of") as error:
        metaworld.load("door-open")
    assert "\n" not in str(error.value) and set(metaworld.TASKS) == set(vlmrl_envs.METAWORLD.values())


@pytest.mark.skipif(INSTALLED, reason="Meta-World is installed")
def test_without_the_package_the_error_says_how_to_install_it() -> None:
    with pytest.raises(WorldError, match=r"metaworld: got no such package.*pip install --no-deps") as error:
        gymnasium.make("vlmrl/MetaWorldSoccer-v0")
    assert "\n" not in str(error.value)


@needs_package
@pytest.mark.parametrize("name", vlmrl_envs.METAWORLD)
def test_meta_worlds_own_policy_solves_it(name: str) -> None:
    from metaworld import policies

    env = gymnasium.make(f"vlmrl/{name}").unwrapped
    act = getattr(policies, POLICIES[vlmrl_envs.METAWORLD[name]])().get_action
    observation, _ = env.reset(seed=0)
    for _ in range(env.horizon):
        observation, reward, terminated, _, info = env.step(act(observation))
        assert 0.0 <= reward <= 1.0 and not terminated and env.observation_space.contains(observation)
        if info["success"]:
            break
    assert info["success"]


@needs_package
@pytest.mark.parametrize("name", vlmrl_envs.METAWORLD)
def test_seeds_repeat_and_episodes_end_by_truncation(name: str) -> None:
    env = gymnasium.make(f"vlmrl/{name}", horizon=3)
    first, _ = env.reset(seed=4)
    np.testing.assert_allclose(env.reset(seed=4)[0], first, atol=1e-3)
    assert np.abs(env.reset(seed=5)[0] - first).max() > 1e-3, "another place"
    ends = [env.step(np.zeros(4, np.float32))[2:] for _ in range(3)]
    assert [end[1] for end in ends] == [False, False, True] and not any(end[0] for end in ends)
    assert ends[-1][2]["is_success"] is False and 0.0 <= ends[-1][2]["env_return"] <= 3.0


@needs_package
def test_the_frame_shows_the_task_without_the_robot() -> None:
    from vlmrl_envs.rendering import blank_frames

    env = gymnasium.make("vlmrl/MetaWorldDrawerOpen-v0", render_mode="rgb_array").unwrapped
    frames = []
    for seed in (0, 1):
        env.reset(seed=seed)
        frames.append(env.render())
    found = np.stack(frames)
    assert found.shape == (2, 64, 64, 3) and not blank_frames(found).any()
    assert np.abs(found[0].astype(int) - found[1]).max() > 20, "the drawer stands elsewhere"
    env.close()


@needs_package
@pytest.mark.parametrize("name", vlmrl_envs.METAWORLD)
def test_a_later_episode_is_drawn_as_a_fresh_env_draws_it(name: str) -> None:
    """The goal and the drawer's case are part of the world: what moves them between episodes must reach the picture."""
    old, new = (gymnasium.make(f"vlmrl/{name}", render_mode="rgb_array").unwrapped for _ in range(2))
    old.reset(seed=1)
    old.render()
    frames = []
    for env in (old, new):
        env.reset(seed=6)
        frames.append(env.render().astype(int))
        env.close()
    assert np.abs(frames[0] - frames[1]).max() <= 2


@needs_package
def test_envs_are_drawn_together_as_each_draws_itself() -> None:
    envs = [gymnasium.make("vlmrl/MetaWorldSoccer-v0", render_mode="rgb_array") for _ in range(3)]
    for seed, env in enumerate(envs):
        env.reset(seed=seed)
        env.step(env.action_space.sample())
    together = metaworld.MetaWorld.render_together([env.unwrapped for env in envs])
    assert together.shape == (3, 64, 64, 3) and (together[0] != together[1]).any()
    for frame, env in zip(together, envs, strict=True):
        assert np.abs(frame.astype(int) - env.render()).max() <= 2
    other = gymnasium.make("vlmrl/MetaWorldSoccer-v0", render_mode="rgb_array", show_robot=True)
    with pytest.raises(WorldError, match=r"envs: got .*; expected one task and look"):
        metaworld.MetaWorld.render_together([envs[0].unwrapped, other.unwrapped])
    for env in (*envs, other):
        env.close()


@needs_package
@pytest.mark.parametrize("name", METAWORLD)
def test_its_task_is_made_at_the_tasks_size_and_of_any_length(name: str) -> None:
    envs = make_envs(get_task(name), 2, horizon=3)
    looked_at = open_task(get_task(name))
    assert envs.envs[0].render_mode == "rgb_array"
    envs.reset(seed=0), looked_at.reset(seed=0)
    assert envs.envs[0].render().shape == looked_at.render().shape == (64, 64, 3)
    ends = [envs.step(np.zeros((2, 4), np.float32)) for _ in range(3)]
    assert [end[3].tolist() for end in ends] == [[False, False], [False, False], [True, True]]
    assert not np.asarray(ends[-1][4]["final_info"]["is_success"]).any()
    envs.close(), looked_at.close()


@pytest.mark.parametrize("world", scenes.GRAMMARS)
def test_scenes_and_what_is_said_of_them(world: str) -> None:
    found = scenes.sample(world, np.random.default_rng(3), 400)
    assert np.array_equal(found, scenes.sample(world, np.random.default_rng(3), 400))
    degrees = scenes.fact_degrees(world, found)
    assert (
        degrees.shape == (400, len(scenes.GRAMMARS[world].facts))
        and degrees.min() >= 0
        and degrees.max() <= 1
    )
    assert (degrees.max(axis=0) > 0.9).all() and (degrees.min(axis=0) < 0.1).all(), (
        "each fact holds somewhere, and not"
    )
    with pytest.raises(WorldError, match="world: got 'chess'"):
        scenes.sample("chess", np.random.default_rng(0), 1)


@pytest.mark.parametrize("world", ["soccer", "sweep_into"])
def test_what_left_the_picture_is_not_at_the_goal(world: str) -> None:
    """A ball that rolls away leaves an empty goal, which the encoder took for a ball in it until training showed both."""
    found = scenes.sample(world, np.random.default_rng(5), 2000)
    degrees = dict(
        zip((f.name for f in scenes.GRAMMARS[world].facts), scenes.fact_degrees(world, found).T, strict=True)
    )
    gone = ((found[:, :2] < scenes.SHOWN[0]) | (found[:, :2] > scenes.SHOWN[1])).any(axis=1)
    assert 0.05 < gone.mean() < 0.2 and degrees["in"][gone].max() < 0.3 and degrees["in"][gone].mean() < 0.05
    sides = {"left", "right", "before", "behind"} - ({"before"} if world == "soccer" else set())
    assert all(degrees[name][gone].max() == 0 for name in sides & degrees.keys())


@needs_package
@pytest.mark.parametrize("world", [task.replace("-", "_") for task in metaworld.TASKS])
def test_the_words_agree_with_meta_worlds_own_success(world: str) -> None:
    """Put into the package's env, a scene of which the goal's fact is true is a success, and one of which it is false is none."""
    from experiments.embedded.evaluation.scenes import SceneRules

    found = scenes.sample(world, np.random.default_rng(4), 300)
    truth = scenes.fact_degrees(world, found)[:, 0]
    held = SceneRules(world).success(found)
    assert held[truth > 0.95].all() and (truth > 0.95).any(), found[(truth > 0.95) & ~held]
    assert not held[truth < 0.4].any() and (truth < 0.4).any(), found[(truth < 0.4) & held]


@needs_package
def test_frames_of_scenes_show_what_is_said() -> None:
    from experiments.embedded import metaworld as source

    frames, degrees = source.source("drawer_open", 6)(np.random.default_rng(0))
    varied, same = source.source("drawer_open", 6, varied=True)(np.random.default_rng(0))
    assert frames.shape == varied.shape == (6, 64, 64, 3) and np.array_equal(degrees, same)
    assert np.abs(frames.astype(int) - varied).mean() > 5
    wide, shut = (np.array([[0.0, slide]]) for slide in (-0.2, 0.0))
    pictures = [source.picture("drawer_open", scene)[0].astype(int) for scene in (wide, shut)]
    assert (np.abs(pictures[0] - pictures[1]).max(axis=2) > 30).sum() > 100
