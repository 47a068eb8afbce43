"""FixedHorizon and VLMRewardWrapper: the right length, the right frame, the right complaint."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from fakes import (
    BlindEnv,
    BrokenReward,
    CounterEnv,
    FakeEncoder,
    FragileEnv,
    FrameIdReward,
    LampEnv,
    OddFrameEnv,
    RedReward,
    StateIdReward,
)
from gymnasium.wrappers import Autoreset, RecordEpisodeStatistics, TimeLimit, TransformReward
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmrl.errors import UsageError
from vlmrl.horizon import FixedHorizon, has_fixed_horizon
from vlmrl.wrappers import EarlyTerminationWarning, NonFiniteRewardError, VLMRewardWrapper


def live(env: gymnasium.Env, num_steps: int, action: int = 1) -> list[tuple]:
    """Reset, step num_steps times, and return the step results."""
    env.reset(seed=0)
    return [env.step(action) for _ in range(num_steps)]


# -- FixedHorizon --------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    horizon=st.integers(1, 12),
    length=st.none() | st.integers(1, 12),
    terminate_at=st.none() | st.integers(1, 12),
    limits=st.lists(st.integers(1, 12), max_size=2),
)
def test_horizon_is_exact(horizon, length, terminate_at, limits):
    env = CounterEnv(length=length, terminate_at=terminate_at)
    for limit in limits:
        env = TimeLimit(env, limit)
    env = FixedHorizon(env, horizon)
    for _ in range(2):
        steps = live(env, horizon)
        assert [step[2] for step in steps] == [False] * horizon
        assert [step[3] for step in steps] == [False] * (horizon - 1) + [True]
        for number, step in enumerate(steps, start=1):
            assert step[4]["env_terminated"] == (terminate_at is not None and number >= terminate_at)


def test_limits_below_other_wrappers_are_removed():
    inner = TransformReward(TimeLimit(CounterEnv(length=None), 3), lambda reward: -reward)
    env = FixedHorizon(TimeLimit(FixedHorizon(inner, 4), 5), 7)
    steps = live(env, 7)
    assert [step[3] for step in steps] == [False] * 6 + [True]
    assert steps[-1][1] == -7.0  # the wrapper in between still works
    assert "TimeLimit" not in str(env) and str(env).count("FixedHorizon") == 1
    assert has_fixed_horizon(env) and not has_fixed_horizon(inner)


@pytest.mark.parametrize(
    "env_id", ["CartPole-v1", "MountainCarContinuous-v0", "MountainCar-v0", "Acrobot-v1"]
)
def test_stock_envs_live_on_without_a_word(env_id):
    env = FixedHorizon(gymnasium.make(env_id), 600)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for episode in range(2):
            env.reset(seed=episode)
            actions = [env.action_space.sample() for _ in range(600)]
            steps = [env.step(action) for action in actions]
            assert [step[3] for step in steps] == [False] * 599 + [True]
            assert np.isfinite([step[0] for step in steps]).all()


def test_cartpole_falls_and_mountain_car_reaches_the_flag():
    cartpole = live(FixedHorizon(gymnasium.make("CartPole-v1"), 50), 50)
    fell = [step[4]["env_terminated"] for step in cartpole].index(True)
    assert 5 < fell < 20 and not any(step[2] for step in cartpole)
    assert [step[1] for step in cartpole[fell + 1 :]] == [0.0] * (49 - fell)  # the env's own reward goes on
    env = FixedHorizon(gymnasium.make("MountainCarContinuous-v0"), 300)
    obs, _ = env.reset(seed=0)
    arrived = []
    for _ in range(300):
        obs, _, terminated, _, info = env.step(np.array([1.0 if obs[1] >= 0 else -1.0], np.float32))
        arrived.append(info["env_terminated"])
        assert not terminated
    assert any(arrived)


def test_horizon_is_in_the_spec():
    env = FixedHorizon(gymnasium.make("CartPole-v1"), 123)
    assert env.spec.max_episode_steps == 123
    again = gymnasium.make(env.spec)
    assert [step[3] for step in live(again, 123)] == [False] * 122 + [True]


@pytest.mark.parametrize("horizon", [0, -1, 2.5, "many", None, True])
def test_bad_horizon(horizon):
    with pytest.raises(UsageError, match=r"fixed_horizon: got .*; expected an integer >= 1; give"):
        FixedHorizon(CounterEnv(), horizon)


@pytest.mark.parametrize("keeper", [Autoreset, RecordEpisodeStatistics])
def test_episode_keepers_below_are_refused(keeper):
    with pytest.raises(UsageError, match=f"{keeper.__name__} below fixed_horizon.*wrap the other way round"):
        FixedHorizon(TimeLimit(keeper(CounterEnv()), 5), 10)
    assert live(keeper(FixedHorizon(CounterEnv(), 10)), 10)[-1][3]


def test_env_that_cannot_run_on_is_named():
    env = FixedHorizon(FragileEnv(terminate_at=2), 5)
    live(env, 2)
    with pytest.raises(UsageError, match=r"the simulation is gone.*expected an env that runs on for 5 steps"):
        env.step(0)
    env.reset()  # a new episode is fine again
    env.step(0)


# -- VLMRewardWrapper ----------------------------------------------------------------------------------------


def test_reward_is_of_the_steps_own_frame():
    reward_model = FrameIdReward()
    env = VLMRewardWrapper(CounterEnv(length=3, tag=2), reward_model)
    rewards = [step[1] for _ in range(2) for step in live(env, 3)]
    assert rewards == [20_001, 20_002, 20_003, 20_101, 20_102, 20_103]
    assert reward_model.batch_sizes == [1] * 6
    assert all(isinstance(reward, float) for reward in rewards)


def test_true_reward_and_episode_end():
    steps = live(VLMRewardWrapper(CounterEnv(length=4, success_key="success"), RedReward()), 4)
    assert [step[4]["env_reward"] for step in steps] == [1.0, 2.0, 3.0, 4.0]
    assert ["env_return" in step[4] for step in steps] == [False, False, False, True]
    assert steps[-1][4]["env_return"] == 10.0 and steps[-1][4]["is_success"] is True
    own = live(VLMRewardWrapper(CounterEnv(length=2, success_key="is_success"), RedReward()), 2)
    assert own[-1][4]["is_success"] is False
    assert "is_success" not in live(VLMRewardWrapper(CounterEnv(length=2), RedReward()), 2)[-1][4]


def test_three_lines_with_an_encoder():
    from vlmrl.rewards.goal_baseline import GoalBaselineReward

    env = VLMRewardWrapper(LampEnv(), GoalBaselineReward(FakeEncoder(), "a red lamp", "a lamp", alpha=0.0))
    bright, dark = live(env, 1, action=1)[0][1], live(env, 1, action=0)[0][1]
    assert bright == pytest.approx(1.0, abs=1e-5) and dark < bright - 0.5


def test_early_end_warns_once_and_offers_the_remedy():
    env = VLMRewardWrapper(gymnasium.make("CartPole-v1", render_mode="rgb_array"), RedReward())
    with pytest.warns(EarlyTerminationWarning, match=r"CartPole-v1 .*fixed_horizon=500") as caught:
        for _ in range(3):
            env.reset(seed=0)
            while not env.step(1)[2]:
                pass
    assert len(caught) == 1
    env.close()


def test_fixed_horizon_silences_it():
    env = VLMRewardWrapper(CounterEnv(length=None, terminate_at=2), FrameIdReward(), fixed_horizon=6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        steps = live(env, 6)
    assert [step[1] for step in steps] == [1, 2, 3, 4, 5, 6]
    assert [step[2:4] for step in steps] == [(False, False)] * 5 + [(False, True)]
    assert [step[4]["env_terminated"] for step in steps] == [False] + [True] * 5


def test_render_mode_forgotten():
    with pytest.raises(
        UsageError, match=r"render_mode: got None; expected 'rgb_array' for CartPole-v1; make"
    ):
        VLMRewardWrapper(gymnasium.make("CartPole-v1"), RedReward())


def test_env_without_rgb_array():
    with pytest.raises(
        UsageError, match=r"env: got BlindEnv, which draws \['ansi'\]; expected .*'rgb_array'"
    ):
        VLMRewardWrapper(BlindEnv(), RedReward())


@pytest.mark.parametrize(
    ("kind", "words"),
    [("float", "float32"), ("rgba", "RGBA"), ("grey", "grey"), ("tiny", "1x1"), ("none", "NoneType")],
)
def test_odd_frames(kind, words):
    env = VLMRewardWrapper(OddFrameEnv(kind), RedReward())
    env.reset()
    with pytest.raises(UsageError, match=words) as caught:
        env.step(0)
    assert "\n" not in str(caught.value) and "; expected " in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_non_finite_reward_is_located(value):
    env = VLMRewardWrapper(CounterEnv(), BrokenReward(call=2, row=0, value=value))
    live(env, 2)
    with pytest.raises(
        NonFiniteRewardError, match=f"got {value} .* env 0 at step 3 of its episode"
    ) as caught:
        env.step(0)
    assert caught.value.step == 3 and caught.value.frame[0, 0].tolist() == [0, 0, 3]


def test_what_the_model_reads():
    class Embedded(RedReward):
        reads = "embeddings"

    class Heard(RedReward):
        reads = "sound"

    class Miscounting(RedReward):
        def compute_reward(self, batch):
            return super().compute_reward(batch)[:, None]

    with pytest.raises(
        UsageError, match="reads 'embeddings'; expected one that reads 'frames'; pass a model that holds"
    ):
        VLMRewardWrapper(CounterEnv(), Embedded())
    with pytest.raises(UsageError, match=r"reads 'states'.*no physics states"):
        VLMRewardWrapper(CounterEnv(), StateIdReward())
    with pytest.raises(UsageError, match="'sound'"):
        VLMRewardWrapper(CounterEnv(), Heard())
    with pytest.raises(UsageError, match="reward_model: got str"):
        VLMRewardWrapper(CounterEnv(), "kneel")
    with pytest.raises(UsageError, match=r"Miscounting.compute_reward: got shape \(1, 1\)"):
        live(VLMRewardWrapper(CounterEnv(), Miscounting()), 1)


def test_states_of_a_single_world():
    class World(CounterEnv):
        def get_state(self):
            return np.array([self.tag, self.episode, self.steps], np.float64)

    env = VLMRewardWrapper(World(tag=1, render_mode=None), StateIdReward())
    assert [step[1] for step in live(env, 3)] == [10_001, 10_002, 10_003]


def test_horizon_is_light():
    code = "import sys, vlmrl.horizon; sys.exit(any(m in sys.modules for m in ('torch', 'jax', 'mujoco')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_stock_env_is_drawn_without_a_display_and_without_a_word() -> None:
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "import gymnasium, vlmrl\nfrom fakes import RedReward\n"
        "env = gymnasium.make('CartPole-v1', render_mode='rgb_array')\n"
        "env = vlmrl.VLMRewardWrapper(env, RedReward(), fixed_horizon=5)\n"
        "env.reset(seed=0); env.step(1)\n"
    )
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER", "XDG_RUNTIME_DIR")
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, env=environment
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
