"""Runs that ask a reward model rarely: worlds to rewards to agent to run folder, stopped and taken up again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
import torch
from fakes import LampEnv, RedReward

from vlmrl import loop, training
from vlmrl.agents.config import PPOConfig
from vlmrl.errors import EmbeddingError, UsageError
from vlmrl.making import make_envs
from vlmrl.report import asking, write_run_report
from vlmrl.rewards import ConstantReward, LearnedConfig, LearnedReward
from vlmrl.rollout import Collector, OutOfViewWarning, ResumeWarning
from vlmrl.tasks import Task, get_task
from vlmrl.training import TrainConfig, load_run, train
from vlmrl.vector import VLMVectorReward
from vlmrl.wrappers import NonFiniteRewardError, VLMRewardWrapper, score

SMALL = PPOConfig(num_steps=8, num_epochs=1, num_minibatches=1, hidden_sizes=(16,))
NETWORKS = LearnedConfig(hidden_sizes=(16,), fit_steps=8, batch_size=32)


def config(tmp_path: Path, **changes) -> TrainConfig:
    task = replace(get_task("cartpole"), horizon=6)
    base = TrainConfig(
        task=task, agent=SMALL, num_envs=8, total_steps=640, reward="state_similarity", query_share=0.2,
        learned=NETWORKS, checkpoint_every=128, out=tmp_path / "run",
    )  # fmt: skip
    return replace(base, **changes)


def rows_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def test_a_run_asks_as_often_as_it_was_told(tmp_path: Path) -> None:
    seen = []
    run = train(config(tmp_path), seen.append)
    rows = rows_of(run.path)
    assert rows[-1]["learned/asked_in_all"] == 128 == sum(row["learned/asked"] for row in rows)
    assert rows[0]["learned/asked"] == 32 > rows[-1]["learned/asked"]  # half of the first rollout
    assert all(row["learned/share_in_all"] >= 0.2 for row in rows) and seen[0].share_asked == 0.5
    assert {"learned/error", "learned/bias", "learned/rank_correlation", "learned/drift"} <= rows[0].keys()
    assert all(isinstance(row["vlm_reward"], float) for row in rows) and rows[0]["frames_scored"] == 0
    page = write_run_report(run.path).read_text()
    assert "asked of the reward model" in page and "20.0% of steps" in page
    assert load_run(run.path).act(np.zeros((2, 5))).shape == (2, 1)


def test_the_report_says_where_learned_and_true_reward_parted() -> None:
    row = {"learned/asked_in_all": 120, "learned/share_in_all": 0.1, "learned/rank_correlation": 0.5}
    rows = [{"global_step": step, "learned/drift": float(step == 64), **row} for step in (32, 64, 96)]
    assert asking(rows)[-1] == ("learned reward rose without the true one", "first at step 64")
    assert asking(rows[:1])[-1] == ("rank correlation of learned and true reward, last", "0.50")
    assert asking([{"global_step": 32}]) == []


class CountedFrames:
    """A reward model of frames: their mean brightness."""

    reads = "frames"

    def __init__(self) -> None:
        self.count = 0

    def compute_reward(self, batch):
        self.count += len(batch)
        return torch.as_tensor(batch).float().mean(dim=(1, 2, 3)) / 255


def test_what_is_not_asked_is_not_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, drawn = CountedFrames(), []
    from vlmrl_envs.batched import BatchedWorld

    def render(self, states, camera=None, size=None):
        drawn.append(len(states))
        return np.uint8(states[:, 2, None, None, None] * 40 + 100) * np.ones((1, 8, 8, 3), np.uint8)

    monkeypatch.setattr(BatchedWorld, "render_states", render)
    monkeypatch.setattr(training, "make_reward", lambda *_: model)
    run = train(config(tmp_path, reward="vlm", queries=77, query_share=0.9, reward_resolution=0.0))
    rows = rows_of(run.path)
    assert sum(drawn) == model.count == 77 == rows[-1]["frames_scored"] == rows[-1]["learned/asked_in_all"]


@pytest.mark.parametrize("share", [0.2, None])
def test_a_run_that_was_stopped_goes_on_to_the_bit(tmp_path: Path, share: float | None) -> None:
    whole = train(config(tmp_path, out=tmp_path / "whole", query_share=share))

    def stop(progress) -> None:
        if progress.global_step == 320:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config(tmp_path, query_share=share), stop)
    assert load_run(tmp_path / "run").folder.load_checkpoint().global_step == 320
    run = training.resume(tmp_path / "run")
    a, b = (r.folder.load_checkpoint() for r in (whole, run))
    assert a.tensors.keys() == b.tensors.keys() and a.global_step == b.global_step == 640
    for name in a.tensors:
        np.testing.assert_array_equal(a.tensors[name], b.tensors[name], err_msg=name)
    timed = {"seconds", "steps_per_s"}
    for one, other in zip(rows_of(whole.path), rows_of(run.path), strict=True):
        for key in one.keys() - timed:
            assert key.startswith("time/") or one[key] == other[key], key
    assert a.extra["loop"] | {"seconds": 0} == b.extra["loop"] | {"seconds": 0}
    assert a.extra["score"] == b.extra["score"]


def test_a_kill_between_checkpoints_takes_metrics_back(tmp_path: Path) -> None:
    whole = train(config(tmp_path, out=tmp_path / "whole"))
    run = train(config(tmp_path))
    names = sorted(path.name for path in (run.path / "checkpoints").iterdir() if path.is_dir())
    (run.path / "checkpoints" / "latest").write_text(
        names[-2] + "\n"
    )  # as if it had been killed after that one
    assert len(rows_of(run.path)) == 10
    again = training.resume(run.path)
    a, b = (r.agent.state_dict() for r in (whole, again))
    assert all(np.array_equal(a[name], b[name]) for name in a)
    assert [row["global_step"] for row in rows_of(run.path)] == list(range(64, 641, 64))


def test_a_kill_while_saving_loses_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def kill(*args) -> None:
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(loop.Loop, "_save", kill)
        train(config(tmp_path))
    first = next(iter(rows_of(tmp_path / "run")))
    assert first["global_step"] == 64  # what is logged too much is taken back


def test_where_a_run_was_stopped_is_no_best(tmp_path: Path) -> None:
    def stop(progress) -> None:
        if progress.global_step == 64:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config(tmp_path, checkpoint_every=128), stop)
    checkpoints = tmp_path / "run" / "checkpoints"
    assert (checkpoints / "latest").exists() and not (checkpoints / "best").exists()
    training.resume(tmp_path / "run")
    assert (checkpoints / "best").exists()


def test_a_run_does_not_go_on_with_other_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(progress) -> None:
        raise KeyboardInterrupt

    def model(fingerprint: str):
        found = ConstantReward(reads="states")
        found.encoder = SimpleNamespace(fingerprint=fingerprint)  # type: ignore[attr-defined]
        return found

    monkeypatch.setattr(training, "make_reward", lambda *_: model("old"))
    with pytest.raises(KeyboardInterrupt):
        train(config(tmp_path), stop)
    assert load_run(tmp_path / "run").folder.load_checkpoint().extra["weights"] == "old"
    monkeypatch.setattr(training, "make_reward", lambda *_: model("new"))
    with pytest.raises(UsageError, match="encoder: got weights new; expected weights old"):
        training.resume(tmp_path / "run")
    monkeypatch.setattr(training, "make_reward", lambda *_: model("old"))
    assert rows_of(training.resume(tmp_path / "run").path)[-1]["global_step"] == 640


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    run = train(config(tmp_path))
    before = rows_of(run.path)
    again = training.resume(run.path)
    assert rows_of(run.path) == before and again.path == run.path
    with pytest.raises(UsageError, match="run folder"):
        training.resume(tmp_path / "nothing")


def test_an_env_that_cannot_be_stored_goes_on_with_new_episodes(tmp_path: Path) -> None:
    task = Task("stock", "CartPole-v1", ("pole upright",), ("pole and cart",), horizon=5)

    def stop(progress) -> None:
        raise KeyboardInterrupt

    asked = config(tmp_path, task=task, reward="constant", num_envs=2, total_steps=64, query_share=0.5)
    with pytest.raises(KeyboardInterrupt):
        train(asked, stop)
    with pytest.warns(ResumeWarning, match="new episodes"):
        run = training.resume(tmp_path / "run")
    rows = rows_of(run.path)
    assert (
        rows[-1]["global_step"] == 64 and rows[-1]["frames_scored"] == 32 == rows[-1]["learned/asked_in_all"]
    )


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"queries": 0}, "queries: got 0"),
        ({"query_share": 0.0}, "query_share: got 0.0"),
        ({"query_share": 1.5}, "query_share: got 1.5"),
        ({"reward": "true"}, "reward 'true'"),
    ],
)
def test_limits_that_cannot_be_are_refused(tmp_path: Path, changes: dict, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        config(tmp_path, **changes)
    with pytest.raises(UsageError, match="no query"):
        train(config(tmp_path, query_share=1e-5))
    assert not (tmp_path / "run").exists()


def humanoids(num_envs: int, shifted: list[int]):
    envs = make_envs(get_task("humanoid_kneeling"), num_envs)
    envs.reset(seed=0)
    world = envs.unwrapped
    start = type(world.rules).start

    def begin(rng):
        state = start(world.rules, rng)
        state[2] += 20.0 * (world.num_begun % num_envs in shifted)
        world.num_begun += 1
        return state

    world.num_begun = 0
    world.rules.start = begin
    return envs


@pytest.mark.parametrize("rarely", [False, True])
def test_what_the_camera_does_not_see_is_reported_and_not_rewarded(rarely: bool) -> None:
    envs = humanoids(4, shifted=[1])
    world = envs.unwrapped
    drawn: list[np.ndarray] = []

    def render(states, camera=None, size=None):
        drawn.append(states)
        return np.zeros((len(states), 8, 8, 3), np.uint8)

    world.render_states = render
    model = ConstantReward()
    learned = LearnedReward(model, 12, query_share=1.0, config=NETWORKS, world=world) if rarely else model
    collector = Collector(envs, learned, 3)
    collector.reset(0, stagger=False)
    with pytest.warns(OutOfViewWarning, match=r"camera: got 25.0% of the states out of view"):
        found = collector.collect(_agent(envs))
    assert found.out_of_view == 3 and not found.rollout.valid[:, 1].any() and found.rollout.valid.sum() == 9
    assert (found.rollout.rewards[:, 1] == 0).all() and (
        found.rollout.rewards[found.rollout.valid] == 1
    ).all()
    assert found.frames_scored == sum(map(len, drawn)) <= 9 and np.abs(np.concatenate(drawn)[:, 2]).max() < 2


def _agent(envs):
    from vlmrl.agents.ppo import PPO

    return PPO(envs.single_observation_space, envs.single_action_space, SMALL, envs.num_envs, 0)


def test_what_an_encoder_counts_is_in_the_metrics() -> None:
    model = ConstantReward(reads="states")
    model.encoder = SimpleNamespace(metrics=lambda: {"frames": 7.0})  # type: ignore[attr-defined]
    envs = humanoids(2, shifted=[])
    collector = Collector(envs, model, 2)
    collector.reset(0)
    assert collector.collect(_agent(envs)).encoder == {"frames": 7.0}
    assert Collector(envs, ConstantReward(reads="states"), 2).collect(_agent(envs)).encoder == {}


def test_every_door_leaves_out_what_the_camera_does_not_see() -> None:
    envs = VLMVectorReward(humanoids(3, shifted=[1]), ConstantReward())
    envs.reset(seed=1)
    with pytest.warns(OutOfViewWarning, match="camera: got 1 of 3 worlds out of view"):
        _, rewards, *_, infos = envs.step(np.zeros(envs.action_space.shape))
    assert rewards.tolist() == [1, 0, 1] and infos["out_of_view"].tolist() == [False, True, False]

    env = VLMRewardWrapper(gymnasium.make("vlmrl/Humanoid-v0", render_mode="rgb_array"), ConstantReward())
    env.reset(seed=0)
    assert env.step(np.zeros(env.action_space.shape))[1] == 1
    state = env.unwrapped.get_state()
    state[2] += 20.0
    env.unwrapped.set_state(state)
    with pytest.warns(OutOfViewWarning, match="camera: got step 2 of an episode out of view"):
        _, reward, *_, info = env.step(np.zeros(env.action_space.shape))
    assert reward == 0 and info["out_of_view"]


def test_a_learned_reward_is_told_too_what_the_camera_does_not_see() -> None:
    world = humanoids(3, shifted=[1])
    world.unwrapped.render_states = lambda states: np.full((len(states), 8, 8, 3), 255, np.uint8)
    learned = LearnedReward(CountedFrames(), 30, query_share=1.0, config=NETWORKS, world=world.unwrapped)
    envs = VLMVectorReward(world, learned)
    envs.reset(seed=1)
    with pytest.warns(OutOfViewWarning, match="camera: got 1 of 3 worlds out of view"):
        _, rewards, *_, infos = envs.step(np.zeros(envs.action_space.shape))
    assert rewards.tolist() == [1, 0, 1] and infos["out_of_view"].tolist() == [False, True, False]
    assert learned.asked == 2


def test_envs_in_one_process_are_left_out_where_the_camera_does_not_see_them() -> None:
    from vlmrl.sb3 import VLMVecEnv

    model = CountedFrames()
    envs = VLMVecEnv([lambda: gymnasium.make("vlmrl/Humanoid-v0", render_mode="rgb_array")] * 2, model)
    envs.reset()
    state = envs.envs[1].unwrapped.get_state()
    state[2] += 20.0
    envs.envs[1].unwrapped.set_state(state)
    actions = np.zeros((2, *envs.action_space.shape))
    with pytest.warns(OutOfViewWarning, match="camera: got env 1 out of view"):
        _, rewards, _, infos = envs.step(actions)
    assert (
        rewards[0] > 0 == rewards[1]
        and model.count == 1
        and infos[1]["out_of_view"]
        and "out_of_view" not in infos[0]
    )
    _, rewards, _, infos = envs.step(actions)
    assert rewards[1] == 0 and infos[1]["out_of_view"], "each step says so, the warning comes once"
    model.keeps_frames = True  # type: ignore[attr-defined]  # for a replay buffer: one of each env
    envs = VLMVecEnv([lambda: gymnasium.make("vlmrl/Humanoid-v0", render_mode="rgb_array")] * 2, model)
    envs.reset()
    envs.envs[1].unwrapped.set_state(state)
    before = model.count
    with pytest.warns(OutOfViewWarning):
        _, rewards, *_ = envs.step(actions)
    assert rewards[0] > 0 == rewards[1] and model.count == before + 2


def test_an_embedding_that_is_not_finite_is_one_rows_fault() -> None:
    from vlmrl.rewards.sources import ask_frames, or_nan

    def answer(frames):
        if (np.asarray(frames) == 255).any():
            raise EmbeddingError("encoder: an image embedding is not finite")
        return np.ones(len(frames), np.float32)

    frames = np.zeros((5, 4, 4, 3), np.uint8)
    frames[3] = 255
    assert np.isnan(or_nan(answer, frames)).tolist() == [False, False, False, True, False]
    model = SimpleNamespace(reads="frames", compute_reward=answer)
    assert np.isnan(ask_frames(model, frames)).sum() == 1  # type: ignore[arg-type]
    with pytest.raises(NonFiniteRewardError, match="env 3 at step 7"):
        score(model, frames, np.arange(5), np.full(5, 7))  # type: ignore[arg-type]


def test_where_physics_diverged_nothing_is_scored() -> None:
    model = CountedFrames()
    envs = VLMVectorReward(humanoids(2, shifted=[]), model)
    world = envs.unwrapped
    world.render_states = lambda states: np.full((len(states), 8, 8, 3), 255, np.uint8)
    envs.reset(seed=0)
    advance = world._advance
    world._advance = lambda actions, awake: advance(actions, awake) | np.array([True, False])
    _, rewards, *_, infos = envs.step(np.zeros(envs.action_space.shape))
    assert infos["diverged"].tolist() == [True, False]
    assert rewards.tolist() == [0, 1] and model.count == 1


def test_a_camera_that_sees_nothing_is_an_error() -> None:
    envs = humanoids(2, shifted=[0, 1])
    collector = Collector(envs, ConstantReward(), 2)
    collector.reset(0, stagger=False)
    with (
        pytest.warns(OutOfViewWarning),
        pytest.raises(UsageError, match=r"camera: got no state.*another camera"),
    ):
        collector.collect(_agent(envs))


def test_stable_baselines3_asks_rarely_too() -> None:
    from stable_baselines3 import PPO

    from vlmrl.sb3 import GymnasiumVecEnv, VLMVecEnv

    model = RedReward()
    learned = LearnedReward(model, 128, query_share=0.25, config=NETWORKS)
    agent = PPO("MlpPolicy", VLMVecEnv([LampEnv] * 4, learned), n_steps=16, batch_size=64, n_epochs=1)
    agent.learn(128)
    assert learned.asked == 32 and learned.metrics()["asked_in_all"] == 32

    worlds = gymnasium.make_vec("vlmrl/CartPole-v0", num_envs=4, vectorization_mode="vector_entry_point")
    counted, drawn = CountedFrames(), []
    world = worlds.unwrapped
    world.render_states = lambda states: (
        drawn.append(len(states)) or np.zeros((len(states), 8, 8, 3), np.uint8)
    )
    learned = LearnedReward(counted, 64, queries=10, config=NETWORKS, world=world)
    agent = PPO("MlpPolicy", GymnasiumVecEnv(worlds, learned), n_steps=16, batch_size=64, n_epochs=1)
    agent.learn(64)
    assert sum(drawn) == counted.count == learned.asked == 10
