"""Preflight: what it says of rewards that separate, are flat or reversed, and of bad prompts and frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from fakes import BlindEnv, CounterEnv, FakeEncoder, FakeWorld, OddFrameEnv, RedReward
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vlmrl import making, samples
from vlmrl import preflight as pf
from vlmrl.errors import UsageError
from vlmrl.preflight import Scored, auc, judge, preflight, prompt_warnings, render_text
from vlmrl.rewards import GoalBaselineReward
from vlmrl.tasks import Task, get_task

RNG = np.random.default_rng(0)
LOW, MIDDLE, HIGH = (RNG.normal(mean, 0.02, 64) for mean in (0.2, 0.5, 0.8))


def scored(**groups: np.ndarray) -> dict[str, Scored]:
    return {name: Scored(list(map(float, rewards)), all_same=False) for name, rewards in groups.items()}


def picture(red: int, green: int = 0, blue: int = 0, noise: int = 4) -> np.ndarray:
    """A frame of about one colour, (1, 16, 16, 3)."""
    colour = np.array([red, green, blue])
    return (colour + RNG.integers(0, noise + 1, (1, 16, 16, 3))).clip(0, 255).astype(np.uint8)


class Brightness:
    """Reward a frame's mean value, 0..1."""

    reads = "frames"

    def compute_reward(self, batch):
        return torch.as_tensor(batch).float().mean(dim=(1, 2, 3)) / 255


# The judgement ----------------------------------------------------------------------------------------------


def test_auc_by_hand():
    assert auc([3, 4], [1, 2]) == 1.0
    assert auc([1], [1]) == 0.5
    assert auc([2, 4], [1, 3]) == 0.75
    assert auc([1], [2, 3]) == 0.0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=20), st.lists(st.integers(0, 5), min_size=1, max_size=20)
)
def test_auc_counts_pairs(goal, other):
    pairs = [(g > o) + 0.5 * (g == o) for g in goal for o in other]
    assert auc(goal, other) == pytest.approx(np.mean(pairs))
    assert auc(goal, other) + auc(other, goal) == pytest.approx(1.0)


def test_separate_states_are_said_to_separate():
    result = judge(scored(start=LOW, random=MIDDLE, goal=HIGH))
    assert result.verdict == "separates" and result.warnings == ()
    assert (result.auc_start, result.auc_random) == (1.0, 1.0)
    assert [group.name for group in result.groups] == ["start", "random", "goal"]
    assert result.groups[2].mean == pytest.approx(0.8, abs=0.01)
    assert sum(result.groups[0].histogram) == 64


def test_it_never_says_separates_without_goal_states():
    result = judge(scored(start=LOW, random=HIGH))
    assert result.verdict == "unknown" and "--goal-frames" in result.explanation
    assert result.auc_start is None and result.auc_random is None
    few = judge(scored(start=LOW, random=LOW, goal=HIGH[:3]))
    assert few.verdict == "unknown" and "3 goal states" in few.explanation
    alone = judge(scored(goal=HIGH))
    assert alone.verdict == "unknown" and "too few other states" in alone.explanation


def test_a_flat_reward_is_flat():
    result = judge(scored(start=np.full(64, 0.3), random=np.full(64, 0.3), goal=np.full(64, 0.3)))
    assert result.verdict == "flat" and "the reward is flat" in result.warnings[0]
    tiny = np.full(64, 0.2003) + np.arange(64) * 1e-17  # narrower than NumPy's bins can be
    assert judge(scored(start=tiny, random=tiny)).verdict == "flat"
    chance = {name: 0.3 + 1e-5 * values for name, values in (("start", LOW), ("random", LOW), ("goal", HIGH))}
    assert judge(scored(**chance)).verdict == "flat"  # in order, but by less than an encoder resolves


def test_a_reversed_reward_is_reversed():
    result = judge(scored(start=HIGH, random=MIDDLE, goal=LOW))
    assert result.verdict == "reversed" and any("reversed" in warning for warning in result.warnings)


def test_an_overlap_is_weak():
    assert judge(scored(start=LOW, random=HIGH, goal=HIGH)).verdict == "weak"


def test_starts_that_are_goals_are_not_compared():
    result = judge(scored(start=HIGH, random=LOW, goal=HIGH), start_is_goal=1.0)
    assert result.verdict == "separates" and result.auc_start is None
    assert "100% of the start states already show the goal" in result.warnings[0]


def test_rewards_that_are_not_finite_are_counted_and_left_out():
    result = judge(scored(start=LOW, random=np.append(MIDDLE, [np.nan, np.inf]), goal=HIGH))
    assert result.verdict == "separates" and "2 of 194 rewards are not finite" in result.warnings[0]


def test_prompts_are_warned_of():
    assert prompt_warnings(["a red lamp"], ["a green lamp"], FakeEncoder()) == []
    assert "the goal is empty" in prompt_warnings([" "], ["a"], FakeEncoder())[0]
    assert "the baseline is empty" in prompt_warnings(["a"], [], FakeEncoder())[0]
    assert "the same words" in prompt_warnings(["A lamp "], ["a lamp"], FakeEncoder())[0]
    assert "hardly tells" in prompt_warnings(["red lamp"], ["red light"], FakeEncoder())[0]
    long = "red " * 20
    (cut,) = prompt_warnings([long], ["green"], FakeEncoder())
    assert "its end is cut off" in cut and len(cut) < 140


def test_black_constant_and_still_frames_are_warned_of():
    frames = {
        "start": [np.zeros((2, 16, 16, 3), np.uint8), picture(90)],
        "random": [np.full((3, 16, 16, 3), (200, 10, 10), np.uint8)],
    }
    result = preflight(RedReward(), frames)
    assert "2 of 3 start frames are black: check the renderer and camera" in result.warnings
    assert "3 of 3 random frames have one colour: check the camera" in result.warnings
    assert any("random actions change nothing" in warning for warning in result.warnings)


def test_goal_and_baseline_embeddings_give_margin_and_reference():
    reward = GoalBaselineReward(FakeEncoder(), "red", "green", 0.5)
    groups = {
        "start": [picture(20, 150) for _ in range(9)],
        "random": [picture(60, 120) for _ in range(9)],
        "goal": [picture(200, 5) for _ in range(9)],
    }
    result = preflight(reward, groups)
    start, random, goal = result.groups
    assert result.verdict == "separates"
    assert start.margin < random.margin < 0 < goal.margin
    at_baseline = reward.reward_of_embeddings(reward.baseline_embedding[None])
    assert result.baseline_reward == pytest.approx(float(at_baseline))
    text = render_text(result)
    assert "verdict: separates" in text and "AUC 1.000" in text and "baseline would earn" in text


# Where the frames come from ---------------------------------------------------------------------------------


class StepWorld(FakeWorld):
    """Frames grow red with the step; the goal is step 3 and later."""

    def render_states(self, states, camera=None, size=None):
        frames = np.zeros((len(states), 16, 16, 3), np.uint8)
        frames[..., 0] = 10 + 60 * states[:, 2, None, None]
        frames[:, :4, :4, 1] = 90
        return frames


def test_a_world_gives_goal_states_itself():
    drawn = samples.sample_world(StepWorld(4, horizon=6), np.random.default_rng(0), 40)
    assert drawn.start_is_goal == 0.0 and drawn.notes == []
    result = preflight(RedReward(), drawn.batches, start_is_goal=drawn.start_is_goal)
    assert result.verdict == "separates"
    counts = {group.name: group.count for group in result.groups}
    assert counts["start"] == counts["goal"] == 40 and 0 < counts["random"] < 40  # goal states are taken out


def test_a_world_whose_starts_are_goals_says_so():
    class AllGoals(StepWorld):
        def success(self, states):
            return states[:, 2] < 2

    drawn = samples.sample_world(AllGoals(4, horizon=6), np.random.default_rng(0), 16)
    assert drawn.start_is_goal == 1.0
    assert "start" in drawn.batches


def test_a_world_without_goal_states_gives_no_verdict():
    class NoGoals(StepWorld):
        def success(self, states):
            return np.zeros(len(states), bool)

    drawn = samples.sample_world(NoGoals(4, horizon=6), np.random.default_rng(0), 16)
    assert "goal" not in drawn.batches and "no goal state" in drawn.notes[0]


def test_the_same_seed_draws_the_same_states():
    def rewards() -> list[float]:
        drawn = samples.sample_world(StepWorld(4, horizon=6), np.random.default_rng(3), 24)
        return pf.score_frames(RedReward(), drawn.batches["random"]).rewards

    assert rewards() == rewards()


def test_any_env_needs_pictures_of_the_goal(tmp_path):
    for number in range(10):
        Image.fromarray(np.tile(picture(220)[0], (1, 2, 1))).save(tmp_path / f"{number}.png")
    env = CounterEnv(length=5, tag=40)
    drawn = samples.sample_env(env, np.random.default_rng(0), 32)
    assert set(drawn.batches) == {"start", "random"}
    assert preflight(Brightness(), drawn.batches).verdict == "unknown"
    drawn = samples.sample_env(env, np.random.default_rng(0), 32, tmp_path)
    result = preflight(Brightness(), drawn.batches)
    assert result.verdict == "separates"
    assert {group.name: group.count for group in result.groups} == {"start": 8, "random": 32, "goal": 10}


@pytest.mark.parametrize("kind", ["float", "rgba", "grey", "tiny", "none"])
def test_frames_that_are_no_images_are_refused(kind):
    from vlmrl.frames import check_frames

    class Strict(RedReward):
        def compute_reward(self, batch):
            return super().compute_reward(check_frames(batch))

    drawn = samples.sample_env(OddFrameEnv(kind), np.random.default_rng(0), 8)
    with pytest.raises(UsageError, match="frame"):
        preflight(Strict(), drawn.batches)


def save(path: Path, array: np.ndarray, mode: str | None = None) -> None:
    image = Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(path)


@pytest.mark.parametrize(
    ("array", "mode", "message"),
    [
        (np.zeros((16, 16), np.uint8), None, r"goal frame: got .* in mode L; expected RGB"),
        (np.zeros((16, 16, 4), np.uint8), None, r"in mode RGBA; expected RGB"),
        (np.zeros((1, 1, 3), np.uint8), None, r"1x1 pixels; expected sides of 8 pixels or more"),
    ],
)
def test_pictures_of_another_kind_are_refused(tmp_path, array, mode, message):
    save(tmp_path / "a.png", array, mode)
    with pytest.raises(UsageError, match=message):
        list(samples.read_frames(tmp_path))


def test_a_huge_picture_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    with Image.new("1", (20_000, 4_000)) as image:
        image.save(tmp_path / "a.png")

    def decode(*_: object) -> None:
        raise AssertionError("was decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
    with pytest.raises(UsageError, match="goal frame: got"):
        list(samples.read_frames(tmp_path))


def test_folders_without_pictures_and_damaged_ones_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"goal frames: got .*none; expected a folder that exists"):
        samples.read_frames(tmp_path / "none")
    with pytest.raises(UsageError, match=r"expected a folder with pictures \(\.png"):
        samples.read_frames(tmp_path)
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match=r"goal frame: got .*a\.png .*can be read"):
        list(samples.read_frames(tmp_path))
    save(tmp_path / "a.png", np.full((16, 16, 3), 9, np.uint8), "P")
    (frame,) = samples.read_frames(tmp_path)
    assert frame.shape == (1, 16, 16, 3) and frame.dtype == np.uint8


@pytest.fixture
def registered():
    """Fake envs under ids of their own."""
    ids = {"tests/Counter-v0": CounterEnv, "tests/Blind-v0": BlindEnv}
    for name, cls in ids.items():
        gymnasium.register(name, entry_point=cls)
    yield
    for name in ids:
        del gymnasium.registry[name]


def test_envs_are_opened_or_refused(registered):
    task = Task("t", "tests/Counter-v0", ("a",), ("b",), (("tag", 7),))
    env = making.open_task(task)
    assert env.unwrapped.tag == 7 and env.render_mode == "rgb_array"
    with pytest.raises(UsageError, match=r"camera: got top for tests/Counter-v0; .*--env-kwargs"):
        making.open_task(replace(task, camera="top"))
    with pytest.raises(UsageError, match=r"env: got tests/Counter-v0 with \{'no': 1\}"):
        making.open_task(replace(task, env_kwargs=(("no", 1),)))
    with pytest.raises(UsageError, match="env: got tests/Blind-v0 with render modes"):
        making.open_task(replace(task, env_id="tests/Blind-v0", env_kwargs=()))


def test_an_env_whose_vector_env_cannot_be_made_is_made_one_by_one():
    def no_frames(num_envs: int) -> None:
        raise AssertionError("made although it takes no render_mode")

    name = "tests/Twofold-v0"
    gymnasium.register(name, entry_point=CounterEnv, vector_entry_point=no_frames)
    try:
        task = Task("t", name, ("a",), ("b",))
        env, envs = making.open_task(task), making.make_envs(task, 2, horizon=5)
        assert env.render_mode == "rgb_array" and envs.num_envs == 2
        env.close(), envs.close()
    finally:
        del gymnasium.registry[name]


def test_mountain_car_is_opened_as_a_world_and_drawn():
    envs = making.open_task(replace(get_task("mountain_car"), horizon=10, render_size=(32, 32)), num_envs=2)
    try:
        drawn = samples.sample_world(envs, np.random.default_rng(0), 8)
        frames = {name: np.concatenate(list(batches)) for name, batches in drawn.batches.items()}
    finally:
        envs.close()
    assert {name: batch.shape for name, batch in frames.items()} == dict.fromkeys(
        ("start", "random", "goal"), (8, 32, 32, 3)
    )
    assert pf.score_frames(RedReward(), [frames["goal"]]).num_black == 0
    assert isinstance(RedReward().compute_reward(frames["goal"]), torch.Tensor)
