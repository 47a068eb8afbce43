"""Ways to ask: their sentences and views, the sweep at a small scale, and those that are trained to confirm it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import mujoco
import numpy as np
import pytest

from experiments import prompt_confirm, prompt_sweep, prompts, views
from experiments.embedded.evaluation.drawn import rules_of
from vlmrl.agents.config import PPOConfig
from vlmrl.tasks import get_task
from vlmrl.training import TrainConfig
from vlmrl_envs.humanoid.captions import GRAMMAR
from vlmrl_envs.rendering import make_renderer


def test_goals_are_reworded_within_their_facts() -> None:
    said = prompts.wordings(get_task("humanoid_kneeling_one_arm_raised"), GRAMMAR)
    assert said[0] == "a humanoid robot kneeling, with one arm raised" and len(
        said
    ) == prompts.NUM_GOALS == len(set(said))
    assert prompts.wordings(get_task("humanoid_arms_raised"), GRAMMAR)[1].startswith("a humanoid robot ")
    assert prompts.wordings(get_task("cartpole"), GRAMMAR) == list(get_task("cartpole").goal)
    assert (
        len(prompts.variants(True, True, ("a", "b"))) == 40
        and len(prompts.variants(False, False, ("a",))) == 5
    )


def test_the_tasks_own_alpha_is_swept_too() -> None:
    found = prompts.variants(False, False, ("a",), 0.1)
    assert [variant.alpha for variant in found] == [0.0, 0.1, 0.25, 0.5, 0.75, 1.0]
    rows = [asked(alpha, 0.5, "cartpole") for alpha in (0.0, 0.1, 0.25)]
    assert prompts.usual(rows)["alpha"] == 0.1


def test_a_reward_is_measured_by_hand() -> None:
    seen = prompt_sweep.Seen(np.arange(20) < 6, (np.arange(20) >= 6) & (np.arange(20) < 12), {}, {})
    rewards = np.where(seen.goal, 2.0, np.arange(20) / 20)
    found = prompt_sweep.measure(rewards, np.linspace(0, 1, prompt_sweep.STEPS), seen)
    assert (found["auc"], found["auc_close"], found["path_spearman"]) == (1.0, 1.0, 1.0) and found["gap"] > 3
    nothing = prompt_sweep.measure(
        rewards, np.zeros(0), prompt_sweep.Seen(np.zeros(20, bool), np.ones(20, bool), {}, {})
    )
    assert set(nothing.values()) == {None}


def test_the_sweep_runs_at_a_small_scale(tmp_path: Path) -> None:
    out = tmp_path / "sweep.json"
    prompt_sweep.main(
        [
            "--tasks",
            "humanoid_standing",
            "--encoder",
            "random:0",
            "--states",
            "30",
            "--paths",
            "1",
            "--out",
            str(out),
        ]
    )
    rows = json.loads(out.read_text())
    assert (
        len(rows) == 40
        and rows[0]["alpha"] == 0.0
        and rows[0]["goal_states"] >= 5
        and rows[0]["auc"] is not None
    )
    assert "humanoid_standing" in out.with_suffix(".md").read_text()
    views = {(row["views"], *row["cameras"]) for row in rows}
    assert views == {("own", "front"), ("all", "front", "track")} and all(row["trainable"] for row in rows)


@pytest.mark.parametrize("task", ["cartpole", "ant_standing", "reacher_folded"])
def test_a_world_of_one_camera_has_a_second_view_of_the_same_middle(task: str) -> None:
    rules = rules_of(get_task(task))
    own, other = views.views_of(rules).values()
    state = rules.start(np.random.default_rng(0))
    seen, places = [], []
    for model, camera in (own, other):
        data = mujoco.MjData(model)
        data.qpos[:] = rules.split(state)[0]
        mujoco.mj_forward(model, data)
        index = model.camera(camera).id
        place, ahead = data.cam_xpos[index], -data.cam_xmat[index].reshape(3, 3)[:, 2]
        moves = model.cam_mode[index] == mujoco.mjtCamLight.mjCAMLIGHT_TRACKCOM
        middle = data.subtree_com[model.cam_bodyid[index]] if moves else model.stat.center
        seen.append(ahead)
        places.append(np.linalg.norm(place + ahead * (ahead @ (middle - place)) - middle))
    assert np.degrees(np.arccos(seen[0] @ seen[1])) == pytest.approx(views.TURN, abs=2.5)
    assert places[1] == pytest.approx(places[0], abs=0.1), "it still looks at what it looked at"


def test_a_turned_view_is_drawn_and_cannot_be_trained_on() -> None:
    rules = rules_of(get_task("cartpole"))
    found = views.views_of(rules)
    assert list(found) == ["front", "front+20"] and list(
        views.views_of(rules_of(get_task("humanoid_lotus")))
    ) == ["front", "track"]
    state = rules.start(np.random.default_rng(0))
    frames = []
    for model, camera in found.values():
        renderer = make_renderer("warp", model, camera, (32, 32))
        frames.append(renderer.render(rules.split(state[None])[0])[0].astype(int))
        renderer.close()
    assert np.abs(frames[0] - frames[1]).mean() > 1 and all(frame.std() > 5 for frame in frames)


def asked(alpha: float, auc: float | None, task: str = "humanoid_lotus", **changes) -> dict:
    found = {"task": task, "alpha": alpha, "baselines": "own", "goals": "own", "views": "own", "cameras": ["front"],
             "goal": list(get_task(task).goal), "baseline": list(get_task(task).baseline), "trainable": True, "goal_states": 9,
             "auc": auc, "auc_close": auc, "path_spearman": auc, "gap": 1.0, "encoder": "random:0", "weights": None}  # fmt: skip
    return found | changes


def test_the_best_and_the_worst_that_can_be_trained_are_chosen_once_each() -> None:
    others = {"baselines": "others", "baseline": ["a body"]}
    both = {"views": "all", "cameras": ["front", "track"]}
    rows = [
        asked(0.0, 0.8), asked(0.0, 0.8, **others), asked(0.5, 0.9), asked(0.5, 0.95, **both), asked(0.5, 0.6, **others),
        asked(1.0, 0.99, views="all", cameras=["front", "front+20"], trainable=False), asked(1.0, None),
    ]  # fmt: skip
    found = {name: role for name, (role, _) in prompts.chosen(rows, 1).items()}
    assert found == {"alpha0": "as it is", "alpha0.5-all_views": "best", "alpha0.5-others_baselines": "worst"}
    found = {name: role for name, (role, _) in prompts.chosen(rows, 2).items()}
    assert found == {
        "alpha0": "as it is, worst",
        "alpha0.5-all_views": "best",
        "alpha0.5": "best",
        "alpha0.5-others_baselines": "worst",
    }
    assert [role for role, _ in prompts.chosen(rows[:1], 2).values()] == ["as it is, best"]
    assert [role for role, _ in prompts.chosen([asked(0.0, None)], 2).values()] == ["as it is"]


def trained(
    alpha: float, separation: float | None, success: float, seed: int = 20, task: str = "humanoid_lotus"
) -> dict:
    return {**asked(alpha, separation, task), "seed": seed, "setting": f"alpha{alpha:g}", "chosen_as": "best", "env_steps": 1000,
            "offline": {"score": separation, **{name: separation for name in prompts.MEASURES}}, "wall_seconds": 60.0,
            "success": {"100": success, "400": success}}  # fmt: skip


def test_the_table_sets_separation_beside_success() -> None:
    rows = [trained(0.0, 0.7, 0.5), trained(0.5, 0.9, 1.0, 21), trained(0.5, 0.9, 0.8, 20), trained(1.0, 0.6, 0.51),
            trained(0.25, None, 0.0), trained(0.0, 0.99, 0.0, task="humanoid_splits")]  # fmt: skip
    lines = prompt_confirm.table(rows).splitlines()
    assert [line.split(" | ")[1] for line in lines[2:7]] == [
        "alpha0.5",
        "alpha0",
        "alpha1",
        "alpha0.25",
        "alpha0",
    ]
    assert (
        "| 0.900 | 0.900 | 0.900 | 0.900 | 20, 21 | 90% [80%, 100%] | 90% [80%, 100%] | 1,000 | 1.0 |"
        in lines[2]
    )
    assert (
        lines[-1].startswith("Of 3 pairs of ways to ask")
        and "in 2, to the same (within 2%) in 1, to less in 0" in lines[-1]
    )
    assert "No two ways" in prompt_confirm.table(rows[-1:])


def test_what_is_chosen_is_trained_as_it_was_asked() -> None:
    row = asked(0.5, 0.9, goals="several", goal=["a humanoid robot a", "a humanoid robot b"], baseline=["x", "x"], views="all",
                cameras=["front", "track"])  # fmt: skip
    config = prompt_confirm.configured(row)
    assert (config.task.goal, config.task.baseline, config.task.alpha) == (
        tuple(row["goal"]),
        ("x", "x"),
        0.5,
    )
    assert (config.views, config.query_share, config.encoder) == (("front", "track"), 0.1, "random:0")
    assert (
        config.total_steps == prompt_confirm.STEPS
        and config.task.name == "humanoid_lotus"
        and not config.video
    )
    assert prompt_confirm.configured(asked(0.0, 0.9)).views == ()


def test_confirming_trains_what_the_book_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    sweep, results, ran = tmp_path / "sweep.json", tmp_path / "confirm.json", []
    sweep.write_text(
        json.dumps([asked(0.0, 0.8), asked(0.5, 0.9), asked(1.0, 0.5), asked(0.0, 0.9, "humanoid_splits")])
    )
    arguments = ["--confirm", "--tasks", "humanoid_lotus", "--encoder", "random:0", "--out", str(sweep), "--results", str(results),
                 "--runs", str(tmp_path / "runs"), "--episodes", "2", "--total-steps", "16", "--seeds", "20"]  # fmt: skip
    known = prompt_confirm.configured
    agent = PPOConfig(num_steps=4, num_epochs=1, num_minibatches=1, hidden_sizes=(8,))
    monkeypatch.setattr(prompt_confirm, "horizons_of", lambda _: (4, 8))
    monkeypatch.setattr(prompt_confirm, "configured", lambda row: TrainConfig(
        task=replace(known(row).task, horizon=4), agent=agent, num_envs=2, encoder=row["encoder"], reward="state_similarity"))  # fmt: skip
    run_row = prompt_confirm.run_row
    monkeypatch.setattr(
        prompt_confirm, "run_row", lambda config, *rest: ran.append(config.out.name) or run_row(config, *rest)
    )
    prompt_sweep.main(arguments)
    assert ran == [f"prompt-humanoid_lotus-{name}-20" for name in ("alpha0", "alpha0.5", "alpha1")]
    rows = json.loads(results.read_text())
    assert [(r["setting"], r["chosen_as"], r["offline"]["score"], r["env_steps"]) for r in rows] == [
        ("alpha0", "as it is", 0.8, 16), ("alpha0.5", "best", 0.9, 16), ("alpha1", "worst", 0.5, 16)]  # fmt: skip
    assert all({"commit", "hardware", "goal", "cameras", "wall_seconds"} <= row.keys() for row in rows)
    assert "| humanoid_lotus | alpha0.5 | best |" in results.with_suffix(".md").read_text()
    prompt_sweep.main(arguments)
    assert len(ran) == 3, "it resumes"
    capsys.readouterr()


def test_without_a_sweep_of_todays_weights_nothing_is_trained(tmp_path: Path, capsys) -> None:
    sweep = tmp_path / "sweep.json"
    arguments = [
        "--confirm",
        "--out",
        str(sweep),
        "--results",
        str(tmp_path / "x.json"),
        "--runs",
        str(tmp_path / "runs"),
    ]
    for rows, message in (([], "no rows of humanoid_kneeling and embedded"), (
        [asked(0.0, 0.8, "humanoid_kneeling", encoder="embedded", weights="old")], "by earlier weights")):  # fmt: skip
        sweep.write_text(json.dumps(rows))
        with pytest.raises(SystemExit) as caught:
            prompt_sweep.main(arguments)
        assert caught.value.code == 2 and message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists() and not (tmp_path / "x.json").exists()


@pytest.mark.parametrize(
    "given", [["--states", "0"], ["--settings", "0"], ["--total-steps", "8"], ["--tasks", "soccer"]]
)
def test_what_cannot_be_swept_is_refused(given: list[str], capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        prompt_sweep.main(given)
    assert caught.value.code == 2 and "error:" in capsys.readouterr().err
