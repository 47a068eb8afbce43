"""The worlds: one and many agree, states are everything, episodes end by truncation with their last frame kept."""

from __future__ import annotations

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import vlmrl_envs
from vlmrl_envs.errors import WorldError
from vlmrl_envs.humanoid import model as humanoid_model
from vlmrl_envs.mountain_car import model as mountain_model
from vlmrl_envs.rules import HoldRule
from vlmrl_envs.world import is_world

IDS = [f"vlmrl/{name}" for name in vlmrl_envs.WORLDS]


def make_vec(env_id: str, num_envs: int = 3, **kwargs):
    return gymnasium.make_vec(env_id, num_envs=num_envs, vectorization_mode="vector_entry_point", **kwargs)


@pytest.mark.parametrize("env_id", IDS)
def test_one_and_many_agree_state_for_state(env_id: str) -> None:
    many = make_vec(env_id, 3, horizon=6)
    singles = [gymnasium.make(env_id, horizon=6) for _ in range(3)]
    obs, _ = many.reset(seed=5)
    for i, env in enumerate(singles):
        np.testing.assert_array_equal(env.reset(seed=5 + i)[0], obs[i])
    rng = np.random.default_rng(0)
    for step in range(6):
        actions = rng.uniform(-1, 1, many.action_space.shape).astype(np.float32)
        obs, rewards, _, truncated, infos = many.step(actions)
        for i, env in enumerate(singles):
            found = env.step(actions[i])
            np.testing.assert_array_equal(found[4]["state"], infos["states_before_reset"][i])
            assert found[1] == pytest.approx(rewards[i]) and found[3] == truncated[i] == (step == 5)
            final = infos["final_obs"][i] if step == 5 else obs[i]
            np.testing.assert_array_equal(found[0], final)


@pytest.mark.parametrize("env_id", IDS)
def test_a_state_determines_the_future(env_id: str) -> None:
    first, second = make_vec(env_id, 4), make_vec(env_id, 4)
    first.reset(seed=1)
    second.reset(seed=9)
    actions = np.random.default_rng(0).uniform(-1, 1, (12, *first.action_space.shape))
    for action in actions[:6]:
        first.step(action)
    second.set_states(first.get_states())
    for action in actions[6:]:
        first.step(action)
        second.step(action)
    np.testing.assert_array_equal(first.get_states(), second.get_states())


@pytest.mark.parametrize("env_id", IDS)
def test_any_number_of_threads_gives_the_same_states(env_id: str) -> None:
    worlds = [make_vec(env_id, 5, num_threads=n) for n in (1, 2)]
    for world in worlds:
        world.reset(seed=0)
        rng = np.random.default_rng(0)
        for _ in range(8):
            world.step(rng.uniform(-1, 1, world.action_space.shape))
    np.testing.assert_array_equal(worlds[0].get_states(), worlds[1].get_states())


@pytest.mark.parametrize("env_id", IDS)
def test_passes_gymnasiums_own_checker(env_id: str) -> None:
    from gymnasium.utils.env_checker import check_env

    check_env(gymnasium.make(env_id).unwrapped, skip_render_check=True)


def test_they_are_worlds_and_start_noisily() -> None:
    for env_id in IDS:
        world = make_vec(env_id, 8)
        assert is_world(world) and world.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
        world.reset(seed=0)
        starts = world.get_states()
        assert len(np.unique(starts[:, 1])) == 8
        world.reset(seed=0)
        np.testing.assert_array_equal(world.get_states(), starts)


def test_same_step_reports_the_end_and_starts_anew() -> None:
    world = make_vec("vlmrl/CartPole-v0", 2, horizon=3)
    world.reset(seed=0)
    total = np.zeros(2)
    for step in range(3):
        _, rewards, terminated, truncated, infos = world.step(np.zeros((2, 1)))
        total += rewards
        assert not terminated.any() and truncated.all() == (step == 2)
    np.testing.assert_allclose(infos["final_info"]["env_return"], total)
    assert infos["final_info"]["_is_success"].all()
    assert np.abs(infos["states_before_reset"][:, 0] - 0.06).max() < 1e-9, (
        "the time of the last step, not of the reset"
    )
    assert (world.get_states()[:, 0] == 0).all()


def test_next_step_resets_one_step_later_with_reward_0() -> None:
    world = make_vec("vlmrl/CartPole-v0", 2, horizon=2, autoreset_mode="NextStep")
    world.reset(seed=0)
    world.step(np.zeros((2, 1)))
    last, _, _, truncated, infos = world.step(np.zeros((2, 1)))
    assert truncated.all() and infos["is_success"].all() and "final_obs" not in infos
    np.testing.assert_array_equal(last, world.rules.observe(infos["states_before_reset"]))
    _, rewards, _, truncated, infos = world.step(np.zeros((2, 1)))
    assert (rewards == 0).all() and not truncated.any() and (world.get_states()[:, 0] == 0).all()


def test_disabled_waits_for_the_callers_reset() -> None:
    world = make_vec("vlmrl/CartPole-v0", 2, horizon=1, autoreset_mode="Disabled")
    world.reset(seed=0)
    world.step(np.zeros((2, 1)))
    with pytest.raises(WorldError, match="reset_mask"):
        world.step(np.zeros((2, 1)))
    world.reset(options={"reset_mask": np.array([True, True])})
    world.step(np.zeros((2, 1)))


def test_elapsed_staggers_the_ends() -> None:
    world = make_vec("vlmrl/CartPole-v0", 3, horizon=5)
    world.reset(seed=0, options={"elapsed": np.array([4, 2, 0])})
    assert world.step(np.zeros((3, 1)))[3].tolist() == [True, False, False]


def test_hold_rule() -> None:
    success = np.array([[1, 0, 1], [1, 0, 0], [0, 1, 1], [0, 1, 1]], bool)
    assert HoldRule(0.5).judge(success).tolist() == [True, True, True]
    assert HoldRule(0.75).judge(success).tolist() == [False, False, True]
    assert HoldRule(1.0, window=0.5).judge(success).tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: make_vec(IDS[0], 0), "num_envs"),
        (lambda: make_vec(IDS[0], horizon=0), "horizon"),
        (lambda: make_vec(IDS[0], camera="back"), "front"),
        (lambda: make_vec(IDS[0], render_mode="human"), "rgb_array"),
        (lambda: make_vec("vlmrl/Humanoid-v0", pose="flying"), "kneeling"),
        (lambda: make_vec(IDS[0], 2).set_states(np.zeros((2, 3))), "shape"),
        (lambda: make_vec(IDS[0], 1).set_states(np.full((1, 5), np.nan)), "finite"),
        (lambda: make_vec(IDS[0], 1).step(np.full((1, 1), np.nan)), "policy"),
    ],
)
def test_bad_input_is_one_line_with_a_remedy(call, words: str) -> None:
    with pytest.raises(WorldError) as error:
        call()
    assert words in str(error.value) and "\n" not in str(error.value)


def test_a_world_that_diverges_is_truncated_and_started_anew() -> None:
    world = make_vec("vlmrl/CartPole-v0", 2)
    world.reset(seed=0)
    states = world.get_states()
    states[1, 3:] = 1e12
    world.set_states(states)
    _, rewards, terminated, truncated, infos = world.step(np.zeros((2, 1)))
    assert infos["diverged"].tolist() == [False, True] == truncated.tolist() and not terminated.any()
    assert rewards[1] == 0 and np.abs(world.get_states()[1]).max() < 1


def test_an_episode_whose_physics_diverged_is_no_success() -> None:
    world = make_vec("vlmrl/CartPole-v0", 2)
    world.reset(seed=0)
    world.unwrapped._history[:] = True  # the goal was held as long as the episode lived
    states = world.get_states()
    states[1, 3:] = 1e12
    world.set_states(states)
    *_, infos = world.step(np.zeros((2, 1)))
    end = infos.get("final_info", infos)
    assert end["_is_success"].tolist() == [False, True] and not end["is_success"].any()


def test_the_humanoid_is_gymnasiums_body() -> None:
    ours = humanoid_model.build_spec().compile()
    stock = mujoco.MjModel.from_xml_path(str(humanoid_model.stock_path()))
    for name in ("body_mass", "body_inertia", "jnt_range", "actuator_gear", "actuator_ctrlrange", "dof_damping",
                 "dof_armature", "jnt_stiffness", "geom_size", "geom_pos", "body_pos"):  # fmt: skip
        np.testing.assert_array_equal(getattr(ours, name), getattr(stock, name), err_msg=name)
    assert ours.opt.timestep == stock.opt.timestep == 0.003


def test_the_car_stays_on_its_road_and_cannot_drive_straight_up() -> None:
    world = make_vec("vlmrl/MountainCar-v0", 4)
    world.reset(seed=0)
    reached = np.zeros(4, bool)
    for _ in range(200):
        _, _, _, truncated, infos = world.step(np.ones((4, 1)))
        qpos = infos["states_before_reset"][:, 1:4]
        assert np.abs(qpos[:, 1] - mountain_model.HEIGHT(qpos[:, 0])).max() < 0.01
        reached |= infos["success"]
    assert truncated.all() and not reached.any()


def test_the_wall_is_drawn_where_the_car_stops_and_touches_nothing() -> None:
    model = make_vec("vlmrl/MountainCar-v0", 1).rules.model
    wall, car = model.geom("wall"), model.geom("body")
    gap = (wall.pos[0] - wall.size[0]) - (model.joint("x").range[1] + car.size[0])
    assert 0 <= gap < 0.02 and not wall.contype[0] and not wall.conaffinity[0]


def test_the_car_can_swing_itself_up() -> None:
    world = make_vec("vlmrl/MountainCar-v0", 4)
    obs, _ = world.reset(seed=0)
    for _ in range(200):
        at_top = obs[:, :1] > 0.45
        obs, _, _, _, infos = world.step(np.where(at_top, 1.0, np.sign(obs[:, 1:] + 1e-9)))
    assert infos["final_info"]["is_success"].all()
