"""VLMVectorReward: every reward is of its own step's frame, in every autoreset mode, one batch a step."""

from __future__ import annotations

import warnings
from functools import partial

import gymnasium
import numpy as np
import pytest
from fakes import (
    BlindEnv,
    BrokenReward,
    CounterEnv,
    FakeWorld,
    FrameIdReward,
    LampEnv,
    OddFrameEnv,
    RedReward,
    StateIdReward,
)
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import DictInfoToList
from gymnasium.wrappers.vector import RecordEpisodeStatistics as VectorStatistics
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmrl.errors import UsageError
from vlmrl.horizon import FixedHorizon
from vlmrl.vector import FrameInInfo, VLMVectorReward
from vlmrl.wrappers import EarlyTerminationWarning, NonFiniteRewardError

MODES = list(AutoresetMode)


def counters(lengths: list[int], **kwargs) -> list:
    return [partial(CounterEnv, length=length, tag=i, **kwargs) for i, length in enumerate(lengths)]


def moment(tag: int, episode: int, step: int) -> int:
    """What `FrameIdReward` makes of a moment's frame."""
    return tag * 10_000 + episode * 100 + step


def check_life(envs: VLMVectorReward, lengths: list[int], num_steps: int, reward_model=None) -> None:
    """Step and compare each reward, true reward and return with what a counter must give."""
    mode = envs.autoreset_mode
    num_envs = len(lengths)
    envs.reset(seed=0)
    episode, step = np.zeros(num_envs, int), np.zeros(num_envs, int)
    resets = np.zeros(num_envs, bool)
    for _ in range(num_steps):
        _, rewards, terminated, truncated, infos = envs.step(envs.action_space.sample())
        episode, step = np.where(resets, episode + 1, episode), np.where(resets, 0, step + 1)
        expected = [0 if resets[i] else moment(i, episode[i], step[i]) for i in range(num_envs)]
        np.testing.assert_array_equal(rewards, expected)
        assert rewards.dtype == np.float64 and not terminated.any()
        ended = (step >= lengths) & ~resets
        np.testing.assert_array_equal(truncated, ended)
        np.testing.assert_array_equal(infos["env_reward"], np.where(resets, 0, step))
        np.testing.assert_array_equal(infos["_env_reward"], ~resets)
        assert ("env_return" in infos) == ended.any()
        if ended.any():
            np.testing.assert_array_equal(infos["_env_return"], ended)
            np.testing.assert_array_equal(infos["env_return"], np.where(ended, step * (step + 1) // 2, 0))
        if reward_model is not None and not resets.all():
            assert len(reward_model.batches[-1]) == (~resets).sum()
        resets = ended if mode == AutoresetMode.NEXT_STEP else np.zeros(num_envs, bool)
        if mode == AutoresetMode.SAME_STEP:
            episode, step = episode + ended, np.where(ended, 0, step)
        elif mode == AutoresetMode.DISABLED and ended.any():
            envs.reset(options={"reset_mask": ended.copy()})
            episode, step = episode + ended, np.where(ended, 0, step)


@settings(max_examples=20, deadline=None)
@given(mode=st.sampled_from(MODES), lengths=st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_sync(mode, lengths):
    reward_model = FrameIdReward()
    envs = VLMVectorReward(SyncVectorEnv(counters(lengths), autoreset_mode=mode), reward_model)
    check_life(envs, lengths, 14, reward_model)
    assert len(reward_model.batches) <= 14


@settings(max_examples=15, deadline=None)
@given(mode=st.sampled_from(MODES), num_envs=st.integers(1, 4), ragged=st.booleans())
def test_world(mode, num_envs, ragged):
    world = FakeWorld(num_envs, horizon=3, autoreset_mode=mode, ragged=ragged)
    reward_model = FrameIdReward()
    check_life(VLMVectorReward(world, reward_model), world.lengths.tolist(), 12, reward_model)
    world = FakeWorld(num_envs, horizon=3, autoreset_mode=mode, ragged=ragged)
    check_life(VLMVectorReward(world, StateIdReward()), world.lengths.tolist(), 12)


@pytest.mark.parametrize("shared_memory", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_async(mode, shared_memory):
    env_fns = counters([2, 3])
    if mode == AutoresetMode.SAME_STEP:
        env_fns = [lambda env_fn=env_fn: FrameInInfo(env_fn()) for env_fn in env_fns]
    envs = AsyncVectorEnv(env_fns, autoreset_mode=mode, shared_memory=shared_memory)
    envs = VLMVectorReward(envs, FrameIdReward())
    try:
        check_life(envs, [2, 3], 8)
    finally:
        envs.close()


def test_vector_entry_point():
    envs = gymnasium.make_vec(
        "CartPole-v1", num_envs=2, vectorization_mode="vector_entry_point", render_mode="rgb_array"
    )
    envs = VLMVectorReward(envs, RedReward())
    envs.reset(seed=0)
    with pytest.warns(EarlyTerminationWarning, match="fixed_horizon=500"):
        for _ in range(14):
            _, rewards, _, _, infos = envs.step(np.ones(2, np.int64))
            assert ((rewards == 0) == ~infos["_env_reward"]).all()
    with pytest.raises(
        UsageError, match=r"fixed_horizon: got 9 for CartPoleVectorEnv.*vectorization_mode='sync'"
    ):
        VLMVectorReward(envs.env, RedReward(), fixed_horizon=9)


def test_reset_in_the_middle():
    envs = VLMVectorReward(SyncVectorEnv(counters([2, 3])), FrameIdReward())
    envs.reset()
    envs.step(np.zeros(2, int))
    envs.step(np.zeros(2, int))  # env 0 has ended and waits for its reset
    envs.reset()
    _, rewards, _, _, infos = envs.step(np.zeros(2, int))
    assert rewards.tolist() == [moment(0, 1, 1), moment(1, 1, 1)]
    assert infos["_env_reward"].all()


def test_async_without_shared_memory_forgets_a_reset():
    """Its worker resets again on the step after reset(): Gymnasium 1.4."""
    envs = AsyncVectorEnv(counters([2, 3]), shared_memory=False)
    envs = VLMVectorReward(envs, FrameIdReward())
    try:
        envs.reset()
        for _ in range(2):
            envs.step(np.zeros(2, int))
        envs.reset()
        _, rewards, _, _, infos = envs.step(np.zeros(2, int))
        assert rewards.tolist() == [0, moment(1, 1, 1)] and infos["_env_reward"].tolist() == [False, True]
        assert envs.step(np.zeros(2, int))[1].tolist() == [moment(0, 2, 1), moment(1, 1, 2)]
    finally:
        envs.close()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("key", ["success", "is_success"])
def test_successes(mode, key):
    envs = SyncVectorEnv(counters([2, 4], success_key=key), autoreset_mode=mode)
    envs = VLMVectorReward(envs, RedReward())
    envs.reset()
    _, _, _, _, infos = [envs.step(np.zeros(2, int)) for _ in range(2)][-1]
    assert infos["_is_success"][0] and not infos["is_success"][0]
    if mode == AutoresetMode.DISABLED:
        envs.reset(options={"reset_mask": np.array([True, False])})
    _, _, _, _, infos = [envs.step(np.zeros(2, int)) for _ in range(2)][-1]
    assert infos["_is_success"][1] and infos["is_success"][1]


@pytest.mark.parametrize("mode", MODES)
def test_successes_of_a_world(mode):
    envs = VLMVectorReward(FakeWorld(3, horizon=2, autoreset_mode=mode), RedReward())
    envs.reset()
    infos = [envs.step(np.zeros((3, 1))) for _ in range(2)][-1][4]
    assert infos["is_success"].tolist() == [True, False, True] and infos["_is_success"].all()
    if mode == AutoresetMode.SAME_STEP:
        assert infos["final_info"]["is_success"].tolist() == [True, False, True]
        assert infos["final_obs"][1].tolist() == [1, 0, 2]


def test_no_frame_is_left_in_infos():
    envs = SyncVectorEnv(counters([2, 3], success_key="success"), autoreset_mode=AutoresetMode.SAME_STEP)
    envs = VLMVectorReward(envs, RedReward())
    envs.reset()
    for _ in range(6):
        infos = envs.step(np.zeros(2, int))[4]
        keys = [*infos, *infos.get("final_info", {})]
        assert not any("frame" in key for key in keys)


def test_wrappers_in_between():
    envs = VectorStatistics(SyncVectorEnv(counters([2, 3]), autoreset_mode=AutoresetMode.SAME_STEP))
    check_life(VLMVectorReward(envs, FrameIdReward()), [2, 3], 8)
    listed = VLMVectorReward(DictInfoToList(SyncVectorEnv(counters([2]))), RedReward())
    listed.reset()
    with pytest.raises(UsageError, match="infos: got list; expected a dict"):
        listed.step(np.zeros(1, int))


def test_fixed_horizon_of_sync():
    envs = SyncVectorEnv(counters([None, None], terminate_at=2), autoreset_mode=AutoresetMode.SAME_STEP)
    envs = VLMVectorReward(envs, FrameIdReward(), fixed_horizon=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_life(envs, [4, 4], 9)


def test_fixed_horizon_of_async_and_world():
    env_fns = [lambda: FixedHorizon(CounterEnv(terminate_at=2), 4)]
    envs = AsyncVectorEnv(env_fns)
    bare = AsyncVectorEnv(counters([5]))
    try:
        check_life(VLMVectorReward(envs, FrameIdReward(), fixed_horizon=4), [4], 6)
        with pytest.raises(UsageError, match=r"AsyncVectorEnv.*\[lambda: FixedHorizon\(gymnasium.make"):
            VLMVectorReward(envs, RedReward(), fixed_horizon=5)
        with pytest.raises(UsageError, match=r"AsyncVectorEnv.*\[lambda: FixedHorizon\(gymnasium.make"):
            VLMVectorReward(bare, RedReward(), fixed_horizon=4)
        bare.reset()  # its worker is still alive
    finally:
        envs.close()
        bare.close()
    check_life(VLMVectorReward(FakeWorld(2, horizon=4), FrameIdReward(), fixed_horizon=4), [4, 4], 6)
    with pytest.raises(UsageError, match=r"fixed_horizon: got 9 for FakeWorld.*make it with horizon=9"):
        VLMVectorReward(FakeWorld(2, horizon=4), FrameIdReward(), fixed_horizon=9)


def test_early_end_warns_once():
    envs = VLMVectorReward(SyncVectorEnv(counters([9, 9], terminate_at=2)), RedReward())
    envs.reset()
    with pytest.warns(EarlyTerminationWarning, match="CounterEnv .*fixed_horizon=H") as caught:
        for _ in range(6):
            envs.step(np.zeros(2, int))
    assert len(caught) == 1


def test_same_step_that_hides_its_last_frame_is_refused():
    envs = AsyncVectorEnv(counters([2]), autoreset_mode=AutoresetMode.SAME_STEP)
    try:
        with pytest.raises(
            UsageError, match=r"SAME_STEP of AsyncVectorEnv.*NEXT_STEP, or wrap each env: .*FrameInInfo"
        ):
            VLMVectorReward(envs, RedReward())
    finally:
        envs.close()
    foreign = SyncVectorEnv(counters([2]))
    foreign.__class__ = type("Foreign", (gymnasium.vector.VectorEnv,), {})
    foreign.metadata = {"autoreset_mode": "SameStep", "render_modes": ["rgb_array"]}
    with pytest.raises(UsageError, match=r"SAME_STEP of Foreign.*AutoresetMode.NEXT_STEP$"):
        VLMVectorReward(foreign, RedReward())


def test_undeclared_mode_is_refused():
    envs = SyncVectorEnv(counters([2]))
    del envs.metadata["autoreset_mode"]
    with pytest.raises(UsageError, match="autoreset_mode: got None; expected one of"):
        VLMVectorReward(envs, RedReward())


@pytest.mark.parametrize("mode", MODES)
def test_non_finite_reward_is_located(mode):
    envs = SyncVectorEnv(counters([2, 9, 9]), autoreset_mode=mode)
    envs = VLMVectorReward(envs, BrokenReward(call=2, row=1))
    envs.reset()
    for _ in range(2):
        _, _, _, truncated, _ = envs.step(np.zeros(3, int))
    if mode == AutoresetMode.DISABLED:
        envs.reset(options={"reset_mask": truncated})
    with pytest.raises(NonFiniteRewardError, match=r"env (1|2) at step 3 of its episode") as caught:
        envs.step(np.zeros(3, int))
    env_index = 2 if mode == AutoresetMode.NEXT_STEP else 1  # row 1 of a batch without the resetting env 0
    assert caught.value.env_index == env_index
    assert caught.value.frame[0, 0].tolist() == [env_index, 0, 3]


def test_bad_input():
    with pytest.raises(UsageError, match="SyncVectorEnv, which draws"):
        VLMVectorReward(SyncVectorEnv([BlindEnv]), RedReward())
    with pytest.raises(UsageError, match="render_mode: got None"):
        VLMVectorReward(SyncVectorEnv([lambda: gymnasium.make("CartPole-v1")]), RedReward())
    with pytest.raises(UsageError, match="reads 'states'"):
        VLMVectorReward(SyncVectorEnv(counters([2])), StateIdReward())
    for mode in (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP):
        envs = SyncVectorEnv([lambda: OddFrameEnv("float")], autoreset_mode=mode)
        envs = VLMVectorReward(envs, RedReward())
        envs.reset()
        with pytest.raises(UsageError, match=r"frames: got float32 .*uint8"):
            envs.step(np.zeros(1, int))

    class Big(LampEnv):
        def render(self):
            return np.repeat(super().render(), 2, axis=0)

    envs = VLMVectorReward(SyncVectorEnv([LampEnv, Big]), RedReward())
    envs.reset()
    with pytest.raises(UsageError, match=r"sizes \[\(8, 8, 3\), \(16, 8, 3\)\]; expected one size"):
        envs.step(np.zeros(2, int))


def test_world_without_its_states():
    class Forgetful(FakeWorld):
        def step(self, actions):
            *result, infos = super().step(actions)
            del infos["states_before_reset"]
            return *result, infos

    envs = VLMVectorReward(Forgetful(), RedReward())
    envs.reset()
    with pytest.raises(UsageError, match="expected 'states_before_reset'"):
        envs.step(np.zeros((2, 1)))
