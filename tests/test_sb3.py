"""The stable-baselines3 door: the right frames, complete infos, and agents that learn."""

from __future__ import annotations

import json
import warnings
from functools import partial

import gymnasium
import numpy as np
import pytest
from fakes import (
    BlindEnv,
    BrokenReward,
    CounterEnv,
    FakeEncoder,
    FakeWorld,
    FrameIdReward,
    LampEnv,
    RedReward,
    StateIdReward,
)
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from vlmrl.errors import UsageError
from vlmrl.horizon import FixedHorizon
from vlmrl.sb3 import GymnasiumVecEnv, VLMVecEnv
from vlmrl.wrappers import EarlyTerminationWarning, NonFiniteRewardError


def counters(lengths, **kwargs):
    return [partial(CounterEnv, length=length, tag=i, **kwargs) for i, length in enumerate(lengths)]


def held(reward_model, lengths, **kwargs):
    return VLMVecEnv(counters(lengths, **kwargs), reward_model)


def sync_same_step(reward_model, lengths, **kwargs):
    envs = SyncVectorEnv(counters(lengths, **kwargs), autoreset_mode=AutoresetMode.SAME_STEP)
    return GymnasiumVecEnv(envs, reward_model)


def sync_disabled(reward_model, lengths, **kwargs):
    envs = SyncVectorEnv(counters(lengths, **kwargs), autoreset_mode=AutoresetMode.DISABLED)
    return GymnasiumVecEnv(envs, reward_model)


MAKERS = [held, sync_same_step, sync_disabled]


@pytest.mark.parametrize("make", MAKERS)
def test_frames_are_taken_before_the_reset(make):
    reward_model = FrameIdReward()
    envs = make(reward_model, [2, 3], success_key="success")
    assert envs.reset().tolist() == [[0, 0, 0], [1, 0, 0]]
    episode, step = np.zeros(2, int), np.zeros(2, int)
    for number in range(1, 13):
        obs, rewards, dones, infos = envs.step(np.zeros(2, int))
        step += 1
        assert rewards.tolist() == [episode[0] * 100 + step[0], 10_000 + episode[1] * 100 + step[1]]
        assert rewards.dtype == np.float32
        assert dones.tolist() == [step[0] == 2, step[1] == 3]
        for i, info in enumerate(infos):
            assert info["env_reward"] == step[i] and info["TimeLimit.truncated"] == dones[i]
            assert (
                ("episode" in info) == ("env_return" in info) == ("terminal_observation" in info) == dones[i]
            )
            if dones[i]:
                vlm_return = sum(i * 10_000 + episode[i] * 100 + s for s in range(1, step[i] + 1))
                assert info["episode"]["r"] == vlm_return and info["episode"]["l"] == step[i]
                assert info["env_return"] == step[i] * (step[i] + 1) / 2
                assert info["terminal_observation"].tolist() == [i, episode[i], step[i]]
                assert info["is_success"] == (step[i] >= 3)
                assert obs[i].tolist() == [i, episode[i] + 1, 0]
                assert envs.reset_infos[i] == {"fresh": True}
                episode[i], step[i] = episode[i] + 1, 0
            else:
                assert obs[i].tolist() == [i, episode[i], step[i]]
        assert reward_model.batch_sizes == [2] * number  # one batch a vector step


class Together(CounterEnv):
    """Envs that are drawn by one call, which says so by a blue of its own."""

    calls = 0

    @staticmethod
    def render_together(envs):
        Together.calls += 1
        return np.stack([env.render() for env in envs])


def test_envs_that_can_are_drawn_by_one_call_before_the_reset():
    Together.calls = 0
    envs = VLMVecEnv([partial(Together, tag=i, length=2) for i in range(2)], FrameIdReward())
    envs.reset()
    rewards = [envs.step(np.zeros(2, int))[1].tolist() for _ in range(3)]
    assert rewards == [[1, 10_001], [2, 10_002], [101, 10_101]] and Together.calls == 3


class Darker(gymnasium.Wrapper):
    """A wrapper that draws in its env's place."""

    def render(self):
        return self.env.render() // 2


def test_a_wrapper_that_draws_is_asked_for_its_frame():
    Together.calls = 0
    envs = VLMVecEnv([lambda: Darker(Together(length=2))] * 2, RedReward())
    envs.reset()
    envs.step(np.zeros(2, int))
    assert Together.calls == 0


@pytest.mark.parametrize("reward_model", [FrameIdReward(), StateIdReward()])
@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.DISABLED])
def test_world(mode, reward_model):
    envs = GymnasiumVecEnv(FakeWorld(2, horizon=2, autoreset_mode=mode), reward_model)
    envs.seed(7)
    envs.reset()
    assert envs.envs.unwrapped.seed == 7
    envs.step(np.zeros((2, 1)))
    obs, rewards, dones, infos = envs.step(np.zeros((2, 1)))
    assert rewards.tolist() == [2, 10_002] and dones.all()
    assert [info["is_success"] for info in infos] == [True, False]
    assert [info["env_return"] for info in infos] == [3.0, 3.0]
    assert infos[1]["terminal_observation"].tolist() == [1, 0, 2] and obs[1].tolist() == [1, 1, 0]
    assert all(info["TimeLimit.truncated"] and "final_info" not in info for info in infos)
    assert infos[1]["states_before_reset"].tolist() == [1, 0, 2]
    assert envs.step(np.zeros((2, 1)))[1].tolist() == [101, 10_101]


def test_async_under_sb3():
    envs = AsyncVectorEnv(counters([2, 3]), autoreset_mode=AutoresetMode.DISABLED)
    envs = GymnasiumVecEnv(envs, FrameIdReward())
    try:
        envs.reset()
        rewards = np.stack([envs.step(np.zeros(2, int))[1] for _ in range(6)])
        assert rewards[:, 0].tolist() == [1, 2, 101, 102, 201, 202]
        assert rewards[:, 1].tolist() == [10_001, 10_002, 10_003, 10_101, 10_102, 10_103]
        assert envs.get_attr("tag") == [0, 1] and envs.env_method("add", 5) == [5, 6]
        assert envs.env_is_wrapped(TimeLimit) == [False, False]
        with pytest.raises(UsageError, match="indices"):
            envs.env_method("add", 5, indices=[1])
    finally:
        envs.close()


def test_without_a_reward_model_the_envs_reward_stays():
    envs = GymnasiumVecEnv(SyncVectorEnv(counters([2]), autoreset_mode=AutoresetMode.SAME_STEP))
    envs.reset()
    assert [envs.step(np.zeros(1, int))[1].tolist() for _ in range(3)] == [[1.0], [2.0], [1.0]]


def test_termination_and_truncation_are_told_apart():
    envs = VLMVecEnv(
        [partial(CounterEnv, length=2, terminate_at=2), partial(CounterEnv, length=2)], RedReward()
    )
    envs.reset()
    envs.step(np.zeros(2, int))
    with pytest.warns(EarlyTerminationWarning) as caught:
        _, _, dones, infos = envs.step(np.zeros(2, int))
    assert dones.all() and [info["TimeLimit.truncated"] for info in infos] == [False, True]
    assert len(caught) == 1


def test_fixed_horizon():
    envs = VLMVecEnv(counters([None, 3], terminate_at=2), FrameIdReward(), fixed_horizon=5)
    envs.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        steps = [envs.step(np.zeros(2, int)) for _ in range(5)]
    assert [step[2].tolist() for step in steps] == [[False] * 2] * 4 + [[True] * 2]
    assert steps[-1][1].tolist() == [5, 10_005]
    assert all(info["TimeLimit.truncated"] and info["env_terminated"] for info in steps[-1][3])
    with pytest.raises(UsageError, match="VLMVecEnv needs no Monitor"):
        VLMVecEnv([lambda: Monitor(CounterEnv())], RedReward(), fixed_horizon=5)


def test_seeds_and_options():
    envs = VLMVecEnv([partial(gymnasium.make, "CartPole-v1", render_mode="rgb_array")] * 3, RedReward())
    envs.seed(5)
    first = envs.reset()
    other = envs.reset()
    assert not np.array_equal(first, other)
    for i in range(3):
        alone, _ = gymnasium.make("CartPole-v1").reset(seed=5 + i)
        np.testing.assert_array_equal(first[i], alone)
    envs.set_options({"low": 0.04, "high": 0.05})
    assert (envs.reset() >= 0.04).all()
    envs.close()


@pytest.mark.parametrize("make", MAKERS)
def test_attributes_and_methods(make):
    envs = make(RedReward(), [4, 4, 4])
    assert envs.get_attr("tag") == [0, 1, 2] and envs.get_attr("tag", [2, 0]) == [2, 0]
    assert envs.has_attr("length") and not envs.has_attr("no_such_thing")
    assert envs.env_method("add", 5) == [5, 6, 7] and envs.env_method("add", number=1, indices=1) == [2]
    envs.set_attr("length", 2, indices=[1])
    assert envs.get_attr("length") == [4, 2, 4]
    envs.set_attr("length", 3)
    assert envs.get_attr("length") == [3, 3, 3]
    assert envs.render_mode == "rgb_array" and envs.unwrapped is envs
    envs.reset()
    assert len(envs.get_images()) == 3 and envs.render().shape == (16, 16, 3)
    envs.close()


def test_set_attr_reaches_below_wrappers():
    envs = VLMVecEnv(counters([9]), RedReward(), fixed_horizon=4)
    envs.set_attr("tag", 42)
    envs.reset()
    assert envs.get_images()[0][0, 0, 0] == 42
    assert envs.env_is_wrapped(FixedHorizon) == [True] and envs.env_is_wrapped(TimeLimit) == [False]


def test_attributes_of_a_world():
    envs = GymnasiumVecEnv(FakeWorld(3), RedReward())
    assert envs.get_attr("horizon") == [4, 4, 4] and envs.render_mode is None
    envs.reset()
    assert [state.tolist() for state in envs.env_method("get_states", indices=[1])] == [[1, 0, 0]]
    envs.set_attr("horizon", 5)
    assert envs.envs.unwrapped.horizon == 5
    with pytest.raises(UsageError, match="indices: got"):
        envs.set_attr("horizon", 5, indices=[0])
    assert envs.env_is_wrapped(TimeLimit) == [False] * 3 and envs.get_images() == [None] * 3


def test_evaluate_policy_trusts_our_statistics():
    envs = VLMVecEnv([LampEnv] * 2, RedReward())
    model = PPO("MlpPolicy", envs, n_steps=8, batch_size=16, device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mean, _ = evaluate_policy(model, VecNormalize(envs, training=False), n_eval_episodes=4)
    assert 0 <= mean <= 8


@pytest.mark.parametrize("make", MAKERS)
def test_non_finite_reward_is_located(make):
    envs = make(BrokenReward(call=3, row=1, value=float("inf")), [2, 9])
    envs.reset()
    for _ in range(3):
        envs.step(np.zeros(2, int))
    with pytest.raises(
        NonFiniteRewardError, match=r"got inf from .* env 1 at step 4 of its episode"
    ) as caught:
        envs.step(np.zeros(2, int))
    assert caught.value.frame[0, 0].tolist() == [1, 0, 4]


def test_bad_input():
    with pytest.raises(UsageError, match="env_fns: got no functions"):
        VLMVecEnv([], RedReward())
    with pytest.raises(UsageError, match="env: got BlindEnv"):
        VLMVecEnv([BlindEnv], RedReward())
    with pytest.raises(UsageError, match="reads 'states'"):
        VLMVecEnv([CounterEnv], StateIdReward())
    with pytest.raises(UsageError, match=r"autoreset_mode: got NEXT_STEP; .*SAME_STEP"):
        GymnasiumVecEnv(SyncVectorEnv(counters([2])), RedReward())
    with pytest.raises(UsageError, match="fixed_horizon: got 5 without a reward model"):
        GymnasiumVecEnv(FakeWorld(), fixed_horizon=5)
    envs = GymnasiumVecEnv(FakeWorld(), RedReward())
    envs.set_options([{"a": 1}, {"a": 2}])
    with pytest.raises(UsageError, match="options"):
        envs.reset()


COMMON = {"gamma": 0.5, "learning_rate": 1e-2, "seed": 0, "device": "cpu"}
LEARNERS = {
    "ppo": partial(PPO, n_steps=32, batch_size=64, **COMMON),
    "dqn": partial(DQN, learning_starts=50, train_freq=1, exploration_fraction=0.5,
                   target_update_interval=20, **COMMON),
    "sac": partial(SAC, learning_starts=50, ent_coef=0.01, policy_kwargs={"net_arch": [32, 32]}, **COMMON),
}  # fmt: skip


@pytest.mark.parametrize("name", LEARNERS)
def test_agents_learn_from_frames(name):
    """A few hundred steps suffice to find out which action lights the lamp, since only the frames tell."""
    reward_model = RedReward()
    envs = VLMVecEnv([partial(LampEnv, continuous=name == "sac")] * 4, reward_model)
    model = LEARNERS[name]("MlpPolicy", envs)
    model.learn(768)
    assert reward_model.num_calls == 768 // 4
    recent = [episode["r"] for episode in list(model.ep_info_buffer)[-8:]]
    assert np.mean(recent) > 5.5  # chance is 4, the best 8


def test_world_learns_under_sb3():
    class Lamps(FakeWorld):
        """States hold the last action; red is bright."""

        def step(self, actions):
            *result, infos = super().step(actions)
            infos["states_before_reset"][:, 0] = 127 + 127 * np.clip(actions[:, 0], -1, 1)
            return *result, infos

    envs = GymnasiumVecEnv(Lamps(4, horizon=8), RedReward())
    model = LEARNERS["ppo"]("MlpPolicy", envs)
    model.learn(1024)
    assert np.mean([episode["r"] for episode in list(model.ep_info_buffer)[-8:]]) > 5.5


def test_dummy_vec_env_would_be_wrong():
    """Rendering after DummyVecEnv's reset, as VLM-RM did, scores the next episode's first frame."""
    envs = DummyVecEnv([partial(CounterEnv, length=2)])
    envs.reset()
    envs.step(np.zeros(1, int))
    envs.step(np.zeros(1, int))
    assert envs.get_images()[0][0, 0].tolist() == [0, 1, 0]


# -- the experiments ---------------------------------------------------------------------------------------------


def test_small_frames_are_the_stock_picture():
    from PIL import Image

    from experiments.sb3_common import SmallFrames

    for env_id in ("CartPole-v1", "MountainCarContinuous-v0"):
        env = gymnasium.make(env_id, render_mode="rgb_array")
        small = SmallFrames(env, 64)
        small.reset(seed=0)
        large = Image.fromarray(env.render())
        expected = np.asarray(large.resize((64, 64), Image.Resampling.BICUBIC)).astype(int)
        drawn = small.render()
        assert drawn.shape == (64, 64, 3) and drawn.dtype == np.uint8
        assert np.abs(drawn - expected).max() <= 12 and np.abs(drawn - expected).mean() < 0.5
        assert env.render().shape == (400, 600, 3)  # pygame is as it was
        small.close()
    assert SmallFrames(CounterEnv(), 16).render().shape == (16, 16, 3)


@pytest.mark.parametrize("condition", ["vlm", "swapped-goal", "constant", "true"])
def test_experiment_runs_and_resumes(condition, tmp_path, monkeypatch, capsys):
    from dataclasses import replace

    import vlmrl.encoders
    from experiments.sb3_common import main
    from experiments.sb3_ppo_cartpole_v1 import SETTING

    monkeypatch.setattr(vlmrl.encoders, "load_encoder", lambda *_: FakeEncoder())
    setting = replace(
        SETTING,
        goal="red",
        baseline="blue",
        total_steps=256,
        num_envs=4,
        horizon=20,
        eval_horizon=30,
        num_episodes=3,
    )
    path = tmp_path / "results.json"
    argv = ["x", "--reward", condition, "--seeds", "3", "--results", str(path), "--json"]
    monkeypatch.setattr("sys.argv", argv)
    main(setting)
    record = json.loads(capsys.readouterr().out)
    assert (record["condition"], record["seed"]) == (condition, 3)
    assert 0 <= record["interval_95"][0] <= record["share_of_steps"] <= record["interval_95"][1] <= 1
    before = path.stat().st_mtime_ns
    main(setting)
    assert json.loads(capsys.readouterr().out) == record and path.stat().st_mtime_ns == before


def test_experiment_judges_the_pole_by_its_angle():
    from experiments.sb3_ppo_cartpole_v1 import bounded, upright

    env = bounded(gymnasium.make("CartPole-v1", disable_env_checker=True))
    env.reset(seed=0)
    for degrees, verdict in [
        (0, True),
        (11.9, True),
        (-12.1, False),
        (180, False),
        (355, True),
        (-365, True),
    ]:
        env.unwrapped.state = np.array([300.0, 0.0, np.deg2rad(degrees), 0.0])
        assert upright(env.unwrapped) == verdict
    assert env.observation_space.contains(env.step(0)[0])
