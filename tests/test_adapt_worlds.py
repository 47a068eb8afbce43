"""Worlds and stored files as sources: what a world of one's own gives that nothing could be learnt from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import adapt_fakes as fakes
import numpy as np
import pytest
from adapt_fakes import small

from vlmrl import adapt
from vlmrl.adapt import StoredSource, WorldSource, worlds
from vlmrl.adapt.checks import checked_degrees
from vlmrl.adapt.pairs import ArrayStore, Known, fit_square, split_tail
from vlmrl.adapt.stored import open_stored, world_grammar
from vlmrl.errors import UsageError
from vlmrl_envs.rules import Caption


@pytest.fixture(autouse=True)
def _world() -> None:
    fakes.register()


def opened(monkeypatch, cls: type = fakes.Squares, **methods: Any) -> worlds.WorldFrames:
    """Open a world of squares some of whose methods are replaced."""
    for name, method in methods.items():
        monkeypatch.setattr(cls, name, method)
    return worlds.WorldFrames(WorldSource(f"test/{cls.__name__}-v0"), 16)


def refusal(world: worlds.WorldFrames) -> str:
    with pytest.raises(UsageError) as caught:
        world.draw(np.random.default_rng(0), 6)
    assert "\n" not in str(caught.value)
    return str(caught.value)


draw = fakes.Squares.render_states
FRAMES = {
    "floats": (
        lambda *a, **o: draw(*a, **o) / 255,
        "frames of test_squares_v0: got float64 (6, 16, 16, 3); expected uint8",
    ),
    "floats of another size": (lambda self, states, size: draw(self, states, size=(24, 24)) / 255, "float64"),
    "grey": (lambda *a, **o: draw(*a, **o)[..., :1], "frames of test_squares_v0: got uint8 (6, 16, 16, 1)"),
    "a list": (lambda *a, **o: list(draw(*a, **o)), "frames of test_squares_v0: got list"),
    "too few": (
        lambda *a, **o: draw(*a, **o)[1:],
        "world: got test_squares_v0, whose render_states gives 5 frames of 6 states",
    ),
}


@pytest.mark.parametrize("name", FRAMES)
def test_what_is_no_frame_of_each_state_is_refused(monkeypatch, name: str) -> None:
    method, message = FRAMES[name]
    assert message in refusal(opened(monkeypatch, render_states=method))


CAPTIONS = {
    "100": ([Caption("a square", 100.0)], "gives Caption(text='a square', degree=100.0); expected captions"),
    "-1": ([Caption("a square", -1.0)], "degree=-1.0"),
    "nan": ([Caption("a square", float("nan"))], "degree=nan"),
    "no number": ([Caption("a square", "much")], "degree='much'"),  # type: ignore[arg-type]
    "blank": ([Caption(" \n", 1.0)], "each with a text that is not blank and a degree from 0 to 1"),
    "no text": ([Caption(None, 1.0)], "text=None"),  # type: ignore[arg-type]
    "strings": (["a red square"], "world: got test_squares_v0, whose describe gives 'a red square'"),
    "a string": ("a red square", "whose describe gives 'a red square'"),
    "None": (None, "whose describe gives None"),
    "nothing": ([], "world: got test_squares_v0, without a caption for a state"),
}


@pytest.mark.parametrize("name", CAPTIONS)
def test_what_is_no_caption_is_refused(monkeypatch, name: str) -> None:
    said, message = CAPTIONS[name]
    assert message in refusal(opened(monkeypatch, describe=lambda self, state: said))


degrees = fakes.SaidSquares.fact_degrees
DEGREES = {
    "too few rows": (
        lambda self, s: degrees(self, s)[1:],
        "gives shape (5, 4); expected (6, 4), a degree of",
    ),
    "too few columns": (lambda self, s: degrees(self, s)[:, 1:], "gives shape (6, 3)"),
    "100": (
        lambda self, s: 100 * degrees(self, s),
        "gives 100; expected finite numbers from 0 to 1; scale or clip",
    ),
    "-1": (lambda self, s: -1 + 0 * degrees(self, s), "gives -1"),
    "nan": (lambda self, s: np.nan * degrees(self, s), "gives nan"),
    "None": (lambda self, s: None, "whose fact_degrees gives"),
    "words": (lambda self, s: ["red"], "world: got test_saidsquares_v0, whose fact_degrees gives ['red']"),
}


@pytest.mark.parametrize("name", DEGREES)
def test_what_is_no_degree_of_each_fact_is_refused(monkeypatch, name: str) -> None:
    method, message = DEGREES[name]
    assert message in refusal(opened(monkeypatch, fakes.SaidSquares, fact_degrees=method))


def test_degrees_may_be_a_rounding_error_off() -> None:
    found = np.array([[1 + 1e-9, -1e-9]])
    assert checked_degrees("x", found, 1, 2) is found and checked_degrees("x", found, 1, None) is found


@pytest.mark.parametrize("cls", [fakes.Squares, fakes.SaidSquares])
def test_too_few_states_are_refused(monkeypatch, cls: type) -> None:
    few = lambda self, rng, n: np.zeros((n - 1, 3))  # noqa: E731
    world = opened(monkeypatch, cls, sample_states=few)
    assert f"{world.name}, whose sample_states gives shape (5, 3) for n=6" in refusal(world)


def test_a_refused_world_leaves_no_folder_behind(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(fakes.Squares, "describe", lambda self, state: ["a square"])
    config = small(tmp_path)
    with pytest.raises(UsageError, match="world: got test_squares_v0, whose describe gives 'a square'"):
        adapt.run(config)
    assert not config.out.exists()


def test_frames_that_are_not_bytes_are_never_taken_as_they_are() -> None:
    frames = np.zeros((4, 16, 16, 3))
    with pytest.raises(UsageError, match="frames: got float64"):
        fit_square(frames, 16)
    store = ArrayStore("x", frames, Known(captions=[{"a": 1.0}] * 4), *split_tail(4, 0.5), size=16)
    with pytest.raises(UsageError, match="frames: got float64"):
        store.draw(np.random.default_rng(0), 2)


@pytest.mark.parametrize("wrong", [100.0, -1.0, float("nan"), float("inf")])
def test_stored_degrees_outside_their_range_are_refused(tmp_path: Path, wrong: float) -> None:
    found = np.zeros((4, len(world_grammar("cartpole").facts)), np.float16)
    np.save(tmp_path / "cartpole-own.frames.npy", np.zeros((4, 16, 16, 3), np.uint8))
    np.save(tmp_path / "cartpole-own.degrees.npy", found)
    assert list(open_stored(StoredSource(tmp_path), 16, 0.1)) == ["cartpole"]
    found[2, 1] = wrong
    np.save(tmp_path / "cartpole-own.degrees.npy", found)
    message = "stored: got cartpole-own.degrees.npy of float16, not all of them from 0 to 1; expected finite"
    with pytest.raises(UsageError, match=message):
        open_stored(StoredSource(tmp_path), 16, 0.1)


def test_stored_degrees_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    words = np.full((4, len(world_grammar("cartpole").facts)), "much")
    np.save(tmp_path / "cartpole-own.frames.npy", np.zeros((4, 16, 16, 3), np.uint8))
    np.save(tmp_path / "cartpole-own.degrees.npy", words)
    with pytest.raises(UsageError, match="expected finite degrees from 0 to 1"):
        open_stored(StoredSource(tmp_path), 16, 0.1)


# -- what is held out ------------------------------------------------------------------------------------------------

SHARED = "test_fewsquares_v0: {} states are both trained on and held out; expected none; .* draws too few different"


@pytest.mark.parametrize(("frames", "count"), [(60, "12 of 12 held-out"), (0, "12 of a batch's 12")])
def test_states_that_are_trained_on_and_held_out_are_counted(tmp_path: Path, frames: int, count: str) -> None:
    config = small(tmp_path, sources=(WorldSource("test/FewSquares-v0", frames=frames),), nothings=0.0)
    with pytest.warns(UserWarning, match=SHARED.format(count)) as caught:
        adapt.run(config)
    assert len([w for w in caught if "trained on and held out" in str(w.message)]) == 1


@pytest.mark.parametrize("frames", [60, 0])
def test_a_world_of_many_states_shares_none(tmp_path: Path, recwarn, frames: int) -> None:
    adapt.run(small(tmp_path, sources=(WorldSource("test/Squares-v0", frames=frames),)))
    assert not [w for w in recwarn if "held out" in str(w.message)]


@pytest.mark.parametrize(("frames", "numbers"), [(60, (48, 12)), (0, (None, None))])
def test_the_record_counts_no_frames_that_are_drawn_anew(tmp_path: Path, frames: int, numbers: tuple) -> None:
    config = small(tmp_path, sources=(WorldSource("test/Squares-v0", frames=frames),))
    adapt.run(config)
    (row,) = json.loads((config.out / "adapt.json").read_text())["data"]
    assert (row["source"], row["frames"], row["held_out"]) == ("test_squares_v0", *numbers)
