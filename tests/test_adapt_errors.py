"""Every wrong input of vlmrl adapt: one line that says name, got, expected and remedy; nothing is left behind."""

from __future__ import annotations

import json
from pathlib import Path

import adapt_fakes as fakes
import gymnasium
import numpy as np
import pytest
from adapt_fakes import small

from vlmrl import adapt
from vlmrl.adapt import VideoSource, WorldSource
from vlmrl.adapt.captions import read_captions
from vlmrl.adapt.config import AdaptConfig
from vlmrl.adapt.tokens import Tokens
from vlmrl.adapt.videos import open_videos
from vlmrl.cli import main
from vlmrl.errors import UsageError

# -- wrong input -----------------------------------------------------------------------------------------------------

ROW = {"file": "a.mp4", "caption": "x"}
BAD_CAPTIONS = {
    "no video": (None, "videos: got .* without one"),
    "nothing": ([], "captions: got none for .*a.mp4; expected a row in captions.json, or a.txt beside it"),
    "another file": (
        [{**ROW, "file": "b.mp4"}],
        "captions: got captions.json, row 1 of 'b.mp4'; expected a video in",
    ),
    "no caption": ([{"file": "a.mp4"}], "without file or caption"),
    "unknown field": ([{**ROW, "begin": 1}], "only file, caption, start, end, truth"),
    "end first": ([{**ROW, "start": 2, "end": 1}], "from 2.0 to 1.0 s; expected start before end"),
    "no number": ([{**ROW, "start": "soon"}], "with start 'soon'; expected a number"),
    "no truth": ([{**ROW, "truth": 2}], "of truth 2.0; expected a number from 0 to 1"),
    "no row": (["a.mp4"], "row 1 with 'a.mp4'"),
    "no list": (3, "with a int; expected a list of rows"),
}


@pytest.mark.parametrize("name", BAD_CAPTIONS)
def test_captions_and_videos_that_do_not_pair_are_named(tmp_path: Path, name: str) -> None:
    rows, message = BAD_CAPTIONS[name]
    if rows is not None:
        (tmp_path / "a.mp4").touch()
        (tmp_path / "captions.json").write_text(json.dumps(rows))
    with pytest.raises(UsageError, match=message) as caught:
        read_captions(tmp_path)
    assert "\n" not in str(caught.value)


def test_damaged_caption_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    (tmp_path / "captions.json").write_text("[{")
    with pytest.raises(UsageError, match=r"captions.json .*expected a json file"):
        read_captions(tmp_path)
    (tmp_path / "captions.csv").write_text("file,caption\n")
    with pytest.raises(UsageError, match="expected one of them"):
        read_captions(tmp_path)
    (tmp_path / "captions.csv").unlink()
    (tmp_path / "captions.json").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="expected a text file in UTF-8"):
        read_captions(tmp_path)


def test_a_video_that_cannot_be_read_leaves_no_folder_behind(tmp_path: Path) -> None:
    place = tmp_path / "clips"
    place.mkdir()
    (place / "a.mp4").write_bytes(b"no video at all")
    (place / "a.txt").write_text("a robot")
    config = small(tmp_path, sources=(VideoSource(place),))
    with pytest.raises(UsageError, match=r"video: got .*a.mp4 .*expected a video that ffmpeg can read"):
        adapt.run(config)
    assert not config.out.exists()


def test_a_caption_after_the_end_of_its_video_is_named(tmp_path: Path) -> None:
    fakes.write_clip(tmp_path / "a.mp4", ["red"])
    (tmp_path / "captions.json").write_text(json.dumps([{**ROW, "start": 30}, ROW]))
    with pytest.raises(UsageError, match=r"'x' from 30 to inf s of .*a.mp4, which ends at 0.75 s"):
        open_videos(VideoSource(tmp_path), "clips", 16, 0.2, 0, tmp_path / "cache", 100)


def test_a_text_over_the_context_length_is_named_with_its_tokens(tmp_path: Path) -> None:
    source = fakes.videos(tmp_path)
    (source.videos / "three.txt").write_text("a robot " * 20)
    config = small(tmp_path, sources=(source,))
    with pytest.raises(
        UsageError, match=r"caption: got 'a robot a robot.* of 42 tokens; expected at most 16 tokens"
    ):
        adapt.run(config)
    assert not config.out.exists()
    import open_clip

    tokens = Tokens(open_clip.SimpleTokenizer(context_length=16), 16, cut=True)
    assert tokens.fits("a robot " * 20) and tokens(["a robot " * 20]).shape == (1, 16)


def test_a_long_caption_of_a_world_is_refused_at_once_or_passed_over(tmp_path: Path) -> None:
    fakes.register()
    config = small(tmp_path, "LongSquares")
    with pytest.raises(
        UsageError, match=r"caption: got 'a square that is large .* expected at most 16 tokens"
    ):
        adapt.run(config)
    assert not config.out.exists()
    anew = small(tmp_path, sources=(WorldSource("test/LongSquares-v0", frames=0),))
    assert adapt.run(anew).step == 4


def test_a_long_phrase_of_a_grammar_is_never_said(tmp_path: Path) -> None:
    fakes.register()
    found = adapt.run(small(tmp_path, "LongSaidSquares")).validation
    assert "spearman/test_longsaidsquares_v0" in found


class Drawn(gymnasium.Env):
    """A plain env that knows its states, and nothing else of the World protocol."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    observation_space = action_space = gymnasium.spaces.Discrete(2)
    sample_states, render_states = fakes.Squares.sample_states, fakes.Squares.render_states
    describe = fakes.Squares.describe


class Mute(Drawn):
    describe = render_states = None  # type: ignore[assignment]


def test_a_world_needs_the_methods_that_are_used_and_no_other(tmp_path: Path) -> None:
    for cls in (Drawn, Mute):
        if f"test/{cls.__name__}-v0" not in gymnasium.registry:
            gymnasium.register(f"test/{cls.__name__}-v0", entry_point=cls)
    assert adapt.run(small(tmp_path, "Drawn")).step == 4
    message = (
        "world: got test/Mute-v0 without describe, render_states; expected an env with sample_states, describe, "
        r"render_states; give it sample_states\(rng, n\), describe\(state\) and render_states"
    )
    with pytest.raises(UsageError, match=message):
        adapt.run(small(tmp_path, "Mute", out=tmp_path / "mute"))


def test_what_is_wrong_at_first_sight_is_said_before_frames_are_drawn(tmp_path: Path, monkeypatch) -> None:
    fakes.register()
    monkeypatch.setattr("vlmrl.adapt.worlds.WorldFrames.parts", lambda *_: pytest.fail("drawn"))
    world = small(tmp_path).sources[0]
    for changes, message in (
        ({"shares": (("squares", 0.5),)}, "shares: got squares; expected one of test_squares_v0"),
        ({"sources": (world, VideoSource(tmp_path / "nowhere"))}, "videos: got .* a folder that exists"),
        ({"sources": (world, fakes.videos(tmp_path), WorldSource("vlmrl/CartPole-v0")), "batch": 2},
         "batch: got 2 for 3 families"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=message):
            adapt.run(small(tmp_path, **changes))
        assert not (tmp_path / "out").exists()


WRONG = {
    "steps": ({"steps": 0}, "steps: got 0; expected 1 or more"),
    "batch": ({"batch": 1}, "batch: got 1"),
    "lr": ({"lr": 3.0}, "lr: got 3.0"),
    "held_out": ({"held_out": 0.0}, "held_out: got 0"),
    "nothings": ({"nothings": 0.9}, "nothings: got 0.9"),
    "accumulate": ({"accumulate": 13}, "accumulate: got 13"),
    "workers": ({"workers": 7}, "workers: got 7 beside a batch of 12 and accumulate 1"),
    "workers and parts": ({"workers": 2, "accumulate": 2}, "workers: got 2"),
    "shares": ({"shares": (("a", 0.7), ("b", 0.7))}, "shares: got"),
    "nan": ({"weight_decay": float("nan")}, "weight_decay: got nan"),
    "frames": ({"sources": (WorldSource("x", frames=-1),)}, "world frames: got -1"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_configs_are_refused(tmp_path: Path, name: str) -> None:
    changes, message = WRONG[name]
    with pytest.raises(UsageError, match=message):
        small(tmp_path, **changes)


def test_without_a_source_nothing_is_made(tmp_path: Path) -> None:
    config = small(tmp_path, sources=())
    with pytest.raises(UsageError, match="sources: got none"):
        adapt.run(config)
    assert not config.out.exists()


def test_the_command_line_says_what_is_wrong_in_one_line(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.json").write_text("{")
    out = ["adapt", "--out", str(tmp_path / "out"), "--device", "cpu"]
    world = ["--world", "vlmrl/CartPole-v0"]
    for arguments, message in (
        (["adapt"], "out: got none"),
        (out, "sources: got none"),
        ([*out, "--videos", str(tmp_path / "nowhere")], "videos: got"),
        ([*out, "--videos", str(tmp_path / "empty")], "without one"),
        ([*out, "--stored", str(tmp_path / "empty")], "stored: got"),
        ([*out, "--world", "CartPole-v1"], "world: got CartPole-v1"),
        ([*out, "--world", "vlmrl/CartPol-v0"], "did you mean vlmrl/CartPole-v0"),
        ([*out, *world, "--start", "scratch:ViT-B-33"], "close are ViT-B-32"),
        ([*out, *world, "--start", f"scratch:{tmp_path / 'bad.json'}"], "start: got scratch:"),
        ([*out, *world, "--start", "ViT-B-32/nothing"], "encoder: got ViT-B-32/nothing"),
        ([*out, *world, "--start", "ViT-B-32/laion2b_s34b_b79k"], "HF_HUB_OFFLINE"),
        ([*out, *world, "--start", "local-dir:/nowhere"], "a folder that exists"),
        ([*out, *world, "--share", "cartpole"], "share: got 'cartpole'"),
        ([*out, *world, "--device", "cuda:77"], "device: got cuda:77"),
        (["adapt", "--resume", str(tmp_path / "empty")], "run: got"),
    ):
        assert main(arguments) == 2, arguments
        error = capsys.readouterr().err.strip()
        assert error.startswith("vlmrl: error: ") and message in error and "\n" not in error, error
        assert not (tmp_path / "out").exists()


def test_stored_files_that_do_not_pair_are_named(tmp_path: Path) -> None:
    from vlmrl.adapt.config import StoredSource
    from vlmrl.adapt.stored import open_stored

    def refusal() -> str:
        with pytest.raises(UsageError) as caught:
            open_stored(StoredSource(tmp_path), 16, 0.1)
        return str(caught.value)

    frames = tmp_path / "cartpole-own.frames.npy"
    np.save(frames, np.zeros((4, 16, 16, 3), np.uint8))
    assert "without cartpole-own.degrees.npy" in refusal()
    np.save(tmp_path / "cartpole-own.degrees.npy", np.zeros((3, 2)))
    assert "of shape (3, 2) for 4 frames" in refusal()
    np.save(frames, np.zeros((4, 16, 16, 3)))
    assert "uint8 frames" in refusal()
    frames.write_bytes(b"short")
    assert "whole .npy files" in refusal()
    np.save(tmp_path / "dragon-own.frames.npy", np.zeros((4, 16, 16, 3), np.uint8))
    frames.unlink()
    assert "stored: got dragon" in refusal()


def test_a_config_comes_back_from_its_json(tmp_path: Path) -> None:
    from vlmrl.adapt.config import StoredSource
    from vlmrl.configs import from_plain, to_plain

    sources = (
        WorldSource("a/B-v0", (("pose", "kneeling"),)),
        StoredSource(tmp_path, ("x",)),
        VideoSource(tmp_path),
    )
    config = small(tmp_path, sources=sources, shares=(("x", 0.5),))
    assert from_plain(AdaptConfig, json.loads(json.dumps(to_plain(config)))) == config
