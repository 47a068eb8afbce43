"""The preference experiments: conditions become settings, rows say what the issue asks for, the book resumes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import FakeEncoder
from test_preference_runs import PREFERENCES, SMALL, draw

from experiments import preferences
from vlmrl.tasks import get_task
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
    assert rows[2]["evidence"] == "in-domain, caption-supervised" and rows[2]["env_steps"] == 128
    monkeypatch.setattr(preferences, "run_row", lambda *_: pytest.fail("ran again what is in the book"))
    preferences.main([*small, "--labellers", "control_flipped_labels"])
    shown = capsys.readouterr().out
    assert "| cartpole | control_flipped_labels | 0 |" in shown and "| 0.0% |" in shown
    assert shown.splitlines()[-1] in (tmp_path / "preferences.md").read_text()


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
