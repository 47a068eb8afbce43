"""stable-baselines3's SAC on a reward learned from preferences: a bounded buffer of embeddings, relabelled whole, resumed."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import FakeEncoder, LampEnv
from gymnasium import spaces
from preference_fakes import count_oracle
from stable_baselines3 import SAC

from vlmrl.errors import UsageError
from vlmrl.preferences import PoolConfig
from vlmrl.preferences.configs import FitConfig, HeadConfig, PreferenceConfig
from vlmrl.preferences.online_config import PreferencesConfig
from vlmrl.preferring import make_learner
from vlmrl.ranks import spearman
from vlmrl.rollout import ResumeWarning
from vlmrl.sb3 import VLMVecEnv
from vlmrl.sb3_exploring import UPDATES, some_of, state_entropy
from vlmrl.sb3_preferences import MAX_POOL, EmbeddingReplayBuffer, FrameRewards, learn
from vlmrl.tasks import Task

TASK = Task("lamp", "Lamp-v0", ("red",), ("blue",))
PREFERENCES = PreferencesConfig(
    pairs=40, first_pairs=20, stage_pairs=10, every=64, pool=PoolConfig(capacity=128),
    heads=PreferenceConfig(HeadConfig(2, (16,)), FitConfig(max_epochs=15, patience=5, batch_size=16)),
)  # fmt: skip


class Lamp(LampEnv):
    """A lamp whose own reward is its light."""

    def step(self, action):
        obs, _, terminated, truncated, info = super().step(action)
        return obs, self.light, terminated, truncated, info


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count how often each pair is asked."""
    return count_oracle(monkeypatch)


def make(folder: Path, buffer_size: int = 96, **changes) -> tuple[SAC, FrameRewards]:
    encoder = FakeEncoder()
    learner = make_learner("oracle", PREFERENCES, TASK, encoder, folder)
    frames = FrameRewards(learner)
    envs = VLMVecEnv([partial(Lamp, continuous=True)] * 4, frames)
    settings = {"learning_starts": 32, "batch_size": 16, "train_freq": 4, "buffer_size": buffer_size, "seed": 0,
                "policy_kwargs": {"net_arch": [8]}, "device": "cpu"}  # fmt: skip
    model = SAC("MlpPolicy", envs, replay_buffer_class=EmbeddingReplayBuffer,
                replay_buffer_kwargs={"frames": frames}, **settings | changes)  # fmt: skip
    return model, frames


def fresh_rewards(model: SAC, frames: FrameRewards) -> np.ndarray:
    buffer = model.replay_buffer
    rows = buffer.ring.embeddings[: buffer.size()].astype(np.float32)
    return frames.reward.reward_of_embeddings(rows.reshape(-1, frames.dim)).numpy().reshape(rows.shape[:2])


def test_the_whole_buffer_follows_each_refit_after_it_has_wrapped(
    tmp_path: Path, asked: Counter[str]
) -> None:
    model, frames = make(tmp_path)
    learn(model, frames, 192)
    buffer, learner = model.replay_buffer, frames.learner
    assert (
        buffer.full and buffer.size() == 24 and model.num_timesteps == 192
    )  # 96 transitions of 4 envs, seen twice
    assert learner.stages == 3 and len(learner.answered) == 40 == len(asked) and set(asked.values()) == {1}
    np.testing.assert_allclose(buffer.rewards, fresh_rewards(model, frames), atol=0.03)
    light = buffer.ring.embeddings[..., 0].astype(float)  # the redder, the nearer to 1
    assert spearman(buffer.rewards.reshape(-1), light.reshape(-1)) > 0.7
    assert learner.report.label_accuracy == 1.0 and learner.metrics()["pairs_asked"] == 40


def test_what_no_camera_sees_stays_without_reward_when_all_is_relabelled(tmp_path: Path) -> None:
    model, frames = make(tmp_path)
    buffer = model.replay_buffer
    frames.learner.reward.reward_of_embeddings = lambda rows: torch.ones(len(rows))  # type: ignore[method-assign]
    frames.compute_reward(np.zeros((4, 8, 8, 3), np.uint8))
    step = [np.zeros((4, 2)), np.zeros((4, 2)), np.zeros((4, 1)), np.zeros(4), np.zeros(4)]
    buffer.add(*step, [{}, {"out_of_view": True}, {"diverged": True}, {"out_of_view": False}])
    buffer.relabel()
    assert buffer.rewards[0].tolist() == [1, 0, 0, 1] and not buffer.rewards[1:].any()


def test_a_state_far_from_those_seen_is_worth_more() -> None:
    seen = torch.cat([torch.zeros(20, 2), torch.full((20, 2), 9.0)])
    rewards = state_entropy(torch.tensor([[0.0, 0.0], [4.0, 4.0], [9.0, 10.0]]), seen)
    torch.testing.assert_close(rewards, torch.tensor([0.0, 32**0.5, 1.0]) / ((32**0.5 + 1) / 3))
    assert torch.isfinite(state_entropy(torch.zeros(3, 2), torch.zeros(1, 2))).all()
    assert some_of(np.arange(24.0).reshape(4, 3, 2), limit=5).shape == (5, 2)


def test_it_explores_until_the_first_answers_and_then_values_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, frames = make(tmp_path)
    known, sample = [], EmbeddingReplayBuffer.sample

    def watched(buffer, *arguments, **named):
        found = sample(buffer, *arguments, **named)
        known.append((bool(frames.reward.fits), model.num_timesteps, found.rewards))
        return found

    monkeypatch.setattr(EmbeddingReplayBuffer, "sample", watched)
    learn(model, frames, 160, explore=96)
    before = [(step, rewards) for fits, step, rewards in known if not fits]
    assert [step for step, _ in before] == [48, 64, 80]  # from learning_starts to the first answers
    assert all(
        rewards.mean() == pytest.approx(1.0, abs=1e-4) and rewards.std() > 0.1 for _, rewards in before
    )
    after = [step for fits, step, _ in known if fits]
    assert after.count(96) == UPDATES + 1 and frames.learner.stages == 2, (
        "stages are counted from the first on"
    )


def test_it_goes_on_where_it_was_stopped_and_asks_nobody_twice(tmp_path: Path, asked: Counter[str]) -> None:
    model, frames = make(tmp_path)
    learn(model, frames, 96, checkpoint_every=32)
    saved = {name: value.copy() for name, value in model.replay_buffer.filled.items()}
    folder = tmp_path / "checkpoints"
    assert len(list(folder.glob("replay-*"))) == 1 and len(list(folder.glob("step-*"))) == 1
    counts = dict(asked)
    again, same = make(tmp_path)
    with pytest.warns(ResumeWarning, match="new episodes"):
        learn(again, same, 96)
    for name, value in again.replay_buffer.filled.items():
        np.testing.assert_array_equal(value, saved[name], err_msg=name)
    for one, other in zip(model.policy.parameters(), again.policy.parameters(), strict=True):
        np.testing.assert_array_equal(one.detach().numpy(), other.detach().numpy())
    assert again.num_timesteps == 96 and dict(asked) == counts and len(same.learner.answered) == len(counts)
    obs = np.zeros((3, 2), np.float32)
    np.testing.assert_array_equal(
        model.predict(obs, deterministic=True)[0], again.predict(obs, deterministic=True)[0]
    )
    assert model.log_ent_coef.item() == again.log_ent_coef.item()
    more, frames = make(tmp_path)
    with pytest.warns(ResumeWarning):
        learn(more, frames, 192)
    assert more.num_timesteps == 192 and set(asked.values()) == {1} and len(asked) == 40
    other, frames = make(tmp_path, buffer_size=8)
    with pytest.raises(UsageError, match="replay buffer: got"):
        learn(other, frames, 192)


def test_a_million_steps_take_four_gibibytes_at_most() -> None:
    """RL-VLM-F keeps pictures: 50 GiB of them at 300 px, and 20 GiB of preferences."""

    class Wide:
        dim = 512

    obs, actions = spaces.Box(-1, 1, (39,), np.float32), spaces.Box(-1, 1, (4,), np.float32)  # Meta-World's
    buffer = EmbeddingReplayBuffer(
        1_000_000, obs, actions, device="cpu", n_envs=8, frames=Wide()
    )  # untouched: no pages
    assert buffer.nbytes == 125_000 * 8 * (2 * 39 * 4 + 4 * 4 + 3 * 4 + 512 * 2)
    pool = MAX_POOL + 8192 * 512 * 4  # frames, and embeddings
    pairs = 2 * 1000 * 300 * 300 * 3  # frames of 1,000 answered pairs at 300 px
    assert (
        buffer.nbytes + 4 * pool + pairs <= 4 * 2**30
    )  # the pool three times more while a checkpoint is written


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    model, frames = make(tmp_path)
    plain = SAC("MlpPolicy", model.get_env(), device="cpu", buffer_size=8)
    with pytest.raises(UsageError, match="EmbeddingReplayBuffer"):
        learn(plain, frames, 8)
    with pytest.raises(UsageError, match=r"preferences.pool.capacity: got 128 segments, 2\d\d\d MiB"):
        frames.compute_reward(np.zeros((1, 2800, 2800, 3), np.uint8))
    pixels = make_learner("oracle", PreferencesConfig(learn_from="pixels"), TASK, FakeEncoder(), tmp_path)
    with pytest.raises(UsageError, match="one on pixels"):
        FrameRewards(pixels)


def test_a_damaged_replay_buffer_is_named(tmp_path: Path) -> None:
    model, frames = make(tmp_path)
    learn(model, frames, 32)
    (file,) = (tmp_path / "checkpoints").glob("replay-*/rewards.npy")
    data = file.read_bytes()
    flipped = data[:-1] + bytes([data[-1] ^ 1])
    for damaged, match in (
        (flipped, "altered or cut off"),
        (data[:-9], "a whole file"),
        (b"", "a whole file"),
    ):
        file.write_bytes(damaged)
        again, same = make(tmp_path)
        with pytest.raises(UsageError, match=match):
            learn(again, same, 64)
