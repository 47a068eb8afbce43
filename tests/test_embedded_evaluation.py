"""The evaluation on tiny numbers: it runs on any world, and says met only of what was measured."""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from experiments.embedded import data, evaluate, left_out, metaworld, splits, train, variation
from experiments.embedded.evaluation import controls, goals, metrics, pictures, tables, words
from experiments.embedded.evaluation.drawn import Drawn, reward_of, rules_of, tasks_of
from experiments.embedded.evaluation.metrics import Estimate
from vlmrl.adapt.batches import draw_batch
from vlmrl.encoders import load_encoder
from vlmrl.errors import UsageError
from vlmrl_envs import WORLDS, held_out
from vlmrl_envs.humanoid.rules import Humanoid
from vlmrl_envs.mountain_car.rules import MountainCar
from vlmrl_envs.walker2d.rules import Walker2d


@given(st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=9), st.integers(0, 99))
def test_disorder_keeps_the_words_and_no_neighbours(words: list[str], seed: int) -> None:
    found = controls.disordered(np.random.default_rng(seed), words)
    assert sorted(found) == sorted(words)
    if len(set(words)) == len(words) > 3:
        assert not set(pairwise(found)) & set(pairwise(words))


def test_auc_and_its_interval() -> None:
    rng = np.random.default_rng(0)
    assert metrics.auc(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 1.0
    assert metrics.auc(np.array([1.0]), np.array([1.0, 0.0])) == 0.75
    found = metrics.auc_estimate(rng.normal(1, 1, 60), rng.normal(0, 1, 80), rng)
    low, high = found.interval
    assert 0.6 < low < found.value < high < 0.95 and len(found.resamples) == metrics.RESAMPLES
    assert metrics.spearman(np.arange(5.0), np.zeros(5)) == 0.0
    assert metrics.spearman(np.arange(5.0), np.arange(5.0) ** 2) == pytest.approx(1.0)


def test_estimates_add_up_resample_by_resample() -> None:
    a, b = Estimate(0.8, np.array([0.7, 0.9])), Estimate(0.6, np.array([0.5, 0.7]))
    assert metrics.average([a, b]).value == pytest.approx(0.7)
    assert metrics.average([a, b]).resamples.tolist() == pytest.approx([0.6, 0.8])
    assert metrics.difference(a, b).resamples.tolist() == pytest.approx([0.2, 0.2])
    assert metrics.extreme([a, b]).value == 0.6 and metrics.extreme([a, b], least=False).value == 0.8


def test_sentences_that_could_have_been_others_widen_the_interval() -> None:
    sharp = [Estimate(v, np.full(200, v)) for v in (0.5, 0.9, 1.0, 1.0)]
    assert np.ptp(metrics.average(sharp).interval) == 0
    found = metrics.of_others(sharp)
    assert found.value == pytest.approx(0.85) and 0.5 <= found.interval[0] < 0.75 and found.interval[1] > 0.95
    assert metrics.of_others([]) is None
    assert (
        np.ptp(metrics.of_others([Estimate(0.5, np.full(9, 0.5)), Estimate(0.5, np.full(5, 0.5))]).interval)
        == 0
    )


def test_held_out_compositions_that_hardly_occur_are_named() -> None:
    grammar = splits.GRAMMARS["cartpole"]
    degrees = np.zeros((50, len(grammar.facts)))
    degrees[:20] = 1.0
    degrees[0, np.argwhere(np.triu(grammar.held_pairs))[0]] = 0.5
    none = np.zeros((0, 64, 64, 3), np.uint8)
    drawn = Drawn("cartpole", (), {}, np.zeros((50, 1)), 50, degrees, none, grammar)
    assert words.too_rare(drawn) == []
    drawn.degrees[4:] = 0.0
    rows = words.too_rare(drawn)
    assert len(rows) == int(np.triu(grammar.held_pairs).sum())
    assert (rows[0]["states"], rows[0]["most"]) == (3, 1.0)
    page = tables._too_rare(rows)
    assert " + ".join(rows[0]["facts"]) + " (3, at most 1.00 true)" in page and tables._too_rare([]) == ""


def test_targets_are_met_missed_or_not_measured() -> None:
    flat = np.full(3, 0.95)
    rows = [{"world": "cartpole", "task": t, "own": Estimate(v, flat), "drop": Estimate(0.01, flat), "path": None}
            for t, v in (("a", 0.99), ("b", 0.92))]  # fmt: skip
    rows.append(
        {"world": "ant", "task": "c", "own": Estimate(0.1, flat), "drop": Estimate(1.0, flat), "path": None}
    )
    found = {"goals": rows, "compositions": [], "paraphrases": [], "left_out": [], "bodies": [], "mebibytes": 12.0, "frames_per_s": None,
             "controls": [{"world": w, "control": k, "share_above": v} for w, k, v in
                          (("cartpole", "blank", 0.25), ("cartpole", "stripes", 0.5), ("ant", "blank", 1.0))]}  # fmt: skip
    judged = {row["target"]: row for row in tables.judge(found)}
    assert judged[tables.GOALS_MEAN.name]["value"] == pytest.approx(0.955)
    assert judged[tables.GOALS_MEAN.name]["met"] is False and judged[tables.GOALS_WORST.name]["met"] is False
    assert judged[tables.DROP.name]["met"] is True and judged[tables.SIZE.name]["met"] is True
    assert judged[tables.CONTROLS.name]["value"] == 0.25 and judged[tables.CONTROLS.name]["met"] is False
    assert (
        judged[tables.GOALS_WORST.name]["all_worlds"] == 0.1
        and judged[tables.CONTROLS.name]["all_worlds"] == 1.0
    )
    assert judged[tables.SIZE.name]["all_worlds"] is None
    for target in (tables.PATHS, tables.COMPOSITIONS, tables.SPEED, tables.LEFT_OUT):
        assert judged[target.name]["met"] is None and judged[target.name]["value"] is None


def test_the_worst_ranked_states_are_shown() -> None:
    scores, success = np.array([0.1, 0.9, 0.5, 0.8]), np.array([True, True, False, False])
    missed, mistaken = pictures.worst(scores, success, 1)
    assert missed.tolist() == [0] and mistaken.tolist() == [3]
    frames = np.full((2, 64, 64, 3), 200, np.uint8)
    page = np.asarray(pictures.sheet([("a long sentence of a goal", frames, frames)], 3))
    assert page.shape[0] == 18 + 68 and (page == 200).any()


def test_every_world_can_be_examined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metaworld, "is_installed", lambda: False)
    assert set(evaluate.checked_worlds([])) == set(data.WORLDS)
    monkeypatch.setattr(metaworld, "is_installed", lambda: True)
    assert set(evaluate.checked_worlds([])) == set(splits.GRAMMARS)
    for world in WORLDS.values():
        tasks = tasks_of(world)
        assert tasks
        rules = rules_of(tasks[0])
        start, goal = rules.sample_states(np.random.default_rng(1), 2)
        path = rules.path(start, goal, 5)
        assert path.shape == (5, rules.state_size) and np.isfinite(path).all()
        np.testing.assert_allclose(rules.similarity(path[[0, -1]]).shape, (2,))
    with pytest.raises(UsageError, match="worlds"):
        evaluate.checked_worlds(["mars"])


def test_paths_lie_on_floor_and_road_and_reach_their_ends() -> None:
    humanoid = Humanoid("standing")
    states = humanoid.sample_states(np.random.default_rng(2), 2)
    path = humanoid.path(states[0], states[1], 7)
    body = humanoid.read_body(humanoid.split(path)[0])
    assert (np.min([body.z(part) for part in body.parts], axis=0) > 0).all()
    qpos, ends = humanoid.split(path)[0], humanoid.split(states)[0]
    np.testing.assert_allclose(qpos[[0, -1], 7:], ends[:, 7:], atol=1e-9)
    car = MountainCar()
    way = car.path(*car.sample_states(np.random.default_rng(0), 2), 5)
    assert np.ptp(np.diff(way[:, 1])) < 1e-9


@pytest.fixture(scope="module")
def cartpole() -> tuple[Drawn, object]:
    from experiments.embedded.evaluation.drawn import draw

    encoder = load_encoder("embedded", "cpu")
    return draw("cartpole", encoder, 80), encoder


def test_a_goal_is_examined(cartpole) -> None:
    drawn, encoder = cartpole
    row = goals.goal_row(drawn, encoder, drawn.tasks[0], num_paths=2)
    assert row["own"].value > 0.95 and row["path"].value > 0.8 and row["unseen"] is not None
    assert (
        drawn.num_random == 80
        and len(drawn.states) > 80
        and row["goals"] + row["others"] == len(drawn.states)
    )
    paths = goals.paths(drawn, drawn.tasks[0], 3, np.random.default_rng(0))
    rules = drawn.rules["cartpole"]
    assert (rules.similarity(paths[:, 0]) < 0.2).all() and rules.success(paths[:, -1]).all()


def test_held_out_words_are_examined(cartpole) -> None:
    drawn, encoder = cartpole
    rows = words.compositions(drawn, encoder)
    assert len(rows) == int(np.triu(drawn.grammar.held_pairs).sum())
    assert words.too_rare(drawn) == []
    said = words.paraphrases(drawn, encoder)
    assert all(held_out.holds(row["sentence"], drawn.grammar.held_wordings) for row in said) and len(said) > 8
    assert words.left_out(drawn, encoder, ["lotus"]) == []


def test_controls_are_compared_with_the_baselines_own_reward(cartpole) -> None:
    drawn, encoder = cartpole
    task = drawn.tasks[0]
    rows = controls.control_rows(drawn, encoder, task, np.zeros((3, 64, 64, 3), np.uint8))
    assert {row["control"] for row in rows} == {*controls.KINDS, controls.ANY_ORDER, *controls.FRESH}
    reward = reward_of(encoder, task)
    blank = controls.nothing(np.random.default_rng(0))["blank"]
    above = reward.compute_reward(blank).numpy() - controls.baseline_level(reward)
    assert rows[0]["share_above"] == pytest.approx((above > 0).mean(), abs=1e-4)


def test_the_script_writes_json_tables_and_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "deep" / "report.json"
    arguments = [
        "--worlds",
        "mountain_car",
        "--states",
        "40",
        "--paths",
        "2",
        "--speed",
        "0",
        "--out",
        str(out),
    ]
    monkeypatch.setattr(sys, "argv", ["evaluate", *arguments])
    evaluate.main()
    report = json.loads(out.read_text())
    assert {row["target"] for row in report["targets"]} >= {tables.GOALS_MEAN.name, tables.CONTROLS.name}
    assert (
        "unseen view" in out.with_suffix(".md").read_text() and out.with_suffix(".png").stat().st_size > 1000
    )
    first = out.read_text()
    evaluate.main()
    assert json.loads(first)["goals"] == json.loads(out.read_text())["goals"], "fixed seeds"
    monkeypatch.setattr(sys, "argv", ["evaluate", "--worlds", "mars"])
    with pytest.raises(SystemExit) as end:
        evaluate.main()
    assert end.value.code == 2


def test_views_of_training_and_unseen_ones_are_apart() -> None:
    rng = np.random.default_rng(0)
    for draw, whole, band in ((splits.distance, splits.DISTANCE, splits.DISTANCE_HELD_OUT),
                              (splits.light, splits.LIGHT, splits.LIGHT_HELD_OUT)):  # fmt: skip
        seen = np.array([draw(rng) for _ in range(500)])
        assert (
            ((seen < band[0]) | (seen >= band[1])).all() and whole[0] <= seen.min() and seen.max() <= whole[1]
        )
        unseen = np.array([draw(rng, "held_out") for _ in range(100)])
        assert ((unseen >= band[0]) & (unseen <= band[1])).all()
    model = variation.vary(MountainCar().model, "side", rng, split="held_out")
    assert splits.LIGHT_HELD_OUT[0] <= model.vis.headlight.diffuse[0] <= splits.LIGHT_HELD_OUT[1]


def test_what_is_left_out_is_refused_if_unknown_and_noted(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave-out"):
        splits.grammars(["flying"])
    with pytest.raises(UsageError, match="without"):
        splits.grammars([], ["mars"])
    with pytest.raises(UsageError, match="train on"):
        splits.grammars([], list(splits.GRAMMARS))
    assert set(splits.grammars([], ["humanoid"])) == set(splits.GRAMMARS) - {"humanoid"}
    assert splits.read(tmp_path) == ([], [])
    splits.write(tmp_path, ["lotus"], ["humanoid"])
    assert splits.read(tmp_path) == (["lotus"], ["humanoid"]) and splits.holds_out(tmp_path)
    (tmp_path / splits.NOTE).write_text('{"leave_out": [], "without": [], "held_out": "of another day"}')
    assert splits.read(tmp_path) == ([], []) and not splits.holds_out(tmp_path)


@pytest.mark.parametrize("world", data.WORLDS)
def test_no_worlds_own_light_is_in_the_band_that_is_called_unseen(world: str) -> None:
    light = data.WORLDS[world]().model.vis.headlight.diffuse
    assert not ((splits.LIGHT_HELD_OUT[0] <= light) & (light <= splits.LIGHT_HELD_OUT[1])).any()


def test_what_lies_beyond_is_outside_of_trainings_range() -> None:
    rng = np.random.default_rng(0)
    for draw, whole in ((splits.distance, splits.DISTANCE), (splits.light, splits.LIGHT)):
        assert min(draw(rng, "beyond") for _ in range(50)) > whole[1]
    for world in train.SHARES:
        assert 0.99999 < splits.shares(train.SHARES, [world])[world] <= 1
    shares = splits.shares(train.SHARES, ["cartpole", "humanoid"])
    assert sum(shares.values()) == pytest.approx(sum(train.SHARES.values()), abs=1e-5) and set(shares) == {
        "cartpole",
        "humanoid",
    }


def test_training_sees_and_says_nothing_left_out(tmp_path: Path) -> None:
    rules = Humanoid()
    states = rules.sample_states(np.random.default_rng(0), 400)
    degrees = rules.fact_degrees(states).astype(np.float16)
    frames = np.zeros((400, 64, 64, 3), np.uint8)
    np.save(tmp_path / "humanoid-own.frames.npy", frames)
    np.save(tmp_path / "humanoid-own.degrees.npy", degrees)
    others = [world for world in splits.GRAMMARS if world != "humanoid"]
    (family,) = train.families(tmp_path, 0.25, ["lotus", "splits"], others)
    (store,) = family.stores
    rows = np.concatenate([store.rows(held_out=False), store.rows(held_out=True)])
    assert 0.5 * len(states) < len(rows) < len(states)
    assert held_out.training_states(family.grammar, degrees[rows].astype(float)).all()
    for seed in range(3):
        batch = draw_batch([family], [1.0], np.random.default_rng(seed), 8, 32)
        assert len(batch.frames) == 8 and len(batch.texts) == 32 == batch.truth.shape[1]
        for text in batch.texts:
            assert not held_out.holds(text, ["lotus", "splits", "meditating", *family.grammar.held_wordings])
    assert splits.kept("unknown", np.zeros((3, 2))).all(), "a world without a grammar keeps all"


def test_the_data_card_shows_what_the_script_prints() -> None:
    from vlmrl.encoders.sources import EMBEDDED

    card = (EMBEDDED / "DATA_CARD.md").read_text()
    shown = card.split("<!-- grammars -->")[1].split("<!-- end -->")[0].strip()
    assert shown == splits.table(), "print it anew: python -m experiments.embedded.splits"


def test_poses_left_out_are_asked_for_in_other_words(monkeypatch: pytest.MonkeyPatch) -> None:
    from experiments.embedded.evaluation import drawn as drawing

    monkeypatch.setattr(
        drawing, "unseen", lambda rules, states, *_: np.zeros((len(states), 64, 64, 3), np.uint8)
    )
    encoder = load_encoder("embedded", "cpu")
    drawn = drawing.draw("humanoid", encoder, 60)
    (row,) = words.left_out(drawn, encoder, ["kneeling"])
    assert "kneeling" not in row["sentence"] and row["goals"] >= goals.MIN_STATES
    assert 0 <= row["auc"].value <= 1 and row["own_words"].value > 0.8
    assert tables.LEFT_OUT.name in {r["target"] for r in tables.judge(
        {"goals": [], "compositions": [], "paraphrases": [], "left_out": [row], "bodies": [], "controls": [], "mebibytes": 1.0,
         "frames_per_s": None}) if r["met"] is not None}  # fmt: skip


def test_the_target_of_poses_left_out_is_another_trainings(tmp_path: Path) -> None:
    none = {k: [] for k in ("goals", "compositions", "paraphrases", "left_out", "bodies", "controls")}
    judged = tables.judge(none | {"mebibytes": 1.0, "frames_per_s": None})
    assert tables.with_poses_left_out(judged, tmp_path / "none.json") == judged
    row = {
        "target": tables.LEFT_OUT.name,
        "limit": 0.85,
        "at": "least",
        "unit": "",
        "value": 0.9,
        "interval": [0.8, 0.95],
        "met": True,
    }
    (tmp_path / "poses.json").write_text(json.dumps({"targets": [row]}))
    found = tables.with_poses_left_out(judged, tmp_path / "poses.json")
    assert [r for r in found if r not in judged] == [{**row, "of": "another training: poses.md"}]
    shipped, page = tmp_path / "shipped.json", tmp_path / "shipped.md"
    shipped.write_text(json.dumps({"targets": found, "seed": 3}))
    page.write_text(f"before\n\n{tables.markdown({**none, 'too_rare': []}, found)}after\n")
    assert "| 0.9 [0.800, 0.950] (another training" in page.read_text()
    newer = {**row, "value": 0.8, "interval": [0.7, 0.85], "met": False, "all_worlds": 0.8}
    (tmp_path / "poses.json").write_text(json.dumps({"targets": [newer]}))
    tables.renew_poses_left_out(shipped, tmp_path / "poses.json")
    assert "| 0.8 [0.700, 0.850] (another training: poses.md) | ≥ 0.85 | **missed** | – |" in page.read_text()
    assert page.read_text().startswith("before\n\n| target") and page.read_text().endswith("after\n")
    assert json.loads(shipped.read_text())["targets"] == tables.with_poses_left_out(
        judged, tmp_path / "poses.json"
    )
    tables.renew_poses_left_out(tmp_path / "none.json", tmp_path / "poses.json")


def test_a_body_left_out_is_asked_for_in_words_of_the_others() -> None:
    rules = Walker2d()
    states = rules.sample_states(np.random.default_rng(0), 200)
    degrees = rules.fact_degrees(states)
    said: list[str] = []

    class Seer:
        """Its similarity to every sentence is how high the body is."""

        def embed_texts(self, texts: list[str]) -> torch.Tensor:
            said.extend(texts)
            return torch.ones(len(texts), 1)

    high = degrees[:, [rules.grammar.columns["high"]]].astype(np.float32)
    drawn = Drawn(
        "walker2d", (), {"any": rules}, states, 200, degrees, np.zeros((200, 1)), rules.grammar, {"own": high}
    )
    rows = words.body_left_out(drawn, Seer(), splits.grammars((), ["walker2d"]))
    assert words.body_left_out(drawn, Seer(), splits.grammars()) == []
    by_fact = {row["facts"][0]: row for row in rows}
    assert by_fact["high"]["auc"].value == 1.0 and len(by_fact) > 8
    known = set().union(*(grammar.vocabulary() for grammar in splits.grammars((), ["walker2d"]).values()))
    for text in said:
        assert text.startswith("a robot ") and set(held_out.words_of(text)) <= known
    assert "A body left out" in tables.markdown(
        {k: [] for k in ("goals", "compositions", "too_rare", "paraphrases", "left_out", "controls")}
        | {"bodies": rows},
        [],
    )


def test_trainings_that_leave_out_are_judged_on_what_they_left_out(tmp_path: Path) -> None:
    train_step, _, report = left_out.steps("poses", tmp_path / "data", tmp_path, 7)
    assert train_step.arguments[train_step.arguments.index("--leave-out") + 1 :][:2] == ("kneeling", "splits")
    assert report.arguments[:4] == ("--dir", str(tmp_path / "poses"), "--worlds", "humanoid")
    for name, variant in left_out.VARIANTS.items():
        splits.grammars(variant.poses, variant.without)
        assert (variant.asked in variant.worlds) == (name == "poses")


def test_data_draws_no_state_that_shows_what_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = Humanoid()

    def make(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        states = rules.sample_states(rng, 150)
        return np.zeros((150, 64, 64, 3), np.uint8), rules.fact_degrees(states)

    monkeypatch.setattr(data, "sources", lambda which, scale, worlds: [("humanoid-own", make)])
    monkeypatch.setattr(
        sys, "argv", ["data", "--out", str(tmp_path), "--jobs", "1", "--leave-out", "kneeling"]
    )
    data.main()
    degrees = np.load(tmp_path / "humanoid-own.degrees.npy")
    assert 0 < len(degrees) < 150 and len(np.load(tmp_path / "humanoid-own.frames.npy")) == len(degrees)
    column = splits.GRAMMARS["humanoid"].columns["kneeling"]
    assert degrees[:, column].max() < held_out.TRACE + 1e-3
