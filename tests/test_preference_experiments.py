"""The preference experiments: conditions become settings, rows say what the issue asks for, the book resumes."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import gymnasium
import pytest
from fakes import FakeEncoder, LampEnv
from stable_baselines3 import SAC
from test_preference_runs import PREFERENCES, SMALL, draw

from benchmarks import replay_memory
from experiments import preference_targets as targets
from experiments import preferences, sac_preferences
from experiments.book import locked
from vlmrl.rollout import ResumeWarning
from vlmrl.runs import read_metrics
from vlmrl.tasks import Task, get_task
from vlmrl.train_config import TrainConfig
from vlmrl_envs.batched import BatchedWorld

FIELDS = {"task", "labeller", "seed", "success", "oracle_success", "pairs_asked", "label_accuracy", "env_steps",
          "wall_seconds", "hardware", "commit"}  # fmt: skip


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    def preset(name: str) -> TrainConfig:
        task = replace(get_task(name), horizon=6, goal=("red",), baseline=("blue",))
        return TrainConfig(task=task, agent=SMALL, num_envs=8, total_steps=128)

    monkeypatch.setattr(preferences, "preset", preset)
    monkeypatch.setitem(preferences.SETTINGS, "cartpole", preferences.Setting((6,), PREFERENCES))
    monkeypatch.setattr(BatchedWorld, "render_states", draw)
    monkeypatch.setattr("vlmrl.encoders.load_encoder", lambda *_: FakeEncoder())
    return ["--tasks", "cartpole", "--seeds", "0", "--episodes", "3", "--runs", str(tmp_path / "runs"),
            "--results", str(tmp_path / "preferences.json")]  # fmt: skip


def test_rows_carry_the_oracles_success_and_the_book_resumes(
    small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    preferences.main([*small, "--labellers", "control_flipped_labels", "encoder"])
    rows = json.loads((tmp_path / "preferences.json").read_text())
    assert [row["labeller"] for row in rows] == ["oracle", "control_flipped_labels", "encoder"]
    assert all(set(row) >= FIELDS for row in rows)
    assert all(row["oracle_success"] == rows[0]["success"] and row["pairs_asked"] == 30 for row in rows)
    assert [rows[0]["label_accuracy"], rows[1]["label_accuracy"]] == [1.0, 0.0]
    for row, right in zip(rows[:2], (1.0, 0.0), strict=True):
        by_gap = row["label_accuracy_by_gap"]
        assert [part["accuracy"] for part in by_gap] == [right] * 10 and sum(p["count"] for p in by_gap) == 30
        assert by_gap[0]["low"] < by_gap[-1]["high"]
        assert row["flat_stages"] in (0, 1, 2) and row["stages"] == 2 and row["network_failures"] == 0
    assert rows[2]["evidence"] == "in-domain, caption-supervised" and rows[2]["env_steps"] == 128
    monkeypatch.setattr(preferences, "run_row", lambda *_: pytest.fail("ran again what is in the book"))
    preferences.main([*small, "--labellers", "control_flipped_labels"])
    shown = capsys.readouterr().out
    assert "| cartpole | control_flipped_labels | 0 |" in shown and "| 0.0% |" in shown
    assert "0 of 7 tasks reach the oracle's policy" in shown
    written = (tmp_path / "preferences.md").read_text()
    assert "| cartpole | oracle | 100% | 100% |" in written and "to be reached" in written.splitlines()[0]
    assert shown.splitlines()[-2] in (tmp_path / "preferences.md").read_text()


def test_a_row_whose_oracle_is_run_elsewhere_gets_its_success_later(
    small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fcntl")
    (tmp_path / "runs").mkdir()
    with locked(tmp_path / "runs" / "preferences-cartpole-oracle-0.lock"):
        preferences.main([*small, "--labellers", "encoder"])
    (row,) = json.loads((tmp_path / "preferences.json").read_text())
    assert row["labeller"] == "encoder" and row["oracle_success"] is None
    assert "not run" in (tmp_path / "preferences.md").read_text()
    oracle = {**row, "labeller": "oracle", "success": {"6": 0.5}}
    preferences.Book(tmp_path / "preferences.json").add(oracle)
    preferences.main([*small, "--report"])
    rows = json.loads((tmp_path / "preferences.json").read_text())
    assert [row["oracle_success"] for row in rows] == [{"6": 0.5}] * 2
    assert "50%" in (tmp_path / "preferences.md").read_text()


def made(task: str, mine: float, oracle: float | None, seeds: tuple[int, ...] = (0, 1, 2)) -> list[dict]:
    known = {
        "pairs_asked": 9,
        "label_accuracy": 1.0,
        "label_accuracy_wide": None,
        "env_steps": 9,
        "wall_seconds": 60.0,
    }
    reached = None if oracle is None else {"200": oracle}
    return [{"task": task, "labeller": "encoder", "seed": seed, "success": {"200": mine}, "oracle_success": reached, **known}
            for seed in seeds]  # fmt: skip


def test_a_policy_reaches_the_oracles_only_where_that_one_is_good() -> None:
    assert preferences.reaches(made("cartpole", 0.96, 1.0)) == "yes"
    assert preferences.reaches(made("cartpole", 0.94, 1.0)) == "no"
    assert preferences.reaches(made("cartpole", 0.5, 0.5)) == "oracle below 90%"
    assert preferences.reaches(made("cartpole", 1.0, None)) == preferences.reaches([]) == "not run"
    assert "| oracle below 90% |" in preferences.table(made("soccer", 0.5, 0.5))


def test_the_seven_tasks_are_counted_and_stand_first() -> None:
    rows = [*made("cartpole", 1.0, 1.0), *made("soccer", 0.5, 0.5), *made("sweep_into", 1.0, 1.0, (0, 1)),
            *made("drawer_open", 0.9, 1.0), *made("mountain_car", 1.0, 1.0)]  # fmt: skip
    assert preferences.count(rows) == (
        "1 of 7 tasks reach the oracle's policy; not run: straighten_rope, fold_cloth, pass_water; no: drawer_open; "
        "oracle below 90%: soccer; not all seeds: sweep_into."
    )
    assert list(preferences.SETTINGS)[-2:] == ["mountain_car", "humanoid_kneeling"]
    assert list(preferences.SEVEN) == list(preferences.SETTINGS)[:-2]


def test_each_line_of_the_issues_table_is_read_from_rows_and_benchmarks(tmp_path: Path) -> None:
    assert targets.table([], tmp_path).count("| not run |") == 6 and targets.gap_table([]) == ""
    rows = made("cartpole", 1.0, 1.0)
    for row, accuracies in zip(rows, ([0.5, 1.0], [0.7, 1.0], [0.6, 0.7]), strict=True):
        row["label_accuracy_by_gap"] = [{"low": 0, "high": 1, "count": 9, "accuracy": a} for a in accuracies]
    for who, success in (("control_random_labels", 0.1), ("control_flipped_labels", 0.97)):
        rows += [{**row, "labeller": who, "success": {"200": success}} for row in made("cartpole", 1.0, 1.0)]
    labels = [{"task": "cartpole", "seconds": 7.0, "pairs": 1000, "hardware": {"cores": 2}, "accuracy_above_median_gap": 0.98},
              {"task": "soccer", "seconds": 9.0, "pairs": 1000, "hardware": {"cores": 2}, "accuracy_above_median_gap": 0.9},
              {"task": "humanoid_kneeling", "seconds": 99.0, "pairs": 1000}]  # fmt: skip
    spoilt = {"share": 0.3, "labels": 150, "wrong": 0, "failure_rate": 0.2, "stopped": ""}
    for name, content in (
        ("preference_labels", labels), ("replay_memory", {"gibibytes": 1.5, "steps": 1_000_000}),
        ("bad_answers", {"faults": [spoilt, {**spoilt, "failure_rate": 0.25}, {**spoilt, "share": 0.9, "wrong": 9}]}),
    ):  # fmt: skip
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    found = [
        line.split(" | ")[-1].removesuffix(" |") for line in targets.table(rows, tmp_path).splitlines()[2:]
    ]
    assert found[0].startswith("1 of 7 tasks reach the oracle's policy; not run: straighten_rope")
    assert found[1:] == [
        "1 of 14 fail, with at most 97% (control_flipped_labels, cartpole); 12 not run", "at most 9",
        "cartpole 98.0%, soccer 90.0%, straighten_rope not run, fold_cloth not run, pass_water not run, drawer_open not run, "
        "sweep_into not run", "at most 9.0 s (soccer, 1,000 pairs on 2 cores)", "1.50 GiB at 1,000,000 steps",
        "0 wrong of 300 labels; 20.0% and 25.0% of replies reported unusable; completed",
    ]  # fmt: skip
    assert targets.gap_table(rows).splitlines()[2:] == ["| cartpole | encoder | 60% | 90% |"]


def test_conditions_become_settings() -> None:
    flips = {
        who: preferences.configured("cartpole", who, 3).preferences.oracle.flip
        for who in preferences.LABELLERS
    }
    assert flips == {"encoder": 0, "oracle": 0, "oracle_noisy": 0.1, "control_random_labels": 0.5,
                     "control_flipped_labels": 1}  # fmt: skip
    for task in preferences.SETTINGS:
        config = preferences.configured(task, "encoder", 3)
        assert config.labeller == "encoder" and config.seed == config.preferences.oracle.seed == 3
        asked = config.preferences
        stages = -(-config.total_steps // asked.every)
        assert (
            asked.pairs <= 1000 and asked.first_pairs + (stages - 1) * asked.stage_pairs >= 0.8 * asked.pairs
        )


class LitLamp(LampEnv):
    """An environment of which an episode ends in success where the lamp is lit."""

    def __init__(self, render_mode: str | None = None, horizon: int = 8) -> None:
        super().__init__(continuous=True, length=horizon)

    def step(self, action):
        obs, _, terminated, truncated, info = super().step(action)
        ended = {"is_success": self.light > 0.5} if truncated else {}
        return obs, self.light, terminated, truncated, info | ended


@pytest.fixture
def lamp(small: list[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runner's arguments for a plain environment, which stable-baselines3's SAC is trained in."""
    gymnasium.register("LitLamp-v0", entry_point=LitLamp)
    task = Task("soccer", "LitLamp-v0", ("red",), ("blue",), horizon=8)
    monkeypatch.setattr(preferences, "preset", lambda name: TrainConfig(task=task))
    monkeypatch.setitem(preferences.SETTINGS, "soccer", preferences.Setting((8,), PREFERENCES, 256))
    monkeypatch.setattr(sac_preferences, "load_encoder", lambda *_: FakeEncoder())
    monkeypatch.setattr(sac_preferences, "EXPLORE", 96)
    monkeypatch.setattr(sac_preferences, "ROW_EVERY", 64)
    small_net = {"learning_starts": 32, "batch_size": 16, "policy_kwargs": {"net_arch": [8]}}
    monkeypatch.setattr(sac_preferences, "SETTINGS", sac_preferences.SETTINGS | small_net)
    yield ["--tasks", "soccer", *small[2:]]
    gymnasium.registry.pop("LitLamp-v0")


def test_a_plain_environment_is_learned_by_sac_and_a_finished_run_is_not_trained_again(
    lamp: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preferences.main([*lamp, "--labellers", "oracle"])
    (row,) = json.loads((tmp_path / "preferences.json").read_text())
    assert (
        set(row) >= FIELDS
        and row["agent"]["name"] == "SAC"
        and row["env_steps"] == 256
        and row["pairs_asked"] == 30
    )
    assert row["cpu_seconds"] > 0 and row["sitting_seconds"] >= row["wall_seconds"]
    assert row["label_accuracy"] == 1.0 and list(row["success"]) == ["8"] and row["curve"][-1][0] == 256
    folder = tmp_path / "runs" / "preferences-soccer-oracle-0"
    assert [line["global_step"] for line in read_metrics(folder)] == [64, 128, 192, 256]
    (tmp_path / "preferences.json").unlink()
    monkeypatch.setattr(SAC, "train", lambda *_, **__: pytest.fail("trained what was trained to the end"))
    with pytest.warns(ResumeWarning):
        preferences.main([*lamp, "--labellers", "oracle"])
    (again,) = json.loads((tmp_path / "preferences.json").read_text())
    assert again["success"] == row["success"] and again["wall_seconds"] >= row["wall_seconds"]
    trained: list[int] = []
    monkeypatch.setattr(SAC, "train", lambda *_, **__: trained.append(1))
    monkeypatch.setattr(sac_preferences, "SETTINGS", sac_preferences.SETTINGS | {"use_sde_at_warmup": True})
    preferences.main(
        [*lamp, "--labellers", "oracle"]
    )  # an agent of other settings: row and folder begin anew
    (tuned,) = json.loads((tmp_path / "preferences.json").read_text())
    assert trained and ["use_sde_at_warmup", True] in tuned["settings"]["agent"]["arguments"]
    assert tuned["settings"]["num_envs"] == sac_preferences.NUM_ENVS
    trained.clear()
    preferences.main([*lamp, "--labellers", "oracle"])
    assert not trained
    preferences.main(
        [*lamp, "--labellers", "oracle", "--total-steps", "64"]
    )  # other settings: from the start
    assert read_metrics(folder)[-1]["global_step"] == 64


def test_actions_can_be_held_and_steps_stay_those_of_the_environment(lamp: list[str], tmp_path: Path) -> None:
    config = preferences.configured("soccer", "oracle", 0)
    assert sac_preferences.settings_of(config, 2) != sac_preferences.settings_of(config)
    assert "action_repeat" not in str(sac_preferences.settings_of(config)), (
        "rows of before would be run again"
    )
    env = sac_preferences.make_held(config, 3)
    env.reset(seed=0)
    ends = [env.step(env.action_space.sample())[3] for _ in range(3)]
    assert ends == [False, False, True] and env.render().ndim == 3  # 3 + 3 + 2 steps of 8
    preferences.main([*lamp, "--labellers", "oracle", "--action-repeat", "2"])
    (row,) = json.loads((tmp_path / "preferences.json").read_text())
    assert (row["env_steps"], row["frames_scored"], row["agent"]["action_repeat"]) == (256, 128, 2)
    assert row["pairs_asked"] == 30 and row["label_accuracy"] == 1.0 and list(row["success"]) == ["8"]
    folder = tmp_path / "runs" / "preferences-soccer-oracle-0"
    assert [line["global_step"] for line in read_metrics(folder)] == [128, 256]
    with pytest.raises(SystemExit):
        preferences.main([*lamp, "--action-repeat", "0"])


def test_the_memory_benchmark_fills_a_buffer_that_a_run_began(
    lamp: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(replay_memory, "EXPLORED", 48)
    found = replay_memory.measure("soccer", "oracle", 512, 160)
    assert found["steps"] == 512 and found["pairs_asked"] > 20
    assert found["gibibytes"] >= found["gibibytes_before_filling"] > 0 and found["checkpoint_gibibytes"] >= 0
    done = subprocess.CompletedProcess([], 0, f"a warning\n{json.dumps(found)}\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    replay_memory.main(["--out", str(tmp_path / "memory.json")])
    row = json.loads((tmp_path / "memory.json").read_text())
    assert (
        row["limit"] == 4
        and row["hardware"]
        and ("met" in capsys.readouterr().out) == (row["gibibytes"] <= 4)
    )
