"""The benchmarks run, write rows that say what they were measured on, and resume. How fast is theirs to say."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from benchmarks import (
    bad_answers,
    encoder_speed,
    import_time,
    large_models,
    learned_reward,
    ppo_parity,
    preference_labels,
    whole_loop,
)
from benchmarks.label_pools import pools_of
from experiments.embedded import metaworld
from vlmrl.errors import UsageError
from vlmrl.tasks import get_task


def test_parity_trains_both_agents_once_on_each_task_and_seed(
    tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "parity.json"
    arguments = {"tasks": ("CartPole-v1",), "steps": 512, "quick": True, "out": out}
    ppo_parity.main(seeds=(0,), **arguments)
    rows = json.loads(out.read_text())
    assert [(row["agent"], row["seed"], row["steps"]) for row in rows] == [
        ("vlmrl", 0, 512), ("stable-baselines3", 0, 512)]  # fmt: skip
    assert all(row["return_mean"] > 0 and row["train_seconds"] > 0 and row["hardware"] for row in rows)
    assert "difference" in capsys.readouterr().out
    ppo_parity.main(seeds=(0, 1), **arguments)
    assert [row["seed"] for row in json.loads(out.read_text())] == [0, 0, 1, 1]
    monkeypatch.setattr(ppo_parity, "train_ours", lambda *a: pytest.fail("ran again what is in the file"))
    ppo_parity.main(seeds=(0, 1), **arguments)
    assert "95% interval" in capsys.readouterr().out


@pytest.mark.parametrize("env_id", sorted(ppo_parity.TASKS))
def test_parity_gets_a_policy_that_acts_from_both_agents(env_id: str) -> None:
    task = ppo_parity.TASKS[env_id]
    small = replace(task, config=replace(task.config, num_steps=32, num_minibatches=2, num_epochs=1))
    env = gymnasium.make_vec(env_id, num_envs=3, vectorization_mode="sync")
    obs, _ = env.reset(seed=0)
    for train in (ppo_parity.train_ours, ppo_parity.train_theirs):
        actions = train(env_id, small, 1, 0)(obs)
        assert env.action_space.contains(actions.astype(env.action_space.dtype))
    env.close()


def test_parity_refuses_a_task_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--tasks.*Ant-v5.*CartPole-v1"):
        ppo_parity.main(tasks=("Ant-v5",), out=tmp_path / "parity.json")
    assert not (tmp_path / "parity.json").exists()


def test_encoder_speed_measures_ours_beside_plain_open_clip(tmp_path: Path) -> None:
    out = tmp_path / "speed.json"
    encoder_speed.main(encoder_speed.SpeedConfig(sides=(64,), repeats=1, seconds=0.02, out=out))
    found = json.loads(out.read_text())
    assert {row["how"] for row in found["rows"]} == {"vlmrl", "plain open_clip"}
    assert all(row["frames_per_s"] > 0 for row in found["rows"]) and found["hardware"]["cores"] >= 1


def test_large_models_are_measured_each_in_a_process_of_its_own(tmp_path: Path, capsys) -> None:
    out = tmp_path / "large.json"
    config = large_models.CostConfig(models=("embedded",), repeats=1, batch_size=1, out=out)
    large_models.main(config)
    (row,) = json.loads(out.read_text())
    assert row["frames_per_s"] > 0 and row["memory_mib"] > 0 and row["image_size"] == 64
    assert "| embedded | cpu | 64 | 1.4M |" in out.with_suffix(".md").read_text()
    large_models.main(config)
    assert json.loads(out.read_text()) == [row]
    large_models.main(replace(config, batch_size=2))
    assert [row["batch_size"] for row in json.loads(out.read_text())] == [32]


def test_a_large_model_needs_no_weights_and_no_tokenizer_to_be_measured() -> None:
    encoder = large_models.make_encoder("ViT-S-32-alt", "cpu")
    assert encoder.embed_images(large_models.probe_frames(1, 224)).shape == (1, 256)


def test_whole_loop_sets_the_loop_beside_its_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "loop.json"
    arguments = ["--repeats", "1", "--updates", "1", "--out", str(out), "--worlds", "2", "--steps", "4"]
    monkeypatch.setattr(sys, "argv", ["whole_loop", *arguments])
    whole_loop.main()
    found = json.loads(out.read_text())
    (row,) = found["rows"]
    assert set(row["alone"]) == {"act", "step", "render", "embed and score", "update"}
    assert row["ratio"] == pytest.approx(row["whole"] / sum(row["alone"].values()))


def test_preference_labels_are_timed_and_held_against_progress(tmp_path: Path) -> None:
    out = tmp_path / "labels.json"
    arguments = ["--tasks", "cartpole", "--pairs", "40", "--calibration", "30", "--out", str(out)]
    preference_labels.main(arguments)
    (row,) = json.loads(out.read_text())
    assert row["pairs"] == 40 and row["seconds"] == pytest.approx(
        row["seconds_drawing"] + row["seconds_asking"]
    )
    assert 0.5 < row["accuracy"] <= 1 and row["temperature"] > 0 and row["hardware"]["cores"] >= 1
    bins = row["accuracy_by_gap"]
    assert sum(b["count"] for b in bins) == 40 and [b["low"] for b in bins] == sorted(b["low"] for b in bins)
    with pytest.raises(UsageError, match="task: got 'nothing'"):
        preference_labels.main(["--tasks", "nothing", "--out", str(out)])


def test_import_time_is_that_of_a_fresh_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_time, "RESULTS", tmp_path)
    monkeypatch.setattr(import_time, "REPEATS", 1)
    import_time.main()
    assert 0 < json.loads((tmp_path / "import_time.json").read_text())["seconds_median"] < 60


def test_a_learned_rewards_time_is_measured_beside_drawing(tmp_path: Path) -> None:
    out = tmp_path / "learned.json"
    setting = learned_reward.Setting(task="cartpole", num_steps=8, num_envs=16, rollouts=3, frames=8, out=out)
    found = learned_reward.main(setting)
    rows = json.loads(out.read_text())["rows"]
    assert len(rows) == 3 and sum(row["asked"] for row in rows) == 38 and found["seconds_to_draw_all"] > 0


def test_bad_answers_leave_no_wrong_label_and_text_is_counted(tmp_path: Path) -> None:
    out = tmp_path / "bad.json"
    bad_answers.main(["--pairs", "12", "--attacked", "4", "--tasks", "cartpole", "--out", str(out)])
    found = json.loads(out.read_text())
    assert [(row["prompt"], row["share"]) for row in found["faults"]] == [
        (prompt, share) for prompt in ("one-stage", "two-stage") for share in bad_answers.SHARES
    ]
    for row in found["faults"]:
        assert row["wrong"] == 0 and row["labels"] < row["pairs"] == 12
        assert sum(row["faults"].values()) <= row["requests"] and row["failure_rate"] > 0
    (row,) = found["text"]
    assert row["decided"] == 12 and 0 <= row["flip_rate"] <= 1


@pytest.mark.skipif(not metaworld.is_installed(), reason="needs Meta-World's package")
def test_frames_of_episodes_have_the_objects_way_to_its_target_as_progress() -> None:
    pools = pools_of(get_task("drawer_open"))
    try:
        pool = pools.make(24, np.random.default_rng(0))
    finally:
        pools.close()
    segments = pool.draw(range(24))
    progress = np.array([segment.progress[0] for segment in segments])
    assert segments[0].frames.shape == (1, 64, 64, 3) and len({s.key for s in segments}) > 12
    assert progress.max() <= 0 and progress.min() > -0.25 and np.ptp(progress) > 0.1
