"""What the embedded encoder is shown: every world in other looks, Gymnasium's own bodies, one kernel for all variants."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import mujoco
import numpy as np
import pytest

from experiments import bodies
from experiments.embedded import data, drawing, manifest, splits, stock, train, variation
from vlmrl.errors import UsageError
from vlmrl.runs import RunFolder
from vlmrl_envs.humanoid import sampling
from vlmrl_envs.rendering import blank_frames
from vlmrl_envs.stock import compile_spec, load


@pytest.mark.parametrize("world", data.WORLDS)
def test_a_variant_is_the_same_body_in_another_look(world: str) -> None:
    rules, rng = data.WORLDS[world](), np.random.default_rng(2)
    shapes = set()
    for _ in range(4):
        spec = variation.redecorated(rules.build_spec(), variation.SCENES[rules.name], rng)
        model = variation.vary(variation.base_of_looks(spec), rules.cameras[0], rng)
        assert (model.nq, model.nv, model.nu) == (rules.model.nq, rules.model.nv, rules.model.nu)
        assert (model.jnt_type == rules.model.jnt_type).all()
        moving = model.geom_bodyid != 0
        assert moving.sum() == (rules.model.geom_bodyid != 0).sum(), (
            "things stand in the world, not on the body"
        )
        added = np.arange(model.ngeom)[~moving][-6:]
        assert (model.geom_contype[added] == 0).all() and model.stat.extent == variation.EXTENT
        shapes.add(tuple(sorted(set(model.geom_type))))
    assert len(shapes) == 1, "one set of shapes, one kernel"


def test_frames_of_variants_show_something_else_each() -> None:
    frames, degrees = drawing.world_source(data.Hopper(), 6, variants=2)(np.random.default_rng(0))
    assert frames.shape == (6, 64, 64, 3) and degrees.shape == (6, len(data.Hopper.grammar.facts))
    assert not blank_frames(frames).any() and degrees.min() >= 0 and degrees.max() <= 1
    assert np.abs(frames[0].astype(int) - frames[3]).mean() > 5


def test_gymnasiums_pendulum_is_drawn_with_its_own_angle() -> None:
    frames, degrees = stock.gymnasium_pendulum(24)(np.random.default_rng(0))
    names = [fact.name for fact in data.Pendulum.grammar.facts]
    red = (frames[..., 0].astype(int) - frames[..., 1]) > 60
    for frame, row in zip(red, degrees, strict=True):
        columns = np.flatnonzero(frame.any(axis=0))
        middle = (columns.min() + columns.max()) / 2 - 31.5
        for side, sign in (("left", -1), ("right", 1)):
            assert row[names.index(side)] < 0.9 or sign * middle > 2


@pytest.mark.parametrize("world", stock.STOCK)
def test_gymnasium_can_load_its_own_body_in_another_look(world: str) -> None:
    """The written file is what Gymnasium's environment is given; drawing it needs GL, loading it does not."""
    file = stock.STOCK[world][1]
    spec = variation.redecorated(load(file), variation.Scene((0, 1)), np.random.default_rng(4))
    ours, theirs = mujoco.MjModel.from_xml_string(spec.to_xml()), compile_spec(load(file))
    assert (ours.nq, ours.nv, ours.nu) == (theirs.nq, theirs.nv, theirs.nu)
    np.testing.assert_allclose(ours.qpos0, theirs.qpos0)
    assert compile_spec(stock.stock_spec(world)).camera("gymnasium").id >= 0


def test_every_world_has_its_sources() -> None:
    warp, gl = ([name for name, _ in data.sources(which, 0.001)] for which in ("warp", "gl"))
    for world in data.WORLDS:
        assert {f"{world}-own", f"{world}-varied"} <= set(warp) and f"{world}-gl" in gl
        theirs = f"{world}-gymnasium" in (warp if world in data.DRAWS_ITSELF else gl)
        assert theirs is (data.GL[world][2] > 0)
    assert len(set(warp + gl)) == len(warp + gl)


def test_the_bodies_experiment_runs_each_chosen_task(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list = []
    monkeypatch.setattr(bodies, "main", lambda name, **kwargs: called.append((name, kwargs)))
    bodies.run(["--tasks", "hopper_lying", "ant_one_leg", "--seeds", "3"])
    assert [name for name, _ in called] == ["hopper_lying", "ant_one_leg"]
    assert called[0][1]["horizons"] == (150, 300) and called[0][1]["arguments"] == ["--seeds", "3"]
    assert set(bodies.CHOSEN) <= set(bodies.ALL) and len(bodies.ALL) == 24
    with pytest.raises(SystemExit):
        bodies.run(["--tasks", "hopper_lying", "ant_one_leg", "--results", "x.json"])


def test_sources_drawn_side_by_side_are_the_same(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    args = argparse.Namespace(
        only="warp", scale=0.0, worlds=["pendulum"], seed=3, leave_out=[], as_they_are=False
    )
    data.draw(argparse.Namespace(**vars(args), out=two, jobs=2))
    assert data.draw_source("pendulum-gymnasium", argparse.Namespace(**vars(args), out=one))[0] == 64
    drawn = sorted(path.name for path in two.glob("*.frames.npy"))
    assert drawn == [f"pendulum-{name}.frames.npy" for name in ("gymnasium", "own", "own96", "varied")]
    assert len(json.loads((two / manifest.NAME).read_text())) == 4 and not list(two.glob("*.part.npy"))
    mine, theirs = data.part_of(one, "pendulum-gymnasium"), data.frames_of(two, "pendulum-gymnasium")
    assert np.array_equal(np.load(mine), np.load(theirs))


def test_frames_that_something_else_drew_are_not_taken(tmp_path: Path) -> None:
    wanted = manifest.drawn_by("cartpole", 0, 1.0, [])
    assert not manifest.is_there(tmp_path, "cartpole-own", wanted)
    (tmp_path / "cartpole-own.frames.npy").touch()
    with pytest.raises(
        UsageError, match=r"frames: got .*cartpole-own.frames.npy of unknown making.*remove it"
    ):
        manifest.is_there(tmp_path, "cartpole-own", wanted)
    manifest.note(tmp_path, "cartpole-own", wanted)
    manifest.note(tmp_path, "cartpole-gl", wanted)
    assert manifest.is_there(tmp_path, "cartpole-own", wanted)
    with pytest.raises(UsageError, match="of other scale, leave_out"):
        manifest.is_there(tmp_path, "cartpole-own", manifest.drawn_by("cartpole", 0, 0.5, ["lotus"]))
    assert wanted["code"] != manifest.drawn_by("pendulum", 0, 1.0, [])["code"]


def test_a_training_is_not_gone_on_with_by_another_recipe(tmp_path: Path) -> None:
    began = train.recipe(tmp_path, tmp_path / "model", "scratch:ViT-B-32", steps=5)
    RunFolder.create(tmp_path / "model", began, "adapt").close()
    train.check_recipe(tmp_path / "model", began)
    with pytest.raises(UsageError, match=r"recipe: got \{'steps': 6\}; expected \{'steps': 5\}"):
        train.check_recipe(tmp_path / "model", replace(began, steps=6))


def test_a_training_goes_on_with_the_share_of_rewordings_it_began_with(tmp_path: Path) -> None:
    splits.write(tmp_path, [], [])
    assert (
        splits.share_reworded(tmp_path) == splits.REWORDED and splits.share_reworded(tmp_path / "none") == 0
    )
    splits.check_reworded(tmp_path)
    note = json.loads((tmp_path / splits.NOTE).read_text())
    (tmp_path / splits.NOTE).write_text(json.dumps({**note, "reworded": 0.1}))
    with pytest.raises(UsageError, match=r"reworded: got 0.4; expected 0.1, as .* began; give another --out"):
        splits.check_reworded(tmp_path)


def test_frames_depend_on_what_worlds_share_and_on_the_views_held_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = manifest.drawn_by("ant", 0, 1.0, [])["code"]
    assert all((manifest.WORLDS / f"{name}.py").is_file() for name in manifest.SHARED)
    monkeypatch.setattr(manifest, "SHARED", manifest.SHARED[1:])
    assert manifest.drawn_by("ant", 0, 1.0, [])["code"] != wanted
    monkeypatch.undo()
    monkeypatch.setattr(splits, "LIGHT_HELD_OUT", (0.3, 0.34))
    assert manifest.drawn_by("ant", 0, 1.0, [])["code"] != wanted


def test_a_training_goes_on_with_what_it_began_to_leave_out(tmp_path: Path) -> None:
    assert splits.as_began(tmp_path, ["lotus"], []) == (["lotus"], [])
    splits.write(tmp_path, ["lotus"], ["ant"])
    assert (
        splits.as_began(tmp_path, [], [])
        == (["lotus"], ["ant"])
        == splits.as_began(tmp_path, ["lotus"], ["ant"])
    )
    with pytest.raises(UsageError, match=r"leave-out: got \['splits'\]; expected \['lotus'\], as .* began"):
        splits.as_began(tmp_path, ["splits"], [])


def test_weights_that_saw_what_shall_be_left_out_are_no_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits.write(tmp_path, ["lotus"], ["ant"])
    splits.check_start(tmp_path, ["lotus"], [])
    for given in ((["splits"], []), ([], ["hopper"])):
        with pytest.raises(
            UsageError, match=r"init: got .* not known to have left out (splits|hopper); expected"
        ):
            splits.check_start(tmp_path, *given)
    monkeypatch.setattr(splits, "LIGHT_HELD_OUT", (0.3, 0.34))
    with pytest.raises(UsageError, match="what today's grammars and views hold out"):
        splits.check_start(tmp_path, [], [])


def test_a_training_that_was_stopped_before_its_first_step_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, called = tmp_path / "model", []
    began = train.recipe(tmp_path, out, "scratch:ViT-B-32", steps=5)
    RunFolder.create(out, began, "adapt").close()
    monkeypatch.setattr(train, "recipe", lambda *_, **__: began)
    monkeypatch.setattr(train, "families", lambda *_: [])
    monkeypatch.setattr(train.adapt, "resume", lambda path, **_: called.append(path))
    train.train(tmp_path, out, without=["ant"])
    assert (
        called == [out]
        and splits.read(out) == ([], ["ant"])
        and splits.share_reworded(out) == splits.REWORDED
    )


def test_arms_on_their_way_are_a_source_of_the_humanoid_alone() -> None:
    names = {world: {name for name, _ in data.sources("warp", 0.001, [world])} for world in data.WORLDS}
    assert {"humanoid-arms", "humanoid-arms-varied"} < names["humanoid"]
    assert not any("-arms" in name for world, found in names.items() if world != "humanoid" for name in found)
    rules = data.Humanoid()
    draw = partial(sampling.sample_arms, rules)
    states = draw(np.random.default_rng(5), 200)
    assert np.array_equal(states, draw(np.random.default_rng(5), 200))
    facts = rules.fact_degrees(states)
    standing = facts[:, rules.grammar.columns["standing"]] > 0.5
    raised = facts[standing, rules.grammar.columns["raised"]]
    assert 0.2 < standing.mean() < 0.7
    assert ((raised > 0.2) & (raised < 0.8)).mean() > 0.03, "on the way, not at its ends alone"
    frames, degrees = drawing.world_source(rules, 4, draw=draw)(np.random.default_rng(5))
    assert (
        frames.shape == (4, 64, 64, 3)
        and degrees.shape == (4, facts.shape[1])
        and not blank_frames(frames).any()
    )


def test_shares_of_a_batch_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    called: list[dict] = []
    result = SimpleNamespace(validation={"loss": 0.5})
    monkeypatch.setattr(train, "train", lambda *places, **changes: called.append(changes) or result)
    monkeypatch.setattr("sys.argv", ["train", "--shares", "humanoid=0.6", "cartpole=0.4"])
    train.main()
    assert called[0]["shares"] == (("humanoid", 0.6), ("cartpole", 0.4))
    monkeypatch.setattr("sys.argv", ["train"])
    train.main()
    assert "shares" not in called[1]
    for wrong in ("mars=0.5", "humanoid=much"):
        monkeypatch.setattr("sys.argv", ["train", "--shares", wrong])
        with pytest.raises(SystemExit):
            train.main()
        assert "--shares: invalid share value" in capsys.readouterr().err
