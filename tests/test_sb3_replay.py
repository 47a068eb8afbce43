"""stable-baselines3's off-policy agents on a reward that asks rarely: old transitions get the rewards of the last refit."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from fakes import LampEnv, RedReward
from gymnasium import spaces
from stable_baselines3 import DQN, SAC
from stable_baselines3.common.vec_env import DummyVecEnv

from vlmrl.errors import UsageError
from vlmrl.rewards import LearnedConfig, LearnedReward
from vlmrl.rewards.sources import thumbnails
from vlmrl.sb3 import GymnasiumVecEnv, VLMVecEnv
from vlmrl.sb3_replay import LearnedDictReplayBuffer, LearnedReplayBuffer, shown
from vlmrl.wrappers import VLMRewardWrapper

NETWORKS = LearnedConfig(hidden_sizes=(32,), fit_steps=60, batch_size=32, refit_every=64, conservatism=0.5)
SETTINGS: dict[str, Any] = {
    "learning_starts": 16,
    "train_freq": 4,
    "batch_size": 16,
    "seed": 0,
    "device": "cpu",
}


def learner(total: int = 400, share: float = 0.25, **changes) -> LearnedReward:
    return LearnedReward(RedReward(), total, query_share=share, config=NETWORKS, seed=1, **changes)


def sac(learned: LearnedReward, buffer_size: int = 96) -> SAC:
    envs = VLMVecEnv([partial(LampEnv, continuous=True)] * 4, learned)
    return SAC("MlpPolicy", envs, buffer_size=buffer_size, replay_buffer_class=LearnedReplayBuffer,
               replay_buffer_kwargs={"learned": learned}, **SETTINGS)  # fmt: skip


def test_the_whole_buffer_follows_each_refit_and_answers_stay() -> None:
    learned = learner()
    model = sac(learned)
    model.learn(400)
    buffer = model.replay_buffer
    assert buffer.full and buffer.size() == 24 and learned.refits > 3 and learned.asked == 100
    buffer.sample(1)
    rows = buffer.ring.embeddings.astype(np.float32)
    asked = np.isnan(rows).all(axis=-1)
    assert 0.1 < asked.mean() < 0.6 and not np.isnan(rows[~asked]).any()
    np.testing.assert_allclose(buffer.rewards[~asked], learned.estimate(rows[~asked]), atol=2e-3)  # halves
    light = (np.round(255 * (buffer.actions[..., 0] + 1) / 2) / 255).astype(np.float32)
    np.testing.assert_allclose(
        buffer.rewards[asked], light[asked], atol=1e-6, err_msg="the model's own answers"
    )
    assert np.corrcoef(buffer.rewards[~asked], light[~asked])[0, 1] > 0.9


def test_rewards_are_made_anew_when_they_are_drawn_after_a_refit(monkeypatch: pytest.MonkeyPatch) -> None:
    learned = learner()
    model = sac(learned)
    buffer = model.replay_buffer
    seen, relabel = [], type(buffer).relabel
    monkeypatch.setattr(type(buffer), "relabel", lambda self: seen.append(learned.refits) or relabel(self))
    model.learn(400)
    assert seen == sorted(set(seen)) and set(seen) >= set(range(2, learned.refits)), "once for each refit"


def test_other_agents_and_the_wrapper_of_one_env_too() -> None:
    learned = learner()
    envs = DummyVecEnv([lambda: VLMRewardWrapper(LampEnv(), learned)])
    model = DQN("MlpPolicy", envs, buffer_size=64, replay_buffer_class=LearnedReplayBuffer,
                replay_buffer_kwargs={"learned": learned}, **SETTINGS)  # fmt: skip
    model.learn(200)
    buffer = model.replay_buffer
    buffer.sample(1)
    unasked = ~np.isnan(buffer.ring.embeddings).all(axis=-1)
    light = buffer.actions[..., 0].astype(float)
    assert buffer.full and unasked.any() and np.abs(buffer.rewards - light)[unasked].max() < 0.25


def test_observations_may_be_a_dict() -> None:
    class InDict(gymnasium.ObservationWrapper):
        def __init__(self, env: gymnasium.Env) -> None:
            super().__init__(env)
            self.observation_space = spaces.Dict({"lamp": env.observation_space})

        def observation(self, observation: Any) -> Any:
            return {"lamp": observation}

    learned = learner()
    envs = VLMVecEnv([lambda: InDict(LampEnv(continuous=True))] * 2, learned)
    model = SAC("MultiInputPolicy", envs, buffer_size=64, replay_buffer_class=LearnedDictReplayBuffer,
                replay_buffer_kwargs={"learned": learned}, **SETTINGS)  # fmt: skip
    model.learn(200)
    assert model.replay_buffer.relabel() == 64 and learned.refits > 1


class Bright:
    """A reward model of frames: their mean brightness."""

    reads = "frames"

    def compute_reward(self, batch: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(batch).float().mean(dim=(1, 2, 3)) / 255


def test_a_worlds_states_are_kept_and_what_is_not_seen_stays_unrewarded() -> None:
    worlds = gymnasium.make_vec(
        "vlmrl/CartPole-v0", num_envs=4, vectorization_mode="vector_entry_point", horizon=5
    )
    world: Any = worlds.unwrapped
    world.render_states = lambda states: np.uint8(np.clip(200 - 90 * np.abs(states[:, 2, None, None, None]), 0, 255)) * np.ones((1, 8, 8, 3), np.uint8)  # fmt: skip
    world.in_view = lambda states: np.arange(len(states)) != 1
    learned = LearnedReward(Bright(), 400, query_share=0.3, config=NETWORKS, world=world)
    model = SAC("MlpPolicy", GymnasiumVecEnv(worlds, learned), buffer_size=80, replay_buffer_class=LearnedReplayBuffer,
                replay_buffer_kwargs={"learned": learned}, **SETTINGS)  # fmt: skip
    with pytest.warns(UserWarning, match="camera: got 1 of 4 worlds out of view"):
        model.learn(400)
    buffer = model.replay_buffer
    buffer.relabel()
    assert (
        buffer.full and (buffer.dones.sum(axis=0) == 4).all() and buffer.ring.embeddings.dtype == np.float32
    )
    assert not buffer.rewards[:, 1].any() and np.isnan(buffer.ring.embeddings[:, 1]).all()
    assert (buffer.rewards[:, [0, 2, 3]] > 0.3).all()


def test_the_end_of_an_episode_says_too_that_it_was_not_seen() -> None:
    worlds = gymnasium.make_vec(
        "vlmrl/CartPole-v0", num_envs=2, vectorization_mode="vector_entry_point", horizon=1
    )
    worlds.unwrapped.in_view = lambda states: np.arange(len(states)) == 1
    worlds.unwrapped.render_states = lambda states: np.zeros((len(states), 8, 8, 3), np.uint8)
    envs = GymnasiumVecEnv(worlds, Bright())
    envs.reset()
    with pytest.warns(UserWarning, match="out of view"):
        *_, dones, infos = envs.step(np.zeros((2, 1)))
    assert dones.all() and shown(infos).tolist() == [False, True] and "out_of_view" not in envs.reset_infos[0]
    assert shown([{}, {"diverged": True}, {"out_of_view": np.False_}]).tolist() == [True, False, True]


def test_an_episode_that_ends_since_physics_diverged_is_not_scored_in_single_envs_either() -> None:
    class Breaking(LampEnv):
        def step(self, action: Any) -> Any:
            obs, reward, _, _, info = super().step(1)
            return obs, reward, False, self.steps == 2, {**info, "diverged": self.steps == 2}

    learned = learner()
    single = gymnasium.vector.SyncVectorEnv([Breaking, LampEnv], autoreset_mode="SameStep")
    envs = GymnasiumVecEnv(single, learned)
    model = DQN("MlpPolicy", envs, buffer_size=20, replay_buffer_class=LearnedReplayBuffer,
                replay_buffer_kwargs={"learned": learned}, **SETTINGS)  # fmt: skip
    model.learn(20)
    assert not model.replay_buffer.rewards[1::2, 0].any() and model.replay_buffer.rewards[::2, 0].all()


def test_a_first_step_that_nothing_is_seen_of(monkeypatch: pytest.MonkeyPatch) -> None:
    learned = learner()
    model = sac(learned)
    buffer = model.replay_buffer
    step = [np.zeros((4, 2)), np.zeros((4, 2)), np.zeros((4, 1)), np.zeros(4), np.zeros(4)]
    buffer.add(*step, [{"out_of_view": True}] * 4)
    learned.compute_reward(np.zeros((4, 8, 8, 3), np.uint8))
    buffer.add(*step, [{}] * 4)
    assert np.isnan(buffer.ring.embeddings[0]).all() and buffer.ring.pos == buffer.pos == 2
    assert buffer.relabel() == 8 and not buffer.rewards[0].any()


def test_memory_is_bounded_by_half_a_kilobyte_a_transition() -> None:
    learned, obs, act = learner(), spaces.Box(-1, 1, (39,), np.float32), spaces.Box(-1, 1, (4,), np.float32)
    buffer = LearnedReplayBuffer(1_000_000, obs, act, device="cpu", n_envs=8, learned=learned)
    learned.compute_reward(np.zeros((8, 64, 64, 3), np.uint8))
    buffer.add(np.zeros((8, 39)), np.zeros((8, 39)), np.zeros((8, 4)), np.zeros(8), np.zeros(8), [{}] * 8)
    assert (
        buffer.ring.embeddings.nbytes
        == 1_000_000 * thumbnails(np.zeros((1, 64, 64, 3), np.uint8), 16).size * 2
        == 512_000_000
    )


def test_a_reward_of_another_vec_env_is_refused() -> None:
    learned = learner()
    buffer = sac(learned).replay_buffer
    assert buffer.relabel() == 0
    step = [np.zeros((4, 2)), np.zeros((4, 2)), np.zeros((4, 1)), np.zeros(4), np.zeros(4)]
    for scored in (None, 3):
        if scored:
            learned.compute_reward(np.zeros((scored, 8, 8, 3), np.uint8))
        with pytest.raises(UsageError, match=r"learned: got \d scored last; expected 4, .* one VecEnv"):
            buffer.add(*step, [{}] * 4)


def test_it_goes_on_from_a_state_that_was_stored(tmp_path: Path) -> None:
    learned = learner()
    model = sac(learned)
    model.learn(200)
    again = learner()
    again.load_state_dict(learned.state_dict())
    assert again.refits == learned.refits > 0
    rows = np.random.default_rng(0).random((5, 64)).astype(np.float32)
    np.testing.assert_array_equal(again.estimate(rows), learned.estimate(rows))
