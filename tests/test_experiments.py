"""The experiments' common parts: the book of results resumes, tables and rows say what was measured."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from experiments import common, pretrained_check, summary, weights
from experiments.load import Load
from vlmrl.agents.config import PPOConfig
from vlmrl.encoders import sources
from vlmrl.progress import Progress, ProgressPrinter
from vlmrl.runs import read_metrics
from vlmrl.tasks import get_task
from vlmrl.training import TrainConfig, preset


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    agent = PPOConfig(num_steps=4, num_epochs=1, num_minibatches=1, hidden_sizes=(8,))

    def preset(name: str) -> TrainConfig:
        return TrainConfig(task=replace(get_task(name), horizon=4), agent=agent, num_envs=2, total_steps=16)

    monkeypatch.setattr(common, "preset", preset)
    monkeypatch.setattr(pretrained_check, "preset", preset)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, main, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["experiment", *arguments])
    main()


def test_an_experiment_fills_its_book_once(small: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    results = small / "cartpole.json"
    arguments = ["--seeds", "0", "1", "--conditions", "constant", "state_similarity", "--episodes", "3",
                 "--runs", str(small / "runs"), "--results", str(results)]  # fmt: skip
    run(monkeypatch, lambda: common.main("cartpole", (4,), "A claim."), *arguments)
    rows = json.loads(results.read_text())
    assert [(row["condition"], row["seed"]) for row in rows] == [
        ("constant", 0), ("constant", 1), ("state_similarity", 0), ("state_similarity", 1)]  # fmt: skip
    for row in rows:
        assert {
            "task",
            "goal",
            "success",
            "env_steps",
            "wall_seconds",
            "frames_scored",
            "hardware",
            "commit",
        } <= set(row)
        assert row["env_steps"] == 16 and 0 <= row["success"]["4"] <= 1
    assert "| constant | 0, 1 |" in results.with_suffix(".md").read_text()
    monkeypatch.setattr(common, "run_one", lambda *a: pytest.fail("ran again what is in the book"))
    run(monkeypatch, lambda: common.main("cartpole", (4,), "A claim."), *arguments)
    assert "constant" in capsys.readouterr().out


def test_a_row_of_other_settings_is_measured_again(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = small / "cartpole.json"
    arguments = ["--seeds", "0", "--conditions", "constant", "--episodes", "3", "--runs", str(small / "runs"),
                 "--results", str(results)]  # fmt: skip

    def rows() -> list[dict]:
        run(monkeypatch, lambda: common.main("cartpole", (4,), "A claim."), *arguments)
        return json.loads(results.read_text())

    (first,) = rows()
    assert first["settings"]["agent"]["learning_rate"] == PPOConfig().learning_rate
    known = common.preset
    monkeypatch.setattr(common, "preset", lambda name: replace(known(name), num_envs=4))
    (second,) = rows()
    assert second["settings"]["num_envs"] == 4
    results.write_text(
        json.dumps([{k: v for k, v in second.items() if k != "settings"}])
    )  # as books once were
    monkeypatch.setattr(common, "run_one", lambda *a: pytest.fail("ran again what is in the book"))
    assert "settings" not in rows()[0]


@pytest.fixture
def stopped(small: Path, monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    """The settings of a run that was stopped after two of its four updates."""
    config = replace(common.preset("cartpole"), reward="state_similarity", out=small / "run", total_steps=32)

    class Stopping(ProgressPrinter):
        def __call__(self, progress: Progress) -> None:
            if progress.global_step == 16:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(common, "ProgressPrinter", Stopping)
        with pytest.raises(KeyboardInterrupt):
            common.run_one(config, (4,), 3, None)
    assert len(read_metrics(small / "run")) == 2
    return config


def test_a_stopped_run_goes_on_and_counts_all_its_seconds(
    stopped: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "train", lambda *_: pytest.fail("began anew"))
    before = common.stopped_after(stopped, None)
    assert before is not None and before > 0
    row = common.run_one(stopped, (4,), 3, None, keep_states=True)
    assert row["env_steps"] == 32 and row["wall_seconds"] >= round(before, 1)
    assert row["wall_seconds"] == pytest.approx(before + row["sitting_seconds"], abs=0.2)
    assert {"cpu_seconds", "load_average"} <= row.keys() and row["hardware"]["cores"] >= 1
    assert common.stopped_after(stopped, None) is None, "it is finished: its row must have been deleted"
    monkeypatch.undo()
    whole = replace(stopped, out=stopped.out.with_name("whole"))
    assert common.run_one(whole, (4,), 3, None)["steps_at_goal"] == row["steps_at_goal"]
    rewards = [[line["vlm_reward"] for line in read_metrics(config.out)] for config in (stopped, whole)]
    assert rewards[0] == rewards[1], "to the bit"


def test_load_tells_time_at_work_from_time_that_passed() -> None:
    load = Load()
    time.sleep(0.3)
    waited = load.row()
    assert waited["cpu_seconds"] < 0.3 <= waited["sitting_seconds"] and waited["load_average"] >= 0
    while time.process_time() - load._cpu < 0.2:
        pass
    assert load.row()["cpu_seconds"] >= 0.2


@pytest.mark.parametrize("change", [{"seed": 1}, {"num_envs": 4}, {"total_steps": 48}])  # fmt: skip
def test_a_stopped_run_of_other_settings_or_weights_begins_anew(stopped: TrainConfig, change: dict) -> None:
    assert common.stopped_after(replace(stopped, **change), None) is None
    assert common.stopped_after(stopped, "other weights") is None
    assert common.stopped_after(replace(stopped, out=stopped.out / "nowhere"), None) is None
    made = stopped.out / "config.json"
    made.write_text(made.read_text().replace('"embedded"', '"as-slow-as:ViT-L-14"'))
    assert common.stopped_after(replace(stopped, encoder="as-slow-as:ViT-L-14"), None) is None


def test_pretrained_check_trains_with_a_model_of_ones_own(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = small / "check.json"
    run(monkeypatch, pretrained_check.main, "--only", "cartpole", "--encoder", "random:3", "--render-size", "64",
        "--total-steps", "8", "--runs", str(small / "runs"), "--results", str(results))  # fmt: skip
    (row,) = json.loads(results.read_text())
    assert row["encoder"] == "random:3" and row["frames_scored"] == 8 and row["condition"] == "vlm"


def test_a_book_survives_and_refuses_nothing_it_has(tmp_path: Path) -> None:
    book = common.Book(tmp_path / "deep" / "book.json")
    book.add({"condition": "vlm", "seed": 0})
    again = common.Book(book.path)
    assert again.has(condition="vlm", seed=0) and not again.has(condition="vlm", seed=1)
    book.add({"condition": "vlm", "seed": 1})  # two that write take turns
    again.add({"condition": "vlm", "seed": 2})
    assert [row["seed"] for row in book.rows] == [0, 1, 2]
    book.add({"condition": "vlm", "seed": 1, "weights": "new"}, condition="vlm", seed=1)
    assert [(row["seed"], row.get("weights")) for row in book.rows] == [(0, None), (2, None), (1, "new")]


def test_a_row_of_other_weights_is_measured_again(tmp_path: Path) -> None:
    shipped = weights.fingerprint("embedded")
    assert shipped and len(shipped) == 12 and weights.fingerprint(f"local-dir:{sources.EMBEDDED}") == shipped
    assert (
        weights.fingerprint("as-slow-as:ViT-L-14") == shipped
        and weights.fingerprint("ViT-B-32/openai") is None
    )
    assert weights.identity("constant", "embedded", 0.5) == {}
    book = common.Book(tmp_path / "book.json")
    book.add({"condition": "vlm", "seed": 0, "weights": "old", "alpha": 0.5, "success": {"100": 1.0}})
    known = weights.identity("vlm", "embedded", 0.5)
    assert known == {"encoder": "embedded", "weights": shipped, "alpha": 0.5}
    assert not book.has(condition="vlm", seed=0, **known)
    assert summary.EARLIER in summary.cell(book.rows)
    book.add({**book.rows[0], **known}, condition="vlm", seed=0)
    assert book.has(condition="vlm", seed=0, **known) and len(book.rows) == 1
    assert summary.EARLIER not in summary.cell(book.rows)


def test_the_encoders_data_and_training_run_at_a_small_scale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    from experiments.embedded import data, train
    from vlmrl.encoders import load_encoder

    monkeypatch.setattr(data, "sources", lambda which, scale, worlds: [
        ("cartpole-own", data.world_source(data.CartPole(), 70)),
        ("mountain_car-gymnasium", data.stock.gymnasium_mountain_car(64)),
        ("humanoid-varied", data.world_source(data.Humanoid(), 64, variants=2)),
    ])  # fmt: skip
    run(monkeypatch, data.main, "--out", str(tmp_path / "data"), "--jobs", "1")
    before = sorted(p.name for p in (tmp_path / "data").iterdir())
    assert len(before) == 7 and "manifest.json" in before
    others = [world for world in train.SHARES if world not in ("cartpole", "mountain_car", "humanoid")]
    arguments = ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "model"), "--batch", "16",
                 "--captions", "8", "--without", *others]  # fmt: skip
    run(monkeypatch, train.main, *arguments, "--steps", "2")
    assert '"spearman/cartpole-own"' in capsys.readouterr().out
    run(monkeypatch, train.main, *arguments, "--steps", "2")  # goes on in the folder: nothing is left to do
    encoder = load_encoder(f"local-dir:{tmp_path / 'model'}", "cpu")
    assert encoder.embed_texts(["a robot"]).shape == (1, 128)


def test_the_readmes_results_are_those_of_the_results_files() -> None:
    text = summary.README.read_text()
    shown = text.split(summary.BEGIN)[1].split(summary.END)[0].strip()
    assert shown == summary.table(), "run python -m experiments.summary"


def test_a_quick_try_touches_no_published_row_or_run(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(small)
    monkeypatch.setattr(common, "RESULTS", small / "published")  # and what is named by another path
    for given in (["--total-steps", "8"], ["--episodes", "5"]):
        for more in ([], ["--results", "published/cartpole.json"]):
            with monkeypatch.context() as patch, pytest.raises(SystemExit):
                patch.setattr(common, "fill", lambda *_: pytest.fail("ran it"))
                common.main("cartpole", (4,), "claim", [*given, *more])
            assert f"{given[0]}: got it without --results" in capsys.readouterr().err
    common.main("cartpole", (4,), "claim", ["--total-steps", "8", "--seeds", "0", "--conditions", "constant", "--episodes", "2",
                                            "--results", str(small / "x.json")])  # fmt: skip
    assert (small / "runs" / "quick" / "cartpole-constant-0").is_dir()
    (row,) = json.loads((small / "x.json").read_text())
    assert row["encoder"] is None and row["weights"] is None and row["learned"] is False


def test_a_row_names_the_gpu_that_a_run_comes_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "resolve_device", lambda device: torch.device(device or "cuda:0"))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"the one at {device}")
    assert common.gpu_of(None) == "the one at cuda:0" and common.gpu_of("cpu") is None
    config = replace(preset("cartpole"), device="cuda:1")
    assert common.known_before(config)["hardware"]["gpu"] == "the one at cuda:1"
