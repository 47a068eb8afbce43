"""What a camera can see of a state without drawing it, and worlds whose whole life can be stored."""

from __future__ import annotations

import json

import gymnasium
import mujoco
import numpy as np
import pytest

import vlmrl_envs
from vlmrl_envs.world import Resumable, Seeing


def world(name: str, num_envs: int = 2, **kwargs):
    return gymnasium.make_vec(name, num_envs=num_envs, vectorization_mode="vector_entry_point", **kwargs)


@pytest.mark.parametrize("name", vlmrl_envs.WORLDS)
def test_what_a_frame_shows_is_finite_and_without_velocities(name: str) -> None:
    worlds = world(f"vlmrl/{name}").unwrapped
    assert isinstance(worlds, Seeing) and isinstance(worlds, Resumable)
    states = worlds.sample_states(np.random.default_rng(0), 64)
    features = worlds.visible_features(states)
    assert features.dtype == np.float32 and len(features) == 64 and np.isfinite(features).all()
    still = states.copy()
    still[:, 0] = 7.0
    still[:, 1 + worlds.rules.nq :] = 0.0
    np.testing.assert_array_equal(worlds.visible_features(still), features)
    assert len(np.unique(features.round(4), axis=0)) > 32  # states that look different are told apart
    assert worlds.in_view(states).all()


def test_full_turns_and_the_sign_of_a_quaternion_are_no_difference() -> None:
    worlds = world("vlmrl/CartPole-v0").unwrapped
    states = worlds.sample_states(np.random.default_rng(0), 8)
    turned = states.copy()
    turned[:, 2] += 2 * np.pi
    np.testing.assert_allclose(worlds.visible_features(turned), worlds.visible_features(states), atol=1e-5)
    worlds = world("vlmrl/Humanoid-v0").unwrapped
    states = worlds.sample_states(np.random.default_rng(0), 8)
    flipped = states.copy()
    flipped[:, 4:8] *= -1
    np.testing.assert_allclose(worlds.visible_features(flipped), worlds.visible_features(states), atol=1e-5)


def test_where_the_camera_rides_along_the_way_travelled_does_not_show() -> None:
    worlds = world("vlmrl/Ant-v0").unwrapped
    states = worlds.sample_states(np.random.default_rng(0), 8)
    far = states.copy()
    far[:, 1] += 30.0
    np.testing.assert_allclose(worlds.visible_features(far), worlds.visible_features(states), atol=1e-4)
    assert worlds.in_view(far).all()
    worlds = world("vlmrl/Humanoid-v0").unwrapped  # its camera stays where it is
    states = worlds.sample_states(np.random.default_rng(0), 8)
    far = states.copy()
    far[:, 2] += 3.0
    assert np.abs(worlds.visible_features(far) - worlds.visible_features(states)).max() > 2.9
    assert worlds.in_view(states).all() and not worlds.in_view(far).any()
    far[:, 2], far[:, 1] = states[:, 2], states[:, 1] + 10.0  # behind the camera
    assert not worlds.in_view(far).any()


def test_the_view_is_that_of_the_frames() -> None:
    """A body that the projection puts outside leaves an empty scene behind."""
    worlds = world("vlmrl/Humanoid-v0", render_size=(32, 32)).unwrapped
    state = worlds.get_states()[:1]
    empty = state.copy()
    empty[:, 2] += 40.0
    path = np.repeat(state, 5, axis=0)
    path[:, 2] += np.linspace(0.0, 4.0, 5)
    differs = (worlds.render_states(path).astype(int) != worlds.render_states(empty)).any(axis=(1, 2, 3))
    seen = worlds.in_view(path)
    assert seen[0] and differs[0] and not seen[-1] and not differs[-1]
    assert (differs | ~seen).all()


def test_a_stored_life_goes_on_to_the_bit() -> None:
    def live(worlds, steps: int, rng) -> list[np.ndarray]:
        rows = []
        for _ in range(steps):
            obs, rewards, _, cut, infos = worlds.step(rng.uniform(-1, 1, worlds.action_space.shape))
            end = infos["final_info"]["is_success"] if cut.any() else np.zeros(3, bool)
            rows.append(np.concatenate([obs.ravel(), rewards, cut, infos["success"], end]))
        return rows

    first, second = (world("vlmrl/CartPole-v0", 3, horizon=7) for _ in range(2))
    first.reset(seed=1, options={"elapsed": np.array([0, 2, 5])})
    live(first, 9, np.random.default_rng(0))
    arrays, values = first.unwrapped.snapshot()
    values = json.loads(json.dumps(values))
    straight = live(first, 20, np.random.default_rng(1))
    obs = second.unwrapped.load_snapshot(arrays, values)
    assert obs.shape == (3, 5)
    np.testing.assert_array_equal(np.stack(live(second, 20, np.random.default_rng(1))), np.stack(straight))
    with pytest.raises(vlmrl_envs.errors.WorldError, match="snapshot"):
        world("vlmrl/CartPole-v0", 3, horizon=8).unwrapped.load_snapshot(arrays, values)
    assert mujoco.mjtDisableBit.mjDSBL_WARMSTART & first.unwrapped.rules.model.opt.disableflags
