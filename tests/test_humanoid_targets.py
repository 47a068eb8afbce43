"""The humanoid's targets on made-up rows: what is reached, what is not run, what is not all run."""

from __future__ import annotations

from test_humanoid_experiments import row

from experiments import humanoid_targets as targets
from experiments.humanoid_conditions import COMPARED, planned


def rows_of(conditions: list[str], success: float = 1.0, **changes) -> list[dict]:
    return [row(task, condition, seed, success) | changes for condition, task, seed in planned(conditions)]


def cells(rows: list[dict]) -> dict[str, str]:
    lines = targets.table(rows).splitlines()[2:]
    return {name: here for name, *_, here in (line.strip("| ").split(" | ") for line in lines)}


def test_nothing_run_is_said_in_each_line() -> None:
    found = cells([])
    assert len(found) == len(targets.TARGETS) and set(found.values()) == {targets.NOT_RUN}


def test_a_task_counts_once_all_its_planned_seeds_are_there() -> None:
    rows = rows_of(["asked_rarely", "encoder_never_saw"])
    found = cells(rows)
    assert found["poses with ≥ 90% success"].startswith("8 of 8: ")
    assert found["unseen compositions"].startswith("8 of 8: ") and found["another body"].startswith(
        "2 of 2: "
    )
    assert (
        found["poses left out of the encoder's training"]
        == "2 of 2: kneeling 100%, splits 100%; in long episodes 2 of 2"
    )
    assert found["minutes of a pose, median"] == "1.0"
    less = [r for r in rows if (r["task"], r["seed"]) != ("humanoid_one_leg", 14)]
    assert cells(less)["poses with ≥ 90% success"].startswith("7 of 8: ")
    assert "one leg not run" in cells(less)["poses with ≥ 90% success"]
    failed = [r | {"success": {"100": 1.0, "400": 0.5}} if r["task"] == "humanoid_lotus" else r for r in rows]
    assert cells(failed)["poses with ≥ 90% success"].startswith("8 of 8: "), "VLM-RM's horizon"
    assert cells(failed)["poses with ≥ 90% success"].endswith("; in long episodes 7 of 8")


def test_runs_that_never_succeeded_count_as_endless() -> None:
    rows = rows_of(["asked_rarely"])
    assert cells(rows)["environment steps to success, median"] == "500"
    never = [r | {"steps_to_success": None} for r in rows]
    assert cells(never)["environment steps to success, median"] == "not reached by half of the runs"


def test_each_control_is_shown_at_its_worst() -> None:
    rows = rows_of(["control_constant", "control_blank"], 0.0)
    rows = [
        r | {"success": {"100": 0.0, "400": 0.3}} if (r["task"], r["condition"]) == ("humanoid_one_leg", "control_blank") else r
        for r in rows
    ]  # fmt: skip
    assert cells(rows)["controls, trained"] == (
        "constant at most 0%, random encoder not run, blank at most 30% (one leg), swapped goal not run"
    )
    assert cells(rows[:2])["controls, trained"].startswith("constant not run")
    assert cells(rows[:3])["controls, trained"].startswith("constant at most 0% (3 of 4 not run)")


def untrained(**success: tuple[float, float]) -> list[dict]:
    found = []
    for r in rows_of(["control_untrained"], 0.02):
        short, long = success.get(r["task"].removeprefix("humanoid_"), (0.02, 0.0))
        found.append(r | {"success": {"100": short, "400": long}})
    return found


def test_what_an_untrained_agent_does_by_itself_is_not_hidden() -> None:
    name = "control: the same agent, untrained"
    assert cells(untrained(standing=(0.99, 0.05), one_leg=(0.0, 0.12)))[name] == (
        "14 of 16 fail: standing 99%, in long episodes 5%; one leg 0%, in long episodes 12%; the others at most 2%"
    )
    assert cells(untrained())[name] == "16 of 16 fail: at most 2%"
    assert cells(untrained()[:4])[name] == "1 of 16 fail: at most 2%; 15 not run"


def test_asking_rarely_is_compared_over_the_same_seeds() -> None:
    rarely = rows_of(["asked_rarely"], 0.97, frames_scored=99)
    always = rows_of(["asked_always"])
    found = cells([*rarely, *always])
    assert found["steps that the VLM is asked about"] == "at most 9.9%"
    name = "success, asked rarely less asked always"
    assert found[name] == "kneeling -3 points, arms raised -3 points, lotus -3 points"
    rarely = [r | {"success": {"100": 0.0, "400": 0.0}} if r["seed"] > 12 else r for r in rarely]
    assert cells([*rarely, *always])[name] == found[name], "lotus has seeds that asking always has not"
    assert cells(rarely)[name].count("not run") == len(COMPARED)


def test_the_large_models_wall_clock_is_a_ratio_of_pairs() -> None:
    rarely = rows_of(["simulated_large_vlm"], large={"frames": 25, "passed": 5, "seconds_a_frame": 1.0})
    always = rows_of(
        ["simulated_large_vlm_always"], large={"frames": 345, "passed": 5, "seconds_a_frame": 3.0}
    )
    name = "wall-clock with ViT-L-14's cost, asked rarely"
    # 60 s of its own each, and 2 s (of all runs) a frame that did not pass: 100 s and 740 s
    assert cells([*rarely, *always])[name] == "7.4 times less"
    none = {"frames": 25, "passed": 0, "seconds_a_frame": None}
    assert cells([r | {"large": none} for r in rarely])[name] == "not run"
    assert cells([*rarely, *always[:-1]])[name] == "7.0 times less; 1 of 3 not run"
    assert cells(rarely)[name] == "not run"


def test_rows_of_earlier_weights_are_marked() -> None:
    found = cells([r | {"weights": "old"} for r in rows_of(["asked_rarely"])])
    assert found["steps that the VLM is asked about"].endswith(targets.EARLIER)
