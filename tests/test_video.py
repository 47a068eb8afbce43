"""Videos: streamed, never partial, never overwritten; the reward is on the frames."""

from __future__ import annotations

import re
import resource
import subprocess

import imageio.v2 as imageio
import imageio_ffmpeg
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vlmrl import overlay, video
from vlmrl.errors import UsageError
from vlmrl.overlay import annotate, enlarge, plain_text
from vlmrl.video import RolloutVideo, VideoWriter, write_grid, write_video

GOAL = "pole vertically upright on top of the cart"


def frames(count: int = 6, height: int = 32, width: int = 48) -> np.ndarray:
    """Grey frames, each brighter than the last."""
    levels = np.linspace(40, 220, count).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (count, height, width, 3)).copy()


def test_a_video_plays_back_what_was_written(tmp_path):
    path = write_video(tmp_path / "a.mp4", frames(), fps=10)
    with imageio.get_reader(path) as reader:
        assert reader.get_meta_data()["fps"] == 10
        back = np.stack([frame for frame in reader])
    assert back.shape == (6, 32, 48, 3)
    assert np.abs(back.astype(int) - frames()).max() < 8


def test_odd_sides_are_padded(tmp_path):
    path = write_video(tmp_path / "a.mp4", frames(2, 33, 49))
    with imageio.get_reader(path) as reader:
        assert reader.get_data(0).shape == (34, 50, 3)


def test_nothing_is_overwritten_and_nothing_partial_is_left(tmp_path):
    path = write_video(tmp_path / "a.mp4", frames())
    before = path.read_bytes()
    with pytest.raises(UsageError, match=r"output file: got .*which exists; .*nothing was overwritten"):
        VideoWriter(path)
    with pytest.raises(RuntimeError, match="midway"), VideoWriter(tmp_path / "b.mp4") as writer:
        writer.append(frames()[0])
        raise RuntimeError("midway")
    with VideoWriter(tmp_path / "c.mp4"):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]
    assert path.read_bytes() == before
    assert write_video(path, frames(2), overwrite=True).read_bytes() != before


@pytest.mark.parametrize(
    ("frame", "got"),
    [
        (np.zeros((8, 8, 3), np.float32), r"float32 \(8, 8, 3\)"),
        (np.zeros((8, 8, 4), np.uint8), r"uint8 \(8, 8, 4\)"),
        (np.zeros((8, 8), np.uint8), r"uint8 \(8, 8\)"),
        (None, "NoneType"),
    ],
)
def test_what_is_no_frame_is_refused(tmp_path, frame, got):
    with (
        pytest.raises(UsageError, match=rf"frame: got {got}.*expected uint8 \(H, W, 3\)"),
        VideoWriter(tmp_path / "a.mp4") as writer,
    ):
        writer.append(frame)
    assert not list(tmp_path.iterdir())


def test_wrong_places_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"expected a name ending in \.mp4"):
        VideoWriter(tmp_path / "a.gif")
    with pytest.raises(UsageError, match="expected a folder that exists"):
        VideoWriter(tmp_path / "none" / "a.mp4")
    with pytest.raises(UsageError, match="fps: got 0"):
        VideoWriter(tmp_path / "a.mp4", 0)
    with pytest.raises(UsageError, match="frame: got shape"), VideoWriter(tmp_path / "a.mp4") as writer:
        writer.append(frames()[0])
        writer.append(frames(1, 64, 64)[0])


def test_ffmpeg_that_cannot_be_run_is_named(tmp_path, monkeypatch):
    def missing(*_: object, **__: object) -> None:
        raise RuntimeError("No ffmpeg exe could be found")

    monkeypatch.setattr(imageio, "get_writer", missing)
    with pytest.raises(OSError, match=r"ffmpeg cannot be run \(No ffmpeg exe.*vlmrl doctor"):
        write_video(tmp_path / "a.mp4", frames())


KINDS = {
    "mp4": [
        "-movflags",
        "+faststart",
    ],  # its index first, as for the web: without it a cut file is no video at all
    "webm": ["-c:v", "libvpx"],
    "mkv": [],
    "avi": [],
    "gif": [],
    "sound.mp4": ["-f", "lavfi", "-i", "sine=duration=3", "-c:a", "aac", "-movflags", "+faststart"],
    "varying.mp4": ["-vf", "select='lt(n,10)+not(mod(n,5))'", "-fps_mode", "vfr", "-movflags", "+faststart"],
}
"""Kinds of two seconds of video, by the end of their names, and ffmpeg's arguments that make them."""


def converted(tmp_path, kind):
    """Write two seconds of a moving picture, 24 frames a second, as a video of a kind."""
    noise = np.random.default_rng(0).integers(0, 255, (32, 48, 3), dtype=np.uint8)
    source = write_video(tmp_path / "source.mp4", [np.roll(noise, i, 0) for i in range(48)], fps=24)
    path = tmp_path / f"x.{kind}"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", source, *KINDS[kind], path]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_a_video_that_is_cut_off_is_refused_and_a_whole_one_is_read(tmp_path, kind):
    path = converted(tmp_path, kind)
    assert len(list(video.read_video(path, 4))) == 8
    whole = path.read_bytes()
    for share in (0.95, 0.6):
        path.write_bytes(whole[: int(share * len(whole))])
        message = f"video: got {path}, which is cut off: its end is missing; expected a whole video; copy or"
        with pytest.raises(UsageError, match=re.escape(message)):
            next(video.read_video(path, 4))


def test_memory_stays_flat(tmp_path):
    with VideoWriter(tmp_path / "a.mp4") as writer:
        writer.append(np.zeros((128, 128, 3), np.uint8))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for number in range(600):  # 28 MiB of frames
            writer.append(np.full((128, 128, 3), number % 251, np.uint8))
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 * 1024
    assert writer.num_frames == 601


def test_the_curve_follows_the_reward():
    frame = frames(1, 64, 64)[0]
    sizes = set()
    marks = []
    for reward in (0.0, 0.5, 1.0):
        shown = annotate(frame, [0.5, reward], goal=GOAL, horizon=2, reward_range=(0.0, 1.0))
        sizes.add(shown.shape)
        rows, columns = np.nonzero((shown == overlay.TEXT).all(-1))
        right = rows[columns > shown.shape[1] - 30]  # the dot at the end of the curve
        marks.append(right.mean())
    assert marks[0] > marks[1] + 10 > marks[2] + 20
    assert len(sizes) == 1  # a video needs frames of one size
    (height, width, _) = sizes.pop()
    assert width == 64 * 6 and height % 2 == 0


def test_success_and_goal_are_drawn():
    frame = frames(1, 64, 64)[0]
    plain, at_goal, other = (
        annotate(frame, [0.1], goal=goal, horizon=5, success=success)
        for goal, success in ((GOAL, None), (GOAL, True), ("another sentence", None))
    )
    assert (at_goal == overlay.GOOD).all(-1).any() and not (plain == overlay.GOOD).all(-1).any()
    assert plain.shape == other.shape and (plain != other).any()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=12),
    st.text(max_size=80),
    st.integers(8, 90),
    st.integers(8, 90),
)
def test_any_reward_and_any_words_can_be_drawn(rewards, words, height, width):
    shown = annotate(np.zeros((height, width, 3), np.uint8), rewards, goal=words, horizon=10)
    assert shown.dtype == np.uint8 and shown.shape[0] % 2 == 0 and shown.shape[1] % 2 == 0


def test_small_frames_are_enlarged_by_whole_factors():
    frame = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    big = enlarge(frame, 8)
    assert big.shape == (8, 8, 3)
    np.testing.assert_array_equal(big[::4, ::4], frame)
    assert enlarge(np.zeros((400, 600, 3), np.uint8), 384).shape == (400, 600, 3)
    assert enlarge(np.zeros((224, 224, 3), np.uint8), 384).shape == (448, 448, 3)


def test_fancy_letters_become_plain():
    assert plain_text("“é” – naïve → 2×") == '"e" - naive -> 2x'
    assert plain_text("日本") == "??"


def test_an_episode_is_a_video(tmp_path):
    with RolloutVideo(tmp_path / "a.mp4", GOAL, horizon=4, caption="before") as episode:
        for number, frame in enumerate(frames(4, 64, 64)):
            episode.step(frame, number / 4, success=number > 2)
    with imageio.get_reader(episode.path) as reader:
        assert len([frame for frame in reader]) == 4


def test_a_grid_shows_every_frame(tmp_path):
    path = write_grid(tmp_path / "a.png", list(frames(5)), columns=3, labels=["a long label " * 9] * 5)
    with Image.open(path) as image:
        pixels = np.asarray(image)
    for frame in frames(5):
        assert (pixels == frame[0, 0]).all(-1).sum() >= 32 * 48
    assert pixels.shape[1] == 3 * 52 + 4
    with pytest.raises(UsageError, match="which exists"):
        write_grid(path, list(frames(5)))
    with pytest.raises(UsageError, match="frames: got 0"):
        write_grid(tmp_path / "b.png", [])
    assert video.checked_output(path, ".png", overwrite=True) == path
