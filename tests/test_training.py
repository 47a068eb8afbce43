"""The whole loop, small: worlds to rewards to agent to run folder, and back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vlmrl import training
from vlmrl.agents.config import PPOConfig
from vlmrl.errors import NonFiniteError, UsageError
from vlmrl.evaluation import evaluate, record_video, run_episodes, wilson
from vlmrl.loop import shift_of
from vlmrl.making import make_envs
from vlmrl.rollout import Collector, score_states
from vlmrl.tasks import Task, get_task
from vlmrl.training import TrainConfig, load_run, preset, train

SMALL = PPOConfig(num_steps=8, num_epochs=1, num_minibatches=1, hidden_sizes=(16,))


def config(tmp_path: Path, **changes) -> TrainConfig:
    task = replace(get_task("cartpole"), horizon=6)
    base = TrainConfig(
        task=task, agent=SMALL, num_envs=4, total_steps=64, reward="state_similarity", out=tmp_path / "run"
    )
    return replace(base, **changes)


def test_a_run_is_a_folder_that_loads_again(tmp_path: Path) -> None:
    seen = []
    run = train(config(tmp_path), seen.append)
    assert seen[-1].global_step == 64 and seen[-1].seconds_left == 0
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [row["global_step"] for row in rows] == [32, 64] and "ppo/loss" in rows[0]
    assert json.loads((run.path / "config.json").read_text())["config"]["task"]["name"] == "cartpole"
    again = load_run(run.path)
    obs = np.random.default_rng(0).normal(size=(5, 5)).astype(np.float32)
    np.testing.assert_array_equal(again.act(obs), run.act(obs))
    assert again.act(obs[0]).shape == (1,)


def test_the_same_seed_trains_the_same_agent(tmp_path: Path) -> None:
    runs = [
        train(config(tmp_path, out=tmp_path / name, seed=seed))
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    ]
    a, b, c = (run.agent.state_dict() for run in runs)
    assert all(np.array_equal(a[key], b[key]) for key in a)
    assert any(not np.array_equal(a[key], c[key]) for key in a if "params" in key)


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").write_text("x")
    with pytest.raises(UsageError, match="exists"):
        train(config(tmp_path))
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["mine"]


def test_an_interrupt_leaves_a_checkpoint(tmp_path: Path) -> None:
    def stop(progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config(tmp_path), stop)
    assert load_run(tmp_path / "run").folder.load_checkpoint().global_step == 32


class Broken:
    """A reward that is NaN on one state."""

    reads = "states"

    def compute_reward(self, batch):
        rewards = torch.zeros(len(batch))
        rewards[4 * 5 + 2] = float("nan")
        return rewards


def test_nan_reward_is_located_by_step_and_world(tmp_path: Path) -> None:
    envs = make_envs(get_task("cartpole"), 4)
    setting = config(tmp_path)
    collector = Collector(envs, Broken(), 8)
    collector.reset(0)
    with pytest.raises(NonFiniteError) as error:
        collector.collect(training.make_agent(setting, envs))
    assert (error.value.step, error.value.world) == (5, 2)


class Numbered:
    """A reward that tells which state it was asked about: its time."""

    reads = "states"

    def compute_reward(self, batch):
        return torch.as_tensor(batch[:, 0], dtype=torch.float32)


@pytest.mark.parametrize("stagger", [False, True])
def test_rewards_belong_to_their_own_step_also_at_an_episodes_end(tmp_path: Path, stagger: bool) -> None:
    envs = make_envs(get_task("cartpole"), 3, horizon=5)
    collector = Collector(envs, Numbered(), 12)
    collector.reset(0, stagger=stagger)
    found = collector.collect(training.make_agent(config(tmp_path, num_envs=3), envs))
    age, dt = np.zeros(3), 0.02
    for step in range(12):
        age += dt
        np.testing.assert_allclose(found.rollout.rewards[step], age, rtol=1e-5)
        cut = found.rollout.truncated[step]
        following = np.where(cut[:, None], np.nan, found.rollout.next_obs[step])
        if step < 11:
            kept = ~cut
            np.testing.assert_array_equal(following[kept], found.rollout.obs[step + 1][kept])
            assert (
                not np.array_equal(found.rollout.next_obs[step][cut], found.rollout.obs[step + 1][cut])
                or not cut.any()
            )
        age[cut] = 0
    assert not found.rollout.terminated.any() and len(found.successes) == found.rollout.truncated.sum() >= 6


def test_any_gymnasium_env_trains(tmp_path: Path) -> None:
    task = Task("stock", "CartPole-v1", ("pole upright",), ("pole and cart",), horizon=5)
    run = train(config(tmp_path, task=task, reward="constant", num_envs=2, total_steps=32))
    found = evaluate(run, episodes=2, horizon=4)
    assert found["success"] is None and found["env_return"] == 4 and found["horizon"] == 4


def test_evaluate_exports_the_states_it_judged(tmp_path: Path) -> None:
    run = train(config(tmp_path))
    file = tmp_path / "states.npz"
    found = evaluate(run, episodes=3, horizon=5, states_file=file)
    with np.load(file) as saved:
        assert saved["states"].shape == (5, 3, 5) and saved["success"].shape == (5, 3)
        envs = make_envs(run.config.task, 1)
        judged = envs.unwrapped.success(saved["states"].reshape(-1, 5)).reshape(5, 3)
        np.testing.assert_array_equal(judged, saved["success"])
    assert found["steps_at_goal"] == pytest.approx(judged.mean())
    with pytest.raises(UsageError, match="exists"):
        evaluate(run, episodes=3, states_file=file)
    with pytest.raises(UsageError, match="episodes"):
        evaluate(run, episodes=0)


def test_video_of_a_world_and_of_a_stock_env(tmp_path: Path) -> None:
    run = train(config(tmp_path))
    assert record_video(run, tmp_path / "world.mp4", horizon=4, size=(64, 64)).stat().st_size > 500
    task = Task("stock", "CartPole-v1", ("pole upright",), ("pole and cart",), horizon=4)
    run = train(
        config(tmp_path, task=task, reward="constant", num_envs=2, total_steps=16, out=tmp_path / "stock")
    )
    assert record_video(run, tmp_path / "stock.mp4").stat().st_size > 500


def test_episodes_that_end_early_are_counted_to_their_end() -> None:
    class Pushes:
        def act(self, obs, deterministic=True):
            return np.zeros(len(obs), int)

    envs = make_envs(Task("stock", "CartPole-v1", ("pole upright",), ("pole and cart",)), 3)
    found = run_episodes(Pushes(), envs, seed=0)
    assert 5 < found["horizon"] < 15 and found["env_rewards"].sum(axis=0).max() == found["horizon"]


def test_controls_and_ceilings(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="World"):
        task = Task("stock", "CartPole-v1", ("pole upright",), ("pole and cart",))
        train(config(tmp_path, task=task))
    envs = make_envs(get_task("cartpole"), 2)
    states = envs.unwrapped.sample_states(np.random.default_rng(0), 5)
    reward = training.make_reward(config(tmp_path), envs)
    np.testing.assert_allclose(
        score_states(envs.unwrapped, reward, states), envs.unwrapped.similarity(states), rtol=1e-6
    )
    constant = training.make_reward(config(tmp_path, reward="constant"), envs)
    assert set(score_states(envs.unwrapped, constant, states)) == {1.0}
    with pytest.raises(UsageError, match="reward"):
        config(tmp_path, reward="clip")


def test_every_task_has_a_preset() -> None:
    from vlmrl.tasks import TASKS

    for name in TASKS:
        assert preset(name).task.name == name
    with pytest.raises(UsageError, match="humanoid_kneeling"):
        preset("humanoid_kneelin")


def test_wilson_interval() -> None:
    low, high = wilson(95, 100)
    assert low == pytest.approx(0.888, abs=1e-3) and high == pytest.approx(0.978, abs=1e-3)
    assert wilson(0, 10)[0] == 0 and wilson(10, 10)[1] == pytest.approx(1)


def test_a_constant_in_the_reward_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A similarity is far from 0 everywhere; what counts is how it differs."""

    class Lifted(training.StateSimilarity):
        def compute_reward(self, batch):
            return super().compute_reward(batch) + 8.0

    first = train(config(tmp_path, out=tmp_path / "a"))
    monkeypatch.setattr(training, "StateSimilarity", Lifted)
    second = train(config(tmp_path, out=tmp_path / "b"))
    a, b = first.agent.state_dict(), second.agent.state_dict()
    for key in a:
        if "params/policy" in key:
            np.testing.assert_allclose(a[key], b[key], atol=1e-4)


def test_rewards_are_left_as_they_are_where_episodes_terminate() -> None:
    from vlmrl.agents.buffer import Rollout

    ones = np.ones((2, 3), np.float32)
    ends = np.zeros((2, 3), bool)
    rollout = Rollout(*(ones,) * 5, terminated=ends, truncated=ends, valid=~ends)._replace(rewards=4 * ones)
    assert shift_of(rollout) == 4.0
    ends = ends.copy()
    ends[1, 1] = True
    assert shift_of(rollout._replace(terminated=ends)) == 0.0


@pytest.mark.parametrize("resolution", [1e-3, 0.0])
def test_what_an_encoder_cannot_resolve_is_not_learnt_from(tmp_path: Path, resolution: float) -> None:
    """A random encoder's rewards differ in the fifth decimal; blown up by normalisation they taught cart-pole."""
    changed = config(tmp_path, reward="random_encoder", reward_resolution=resolution, checkpoint_every=32)
    if resolution:
        with pytest.warns(
            training.FlatRewardWarning, match=r"one constant, to 0.001, in 32 steps.*preflight"
        ):
            run = train(changed)
    else:
        run = train(changed)
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [row["ppo/learning"] for row in rows] == [0.0 if resolution else 1.0] * 2
    envs = make_envs(run.config.task, 4)
    fresh = training.make_agent(run.config, envs).state_dict()
    envs.close()
    after = run.agent.state_dict()
    moved = any(not np.array_equal(after[k], fresh[k]) for k in after if "params/policy" in k)
    assert moved == (resolution == 0)


def test_a_resolution_is_a_number_from_0(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"reward_resolution: got -1"):
        config(tmp_path, reward_resolution=-1)
