"""The humanoid's plan of runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from test_humanoid_experiments import row

from experiments import common, humanoid, humanoid_report, summary
from experiments import humanoid_conditions as conditions
from vlmrl.errors import UsageError
from vlmrl.tasks import POSES, get_task
from vlmrl.training import TrainConfig


def test_the_plan_holds_what_the_tables_need_and_is_narrowed_by_what_is_named() -> None:
    plan = conditions.planned()
    assert len(plan) == len(set(plan)) and plan[0] == ("asked_rarely", conditions.HUMANOID[0], 10)
    assert {task for condition, task, _ in plan if condition == "asked_rarely"} == set(conditions.TASKS)
    assert {condition for condition, _, _ in plan} == set(conditions.CONDITIONS)
    untrained = conditions.planned(["control_untrained"])
    assert {(t, s) for _, t, s in untrained} == {
        (t, s) for t in conditions.HUMANOID for s in conditions.THREE
    }
    for always in conditions.planned(["asked_always"]):
        assert ("asked_rarely", *always[1:]) in plan, "compared over the same seeds"
    for name in ("simulated_large_vlm", "simulated_large_vlm_always"):
        assert {(t, s) for _, t, s in conditions.planned([name])} == {(t, s) for t in conditions.COMPARED for s in (10,)}  # fmt: skip
    assert conditions.planned(["control_blank"], ["humanoid_one_leg"], [10, 14]) == [("control_blank", "humanoid_one_leg", 10)]  # fmt: skip
    with pytest.raises(UsageError, match="plan: got conditions"):
        conditions.planned(["control_blank"], ["humanoid_splits"])
    assert all(conditions.horizons_of(task) == (100, 400) for task in conditions.HUMANOID), "standing too"


def test_an_untrained_agent_is_judged_without_any_update(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "train", lambda *_: pytest.fail("trained"))
    monkeypatch.setattr(humanoid, "report", lambda *_, **__: None)
    arguments = ["--tasks", "humanoid_lotus", "humanoid_standing", "--conditions", "control_untrained", "--seeds", "10", "--episodes",
                 "3", "--runs", str(tmp_path / "runs"), "--results", str(tmp_path / "x.json")]  # fmt: skip
    humanoid.main(arguments)
    rows = json.loads((tmp_path / "x.json").read_text())
    assert [(r["task"], r["success"]) for r in rows] == [
        ("humanoid_lotus", {"100": 0.0, "400": 0.0}), ("humanoid_standing", {"100": 0.0, "400": 0.0})]  # fmt: skip
    assert all(
        r["env_steps"] == r["frames_scored"] == 0 and not r["learned"] and r["weights"] is None for r in rows
    )
    assert all(r["steps_to_success"] is None and r["curve"] == [] and r["drift"] is None for r in rows)
    assert not list((tmp_path / "runs").glob("*/config.json")), "it leaves no run"
    table = humanoid_report.table(rows)
    assert "| control_untrained | 10 | 0% | 0% | not by all | 0 | 0 |" in table
    humanoid.main(arguments)
    assert json.loads((tmp_path / "x.json").read_text()) == rows, "and is not judged again"


def test_what_cannot_be_run_here_stops_only_who_asked_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[str] = []
    monkeypatch.setattr(humanoid, "configured", lambda config, condition: conditions.never_saw(config, tmp_path)
                        if condition == conditions.NEVER_SAW else replace(config, reward="constant"))  # fmt: skip
    monkeypatch.setattr(humanoid, "report", lambda *_, **__: None)

    def run_row(config: TrainConfig, condition: str, _: int) -> dict:
        ran.append(condition)
        return {**row(config.task.name, condition, config.seed), "encoder": None, "settings": {}}

    monkeypatch.setattr(humanoid, "run_row", run_row)
    arguments = ["--tasks", "humanoid_splits", "--seeds", "10", "--runs", str(tmp_path), "--results", str(tmp_path / "x.json")]  # fmt: skip
    for more, code, expected in (
        ([], 1, ["asked_rarely", "control_untrained", "ceiling_state_similarity"]),
        (["--conditions", "encoder_never_saw"], 2, []),
    ):
        ran.clear()
        with pytest.raises(SystemExit) as caught:
            humanoid.main([*arguments, *more])
        assert caught.value.code == code and ran == expected
        assert "trained without splits" in capsys.readouterr().err


def test_each_pose_has_a_script_of_one_form() -> None:
    folder = Path(humanoid.__file__).parent
    forms = set()
    for pose in POSES:
        text = (folder / f"humanoid_{pose}.py").read_text()
        sentence = get_task(f"humanoid_{pose}").goal[0]
        assert f"'{sentence}'" in text and f'"humanoid_{pose}"' in text
        forms.add(text.replace(f"humanoid_{pose}", "TASK").replace(sentence, "GOAL"))
    assert len(forms) == 1


def columns() -> list[tuple[str, int]]:
    found = conditions.planned([*summary.OF_THE_PLAN], ["humanoid_kneeling"])
    return [(condition, seed) for condition, _, seed in found]


def kneeling(condition: str, seed: int) -> dict:
    return {
        **row("humanoid_kneeling", condition, seed, 0.0 if "control" in condition else 0.99),
        "encoder": "embedded",
    }


def shown() -> list[str]:
    (line,) = [
        line for line in summary.table().splitlines() if line.startswith('| "a humanoid robot kneeling"')
    ]
    return line.strip("| ").split(" | ")[2:]


def test_the_readme_shows_kneeling_by_the_plans_rows_once_all_of_them_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summary, "RESULTS", tmp_path)
    old = [{**kneeling("vlm", seed), "wall_seconds": 120.0} for seed in range(3)]
    (tmp_path / "humanoid_kneeling.json").write_text(json.dumps(old))
    plan = [kneeling(*run) for run in columns()]
    others = [kneeling("asked_rarely", 10), {**kneeling("asked_always", 10), "task": "humanoid_lotus"}]
    assert len(plan) == 15
    (tmp_path / "humanoid.json").write_text(json.dumps([*others, *plan[1:]]))
    assert shown() == ["**99 / 99 / 99**", "not run", "not run", "not run", "not run", "1k", "2.0"], (
        "no mixture"
    )
    (tmp_path / "humanoid.json").write_text(json.dumps([*others, *plan]))
    three = "(seed 10, 11, 12)"
    assert shown() == [
        f"**99 / 99 / 99 {three}**",
        f"99 / 99 / 99 {three}",
        *[f"0 / 0 / 0 {three}"] * 3,
        "1k",
        "1.0",
    ]


def test_the_readme_follows_the_published_book_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []
    monkeypatch.setattr(humanoid_report, "RESULTS", tmp_path / "published")
    monkeypatch.setattr(summary, "write", lambda: written.append(tmp_path))
    for folder in ("published", "quick"):
        (tmp_path / folder).mkdir()
        results = tmp_path / folder / "humanoid.json"
        results.write_text(json.dumps([kneeling("asked_rarely", 10)]))
        humanoid_report.report(results, tmp_path / "runs", videos=False)
        assert written == [tmp_path] and results.with_suffix(".md").is_file()
