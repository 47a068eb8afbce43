"""Videos and picture grids: streamed mp4 through imageio's ffmpeg, the reward drawn on the frames."""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image, ImageDraw

from vlmrl.errors import usage_error
from vlmrl.overlay import BACKGROUND, FAINT, annotate, check_frame, font, plain_text

MAX_VIDEO_PIXELS = 16_000_000
"""Videos with larger frames are refused before one is decoded."""


CUT_OFF = b"File ended prematurely"
"""What ffmpeg says of a webm or mkv without its end, which is no error to it."""


class VideoWriter:
    """Streams frames into an mp4 file; only the frame at hand is in memory.

    The file gets its name when the writer closes without an error, so a partial video is never seen.
    """

    def __init__(self, path: str | os.PathLike[str], fps: float = 30.0, *, overwrite: bool = False) -> None:
        """Prepare to write `path` (.mp4) at `fps` frames a second.

        Raises: UsageError if it exists and `overwrite` is False, or its folder does not exist.
        """
        self.path = checked_output(path, ".mp4", overwrite)
        if not fps > 0:
            raise usage_error("fps", fps, "a positive number of frames per second", "use 30")
        self.fps = float(fps)
        self.num_frames = 0
        self._temporary = self.path.with_name(f".tmp-{os.getpid()}-{self.path.name}")
        self._writer: Any = None
        self._shape: tuple[int, ...] | None = None

    def append(self, frame: np.ndarray) -> None:
        """Encode one frame, uint8 (H, W, 3), all of one size.

        Raises: UsageError on other arrays; OSError if ffmpeg cannot be run or the disk is full.
        """
        check_frame(frame)
        if self._shape is None:
            self._shape = frame.shape
            self._writer = self._open()
        if frame.shape != self._shape:
            raise usage_error("frame", f"shape {frame.shape}", f"{self._shape}, as before", "resize it first")
        height, width = frame.shape[:2]
        if height % 2 or width % 2:  # H.264 with 4:2:0 colour stores pixels in twos
            frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        with warnings.catch_warnings():
            # JAX warns of every fork; this one starts ffmpeg at once and runs no Python in between.
            warnings.filterwarnings("ignore", message=r"os\.fork\(\) was called")
            self._writer.append_data(np.ascontiguousarray(frame))
        self.num_frames += 1

    def _open(self) -> Any:
        import imageio.v2 as imageio

        try:
            return imageio.get_writer(
                self._temporary,
                format="FFMPEG",
                mode="I",
                fps=self.fps,
                codec="libx264",
                quality=None,
                pixelformat="yuv420p",  # the one every browser plays
                macro_block_size=1,
                ffmpeg_log_level="error",
                output_params=["-crf", "20", "-preset", "veryfast", "-movflags", "+faststart"],
            )
        except (RuntimeError, OSError) as error:
            raise OSError(f"ffmpeg cannot be run ({error}); `vlmrl doctor` says more") from error

    def close(self) -> None:
        """Finish the file and give it its name; a writer without frames leaves nothing."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            os.replace(self._temporary, self.path)

    def abort(self) -> None:
        """Stop and remove what was written."""
        if self._writer is not None:
            with contextlib.suppress(OSError):  # ffmpeg may be gone already; the file goes too
                self._writer.close()
            self._writer = None
        self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.abort() if kind is not None else self.close()


class RolloutVideo(VideoWriter):
    """Streams an episode with the goal and the reward curve drawn above each frame."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        goal: str,
        *,
        horizon: int,
        fps: float = 30.0,
        reward_range: tuple[float, float] | None = None,
        caption: str = "",
        overwrite: bool = False,
    ) -> None:
        """Prepare `path` for an episode of `horizon` steps.

        `reward_range` fixes the axis of the curve (None: the range seen so far); give before and after
        videos the same one. `caption` is a word or two, such as "before" or "after 400,000 steps".
        """
        super().__init__(path, fps, overwrite=overwrite)
        self._goal, self._horizon, self._caption = goal, horizon, caption
        self._range = reward_range
        self._rewards: list[float] = []

    def step(self, frame: np.ndarray, reward: float, success: bool | None = None) -> None:
        """Add the frame, uint8 (H, W, 3), of one step with the reward that this frame earned."""
        self._rewards.append(float(reward))
        self.append(
            annotate(
                frame,
                self._rewards,
                goal=self._goal,
                horizon=self._horizon,
                reward_range=self._range,
                success=success,
                caption=self._caption,
            )
        )


def write_video(
    path: str | os.PathLike[str], frames: Iterable[np.ndarray], fps: float = 30.0, *, overwrite: bool = False
) -> Path:
    """Write `frames`, each uint8 (H, W, 3), to the mp4 file `path`, one at a time, and return it."""
    with VideoWriter(path, fps, overwrite=overwrite) as writer:
        for frame in frames:
            writer.append(frame)
    return writer.path


def read_video(path: str | os.PathLike[str], fps: float) -> Iterator[tuple[float, np.ndarray]]:
    """Yield (seconds from the start, frame uint8 (H, W, 3)) at `fps` a second; one frame is in memory.

    Reads whatever ffmpeg reads: mp4, webm, gif and more. Where the video is slower than `fps`, frames repeat.
    Raises: UsageError if it cannot be read, is cut off, has no frames, or more pixels than `MAX_VIDEO_PIXELS`.
    """
    import imageio_ffmpeg

    remedy = "replace or remove it"
    if not Path(path).is_file():
        raise usage_error("video", path, "a file that exists", "check the name")
    reader = imageio_ffmpeg.read_frames(str(path), output_params=["-vf", f"fps={fps:g}"])
    count = 0
    try:
        with warnings.catch_warnings():  # of JAX, as in `VideoWriter.append`
            warnings.filterwarnings("ignore", message=r"os\.fork\(\) was called")
            width, height = next(reader)["size"]
        if width * height > MAX_VIDEO_PIXELS or min(width, height) < 8:
            expected = f"sides of 8 pixels or more, {MAX_VIDEO_PIXELS:,} pixels or fewer"
            raise usage_error("video", f"{path}, {width}x{height} pixels", expected, "resize it")
        if _is_cut_off(Path(path)):
            got = f"{path}, which is cut off: its end is missing"
            raise usage_error("video", got, "a whole video", "copy or download it again, or remove it")
        for data in reader:
            yield count / fps, np.frombuffer(data, np.uint8).reshape(height, width, 3)
            count += 1
    except (OSError, RuntimeError, KeyError, IndexError, StopIteration) as error:
        got = f"{path} ({' '.join(str(error).split())[-80:]})"
        raise usage_error("video", got, "a video that ffmpeg can read", remedy) from error
    finally:
        reader.close()
    if not count:
        raise usage_error("video", f"{path}, without a frame", "a video that ffmpeg can read", remedy)


def _is_cut_off(path: Path) -> bool:
    """Tell whether a video lacks its end, as after a broken download; no frame is decoded for it.

    A gif ends in its trailer, or in padding after it. Of anything else ffmpeg reads each packet: one that is not
    whole is an error. Durations and counts tell less: of good files too they are often a little off. A cut
    exactly between two packets of an mp4, one in a thousand or fewer, is not seen.
    """
    import imageio_ffmpeg

    with path.open("rb") as file:
        if file.read(4) == b"GIF8":
            file.seek(-min(64, path.stat().st_size), os.SEEK_END)
            return not file.read().rstrip(b"\0\r\n").endswith(b";")
    copy = ["-map", "0:v", "-map", "0:a?", "-c", "copy", "-f", "null", "-"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-xerror", "-i", str(path), *copy]
    found = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
    return found.returncode != 0 or CUT_OFF in found.stderr


def write_grid(
    path: str | os.PathLike[str],
    frames: Sequence[np.ndarray],
    *,
    columns: int | None = None,
    labels: Sequence[str] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write `frames`, each uint8 (H, W, 3) of one size, as one PNG with `columns` in a row.

    `labels` are drawn below the frames, cut to their width. Raises: UsageError on other input.
    """
    target = checked_output(path, ".png", overwrite)
    if len(frames) == 0 or any(frame.shape != frames[0].shape for frame in frames):
        raise usage_error("frames", len(frames), "one or more frames of one size", "resize them first")
    for frame in frames:
        check_frame(frame)
    columns = columns or math.ceil(math.sqrt(len(frames)))
    height, width = frames[0].shape[:2]
    gap, label_height = 4, 18 if labels else 0
    rows = math.ceil(len(frames) / columns)
    size = (columns * (width + gap) + gap, rows * (height + label_height + gap) + gap)
    canvas = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    for number, frame in enumerate(frames):
        x = gap + (number % columns) * (width + gap)
        y = gap + (number // columns) * (height + label_height + gap)
        canvas.paste(Image.fromarray(frame), (x, y))
        if labels:
            text = plain_text(labels[number])
            while text and draw.textlength(text, font(11)) > width:
                text = text[:-1]
            draw.text((x, y + height + 2), text, font=font(11), fill=FAINT)
    temporary = target.with_name(f".tmp-{os.getpid()}-{target.name}")
    try:
        canvas.save(temporary, format="PNG")
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return target


def checked_output(path: str | os.PathLike[str], suffix: str, overwrite: bool = False) -> Path:
    """Return `path` if a file may be written there.

    Raises: UsageError if its suffix is another, its folder is missing, or it exists and may not be replaced.
    """
    target = Path(path)
    if target.suffix.lower() != suffix:
        raise usage_error("output file", target, f"a name ending in {suffix}", f"add {suffix}")
    if not target.parent.is_dir():
        raise usage_error("output file", target, "a folder that exists", f"make {target.parent} first")
    if target.exists() and not overwrite:
        remedy = "choose another name (nothing was overwritten)"
        raise usage_error("output file", f"{target}, which exists", "a new file", remedy)
    if not os.access(target.parent, os.W_OK):
        raise usage_error("output file", target, "a folder you may write to", "name one elsewhere")
    return target
