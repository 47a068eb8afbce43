"""The humanoid's plan of runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from test_humanoid_experiments import row

from experiments import humanoid
from experiments import humanoid_conditions as conditions
from vlmrl.errors import UsageError
from vlmrl.training import TrainConfig


def test_the_plan_holds_what_the_tables_need_and_is_narrowed_by_what_is_named() -> None:
    plan = conditions.planned()
    assert len(plan) == len(set(plan)) and plan[0] == ("asked_rarely", conditions.HUMANOID[0], 10)
    assert {task for condition, task, _ in plan if condition == "asked_rarely"} == set(conditions.TASKS)
    assert {condition for condition, _, _ in plan} == set(conditions.CONDITIONS)
    for always in conditions.planned(["asked_always"]):
        assert ("asked_rarely", *always[1:]) in plan, "compared over the same seeds"
    for name in ("simulated_large_vlm", "simulated_large_vlm_always"):
        assert {(t, s) for _, t, s in conditions.planned([name])} == {(t, s) for t in conditions.COMPARED for s in (10,)}  # fmt: skip
    assert conditions.planned(["control_blank"], ["humanoid_one_leg"], [10, 14]) == [("control_blank", "humanoid_one_leg", 10)]  # fmt: skip
    with pytest.raises(UsageError, match="plan: got conditions"):
        conditions.planned(["control_blank"], ["humanoid_splits"])


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
        ([], 1, ["asked_rarely", "ceiling_state_similarity"]),
        (["--conditions", "encoder_never_saw"], 2, []),
    ):
        ran.clear()
        with pytest.raises(SystemExit) as caught:
            humanoid.main([*arguments, *more])
        assert caught.value.code == code and ran == expected
        assert "trained without splits" in capsys.readouterr().err
