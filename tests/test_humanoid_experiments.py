"""The humanoid's runner, its matrix and verdict sheets: rows, tables, refusals, at a small scale."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from experiments import (
    aggregate,
    curves,
    humanoid,
    humanoid_matrix,
    humanoid_report,
    pose_holds,
    pose_verdicts,
    unseen,
)
from experiments import humanoid_conditions as conditions
from experiments.book import Book
from experiments.embedded import splits
from vlmrl.agents.config import PPOConfig
from vlmrl.errors import UsageError
from vlmrl.tasks import COMPOSITIONS, POSES, get_task
from vlmrl.training import TrainConfig, preset
from vlmrl_envs.humanoid import exemplars
from vlmrl_envs.humanoid.rules import Humanoid

RULES = Humanoid()


def row(
    task: str = "humanoid_lotus", condition: str = "asked_always", seed: int = 0, success: float = 1.0
) -> dict:
    found = {"100": success, "400": success}
    return {"task": task, "goal": list(get_task(task).goal), "condition": condition, "seed": seed, "success": found,
            "steps_at_goal": found, "env_steps": 1000, "frames_scored": 1000, "wall_seconds": 60.0, "steps_to_success": 500,
            "composition": task.removeprefix("humanoid_") in COMPOSITIONS, "curve": [[100, None, 0.1], [1000, success, 0.2]]}  # fmt: skip


def test_the_interquartile_mean_by_hand() -> None:
    assert aggregate.iqm([0.0, 1.0, 0.5]) == 0.5
    assert aggregate.iqm([0.0, 0.4, 0.6, 1.0]) == 0.5
    assert aggregate.iqm([0, 0.9, 1, 0.8, 0.1]) == pytest.approx(0.6)
    with pytest.raises(ValueError, match="run a seed"):
        aggregate.iqm([])


@given(st.lists(st.lists(st.floats(0, 1), min_size=2, max_size=5), min_size=1, max_size=3))
def test_the_interval_holds_within_the_values(groups: list[list[float]]) -> None:
    low, high = aggregate.interval(groups, resamples=60)
    values = [v for group in groups for v in group]
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    assert aggregate.interval(groups, resamples=60) == (low, high)


def test_one_seed_says_nothing_of_others() -> None:
    assert aggregate.interval([[0.5]]) == (0.0, 1.0)
    assert "[" not in humanoid.table([row()]) and "100%" in humanoid.table([row()])


def test_the_median_run_and_when_it_first_succeeded() -> None:
    rows = [row(seed=s, success=v) for s, v in enumerate((0.2, 1.0, 0.7))]
    assert aggregate.median_row(rows)["seed"] == 2 and aggregate.median_row(rows[:2])["seed"] == 0
    assert aggregate.steps_to_success([[10, None, 0], [20, 0.5, 0], [30, 0.95, 0], [40, 0.1, 0]]) == 30
    assert aggregate.steps_to_success([[10, 0.89, 0]]) is None
    metrics = [{"global_step": i, "success": None, "vlm_reward": 0.1} for i in range(100)]
    thin = aggregate.thinned(metrics, 7)
    assert len(thin) == 7 and thin[0][0] == 0 and thin[-1] == [99, None, 0.1] and aggregate.thinned([]) == []


def test_minutes_say_how_many_cores_there_were() -> None:
    one, two = (row(seed=cores) | {"hardware": {"cores": cores}} for cores in (1, 2))
    assert aggregate.minutes([one]) == "1.0 on 1 core" and aggregate.minutes([row()]) == "1.0"
    assert "| 1.0 on 1 or 2 cores |" in humanoid.table([one, two])


def metrics(
    given: list[float | None], true: list[float | None], drift: list[int], out: list[int]
) -> list[dict]:
    found = zip(given, true, drift, out, strict=True)
    return [{"global_step": 64 * (i + 1), "learned/given": g, "learned/vlm_reward": t, "learned/drift": float(d), "out_of_view": o,
             "learned/error": 0.3, "learned/rank_correlation": 0.9 - 0.1 * i} for i, (g, t, d, o) in enumerate(found)]  # fmt: skip


def test_a_row_says_how_far_learned_and_true_reward_part() -> None:
    found = aggregate.drift(metrics([None, 0.1, 0.3, 0.5], [0.2, 0.2, 0.2, 0.2], [0, 0, 1, 1], [0] * 4))
    assert found == {"updates": 2, "first_step": 192, "gap": 0.3, "error": 0.3, "rank_correlation": 0.6,
                     "curve": [[64, None, 0.2], [128, 0.1, 0.2], [192, 0.3, 0.2], [256, 0.5, 0.2]]}  # fmt: skip
    assert aggregate.drift([{"global_step": 64, "out_of_view": 0}]) is None, (
        "nothing is learned of the reward"
    )
    unknown = aggregate.drift(metrics([None], [None], [0], [0]))
    assert unknown is not None and unknown["gap"] is None and unknown["first_step"] is None
    long = aggregate.drift(metrics([0.1] * 100, [0.0] * 90 + [0.1] * 10, [0] * 100, [0] * 100))
    assert long is not None and long["gap"] == 0.0 and len(long["curve"]) == 20, "of the last tenth"


def test_a_row_says_how_many_states_no_camera_saw() -> None:
    found = aggregate.out_of_view(metrics([0.1] * 3, [0.1] * 3, [0] * 3, [0, 16, 32]))
    assert found == {"states": 48, "share": 0.25, "largest_share": 0.5}
    assert aggregate.out_of_view([]) == {"states": 0, "share": 0.0, "largest_share": 0.0}


def test_the_table_shows_both_where_rows_have_them() -> None:
    drift = {
        "updates": 0,
        "first_step": None,
        "gap": -0.004,
        "error": 0.2,
        "rank_correlation": 0.92,
        "curve": [],
    }
    out = {"states": 5, "share": 0.005, "largest_share": 0.1}
    rows = [{**row(seed=10), "drift": drift, "out_of_view": out},
            {**row(seed=11), "drift": {**drift, "updates": 3, "first_step": 500, "gap": 0.03}, "out_of_view": {**out, "share": 0.02}}]  # fmt: skip
    text = humanoid.table(rows)
    assert "| -0.004 / +0.030, rank 0.92 / 0.92, drift in 1 of 2 | 2.0% |" in text
    assert "| – | – |" in humanoid.table([row()]), "rows of before"
    assert "| – | 0.5% |" in humanoid.table([{**row(), "drift": None, "out_of_view": out}])


def test_a_run_that_asks_rarely_leaves_both_in_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conditions, "HORIZONS", (4, 8))
    agent = PPOConfig(num_steps=4, num_epochs=1, num_minibatches=1, hidden_sizes=(8,))
    config = TrainConfig(task=replace(get_task("humanoid_kneeling"), horizon=4), agent=agent, num_envs=2, total_steps=32,
                         reward="state_similarity", query_share=0.5, out=tmp_path / "run")  # fmt: skip
    found = humanoid.run_row(config, "asked_rarely", 2)
    assert found["drift"]["updates"] == 0 and [step for step, *_ in found["drift"]["curve"]] == [
        8,
        16,
        24,
        32,
    ]
    assert found["out_of_view"] is None, "nothing is drawn, so nobody looked"
    json.dumps(found, allow_nan=False)


def test_rows_go_by_task_and_condition_in_the_tables_order_seeds_ascending() -> None:
    rows = [
        {"task": t, "condition": c, "seed": s} for t, c, s in (("b", "x", 1), ("a", "y", 0), ("b", "x", 0))
    ]
    found = list(aggregate.groups(rows, task=["b", "a", "none"], condition=["x", "y"]))
    assert [names for names, _ in found] == [("b", "x"), ("a", "y")]
    assert [row["seed"] for row in found[0][1]] == [0, 1]


def test_conditions_become_settings_and_others_are_refused() -> None:
    config = preset("humanoid_lotus")
    assert {c: conditions.configured(config, c).reward for c in conditions.REWARDS} == conditions.REWARDS
    rarely = conditions.configured(config, "asked_rarely")
    assert (rarely.reward, rarely.query_share) == ("vlm", conditions.QUERY_SHARE)
    shares = {c: conditions.configured(config, c).query_share for c in conditions.REWARDS}
    assert {c for c, share in shares.items() if share is None} == {"asked_always", "control_constant", "ceiling_state_similarity"}  # fmt: skip
    large = conditions.configured(replace(config, device="cpu"), "simulated_large_vlm")
    assert (large.encoder, large.query_share) == ("as-slow-as:ViT-L-14:0.001", conditions.QUERY_SHARE)
    always = conditions.configured(replace(config, device="cpu"), "simulated_large_vlm_always")
    assert (always.encoder, always.asks_rarely) == ("as-slow-as:ViT-L-14:0.0001", False)
    untrained = conditions.configured(config, "control_untrained")
    assert (untrained.reward, untrained.query_share) == ("constant", None), (
        "whatever the reward, nothing is learned of it"
    )
    with pytest.raises(UsageError, match="condition: got often"):
        conditions.configured(config, "often")
    assert set(conditions.CONDITIONS) == {"asked_rarely", "asked_always", "control_constant", "control_random_encoder", "control_blank",
                                        "control_swapped_goal", "ceiling_state_similarity", "simulated_large_vlm",
                                        "simulated_large_vlm_always", "encoder_never_saw", "control_untrained"}  # fmt: skip


def test_a_large_model_costs_what_its_share_cost() -> None:
    last = {"encoder/frames": 1000, "encoder/passed": 10, "encoder/seconds_a_frame": 2.0}
    found = humanoid.large_cost(last, 50.0)["large"]
    assert found == {
        "model": "ViT-L-14",
        "frames": 1000,
        "passed": 10,
        "seconds_a_frame": 2.0,
        "wall_seconds": 2030.0,
    }
    assert "| 33.8 (with ViT-L-14) |" in humanoid.table(
        [{**row(condition="simulated_large_vlm"), "large": found}]
    )
    none = humanoid.large_cost(
        {"encoder/frames": 3, "encoder/passed": 0, "encoder/seconds_a_frame": None}, 50.0
    )
    assert "| not known (with ViT-L-14) |" in humanoid.table(
        [{**row(condition="simulated_large_vlm"), **none}]
    )


def test_an_encoder_that_never_saw_a_pose_is_asked_in_other_words(tmp_path: Path) -> None:
    config = preset("humanoid_splits")
    with pytest.raises(UsageError, match=r"encoder: got .*trained without splits.*left_out"):
        conditions.never_saw(config, tmp_path)
    splits.write(tmp_path, ["kneeling", "splits"], [])
    found = conditions.never_saw(config, tmp_path)
    assert found.encoder == f"local-dir:{tmp_path}" and found.task.baseline == config.task.baseline
    assert found.task.goal == (
        "a humanoid robot sitting on the floor, with its legs wide apart, with an upright torso",
    )
    with pytest.raises(UsageError, match="task: got humanoid_lotus"):
        conditions.never_saw(preset("humanoid_lotus"), tmp_path)


def test_what_was_never_shown_stands_first_and_another_body_has_its_own_steps() -> None:
    lines = humanoid_report.table([
        row("humanoid_kneeling"), row("humanoid_kneeling", conditions.NEVER_SAW),
        {**row("walker2d_kneeling"), "success": {"150": 1.0, "300": 0.5}}, row("humanoid_lotus_arms_forward")])  # fmt: skip
    titles = [line.removeprefix("### ") for line in lines.splitlines() if line.startswith("### ")]
    assert titles == list(humanoid_report.SECTIONS) and "success, 300 steps" in lines
    assert conditions.horizons_of("walker2d_kneeling")[1] == 2 * get_task("walker2d_kneeling").horizon


def test_a_refusal_is_one_line_and_exit_code_2(tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        humanoid.main(["--tasks", "humanoid_flying", "--results", str(tmp_path / "x.json")])
    assert caught.value.code == 2 and "humanoid_flying" in capsys.readouterr().err
    assert not (tmp_path / "x.json").exists()
    with pytest.raises(SystemExit) as caught:
        humanoid_matrix.main(
            [
                "--runs",
                str(tmp_path),
                "--results",
                str(tmp_path / "x.json"),
                "--out",
                str(tmp_path / "m.json"),
            ]
        )
    assert caught.value.code == 2 and "experiments.humanoid" in capsys.readouterr().err


def test_seeds_are_fixed_beforehand_and_all_goals_are_there() -> None:
    assert conditions.seeds_of("humanoid_kneeling") == (10, 11, 12)
    assert conditions.seeds_of("humanoid_one_leg") == (10, 11, 12, 13, 14)
    assert len(conditions.HUMANOID) == 16 and set(conditions.ZERO_SHOT) == set(POSES)
    folder = Path(humanoid.__file__).parent
    for pose in POSES:
        assert f"humanoid_{pose}" in (folder / f"humanoid_{pose}.py").read_text()


def test_runs_fill_the_book_once_and_the_matrix_judges_their_states(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = PPOConfig(num_steps=4, num_epochs=1, num_minibatches=1, hidden_sizes=(8,))
    monkeypatch.setattr(conditions, "HORIZONS", (4, 8))
    monkeypatch.setattr(humanoid, "preset", lambda name: TrainConfig(
        task=replace(get_task(name), horizon=4), agent=agent, num_envs=2, total_steps=16))  # fmt: skip
    results, runs = tmp_path / "humanoid.json", tmp_path / "runs"
    arguments = ["--tasks", "humanoid_kneeling", "humanoid_lotus", "--conditions", "control_constant",
                 "--seeds", "10", "11", "--episodes", "3", "--runs", str(runs), "--results", str(results), "--no-videos"]  # fmt: skip
    humanoid.main(arguments)
    rows = json.loads(results.read_text())
    assert [(r["task"], r["seed"]) for r in rows] == [(t, n) for t in arguments[1:3] for n in (10, 11)]
    keys = {
        "task",
        "goal",
        "seed",
        "success",
        "env_steps",
        "wall_seconds",
        "frames_scored",
        "hardware",
        "commit",
        "condition",
    }
    assert all(keys <= set(r) and r["frames_scored"] == 0 and r["curve"][-1][0] == 16 for r in rows)
    text = results.with_suffix(".md").read_text()
    assert "in-domain, caption-supervised" in text and "zero-shot" in text and "all 2" in text
    assert (tmp_path / "humanoid_curves.png").stat().st_size > 500
    monkeypatch.setattr(humanoid, "run_row", lambda *a: pytest.fail("ran again what is in the book"))
    humanoid.main(arguments)

    out = tmp_path / "matrix.json"
    humanoid_matrix.main(["--goals", "kneeling", "lotus", "--poses", "kneeling", "lotus", "--conditions", "control_constant",
                          "--runs", str(runs), "--results", str(results), "--out", str(out)])  # fmt: skip
    judged = json.loads(out.read_text())
    assert [(r["goal"], r["seed"]) for r in judged] == [
        ("kneeling", 10),
        ("kneeling", 11),
        ("lotus", 10),
        ("lotus", 11),
    ]
    assert all(r["episodes"] == 3 and r["steps"] == 4 for r in judged)
    own = [r["success"][r["goal"]] for r in judged]
    assert own == [r["success"]["4"] for r in rows], "the same episodes, the same verdicts"
    assert "| lotus | 10, 11 |" in out.with_suffix(".md").read_text()

    *_, last, _ = (
        rows  # of a run that earlier weights gave, and of one that has no row, the folders say nothing
    )
    results.write_text(json.dumps([*rows[:2], {**last, "weights": "old", "encoder": "embedded"}]))
    found = humanoid_matrix.rows_of(Book(results), runs, "control_constant", ["kneeling", "lotus"], ["lotus"])
    assert [(r["goal"], r["seed"]) for r in found] == [("kneeling", 10), ("kneeling", 11)]


def test_a_pose_must_be_held_for_half_of_the_steps() -> None:
    kneels, stands = (exemplars.exemplar(RULES, pose) for pose in ("kneeling", "standing"))
    states = np.stack([[kneels, stands], [kneels, kneels], [stands, stands], [stands, stands]])
    assert humanoid_matrix.judged(RULES, states, ("kneeling", "standing", "lotus")) == {
        "kneeling": 0.5,
        "standing": 1.0,
        "lotus": 0.0,
    }


def test_curves_are_compared_where_all_runs_have_steps(tmp_path: Path) -> None:
    steps, (low, middle, high) = curves.band(
        [[[0, 0.0], [100, 1.0]], [[0, 0.0], [200, 0.0]], [[0, None], [100, 0.5]]]
    )
    assert steps[-1] == 100 and (low[-1], middle[-1], high[-1]) == (0.0, 0.5, 1.0)
    curves.draw([row(), row("humanoid_lotus_arms_crossed", "control_blank")], tmp_path / "c.png")
    assert Image.open(tmp_path / "c.png").size[0] == 2 * curves.WIDTH
    curves.draw([], tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_verdict_sheets_repeat_and_hold_both_kinds(tmp_path: Path) -> None:
    sampled = RULES.sample_states(np.random.default_rng(0), 60)

    class Plain:
        def render(self, qpos: np.ndarray) -> np.ndarray:
            return (
                (np.abs(qpos[:, 2]) * 100)
                .astype(np.uint8)[:, None, None, None]
                .repeat(16, 1)
                .repeat(16, 2)
                .repeat(3, 3)
            )

    for name in ("a", "b"):
        pose_verdicts.draw(RULES, [Plain(), Plain()], "lotus", sampled, 3, 6, tmp_path / f"{name}.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    states = pose_verdicts.pool(RULES, "lotus", np.random.default_rng(3), sampled)
    true, missed = pose_verdicts.choose(RULES, "lotus", states, np.random.default_rng(3), 6)
    judge = Humanoid("lotus")
    assert (
        true[0] == 0
        and len(true) == 6
        and judge.success(states[true]).all()
        and not judge.success(states[missed]).any()
    )


def test_bodies_are_turned_to_the_camera() -> None:
    qpos = RULES.split(RULES.sample_states(np.random.default_rng(1), 40))[0]
    body = RULES.read_body(pose_verdicts.facing(qpos))
    level = np.hypot(body.forward[:, 0], body.forward[:, 1]) > 0.3
    assert (body.forward[level, 0] > 0).all() and np.abs(body.forward[level, 1]).max() < 1e-6


def test_holding_a_pose_is_sought_within_the_motors_limits() -> None:
    found = pose_holds.seek(RULES, "lying_front_arms_sideways", candidates=2, rounds=1, seed=0, steps=40)
    assert found["held_400"] > 0.9 and 0 < found["torque_share"] <= 1 and "100%" in pose_holds.table([found])


def test_what_training_may_see_of_a_composition(tmp_path: Path) -> None:
    unseen.main(["--poses", "kneeling_one_arm_raised", "--count", "40", "--out", str(tmp_path / "u.json")])
    (found,) = json.loads((tmp_path / "u.json").read_text())
    assert found["goal_states"] >= 10 and found["seen"] <= 0.1
    assert unseen.share("lotus_arms_crossed", count=0)["seen"] is None
