"""Progress of a training run: the figures, and the line that shows them."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TextIO


@dataclass(frozen=True)
class Progress:
    """Where a training run stands after an update."""

    global_step: int
    """Environment steps done, over all worlds."""
    total_steps: int
    """Environment steps the run will do."""
    steps_per_s: float
    """Environment steps per second, learning included."""
    frames_per_s: float
    """Frames rendered and scored per second of the whole loop."""
    vlm_reward: float
    """Mean reward per step that the agent was trained on, over the last rollout; where the model is asked rarely, what it
    would have said on average (an unbiased estimate)."""
    env_reward: float
    """Mean reward per step of the environment itself, over the last rollout; never trained on."""
    success: float | None
    """Share of the last episodes that succeeded, 0 to 1; None before the first end or without a check."""
    seconds_left: float
    """Estimated seconds to the end."""
    share_asked: float | None = None
    """Share of the last rollout's states that the reward model was asked about, 0 to 1; None where it always is."""


def duration(seconds: float) -> str:
    """Return `seconds` as m:ss, or h:mm:ss from one hour on; "--:--" if unknown."""
    if not 0 <= seconds < 1e9:  # also refuses NaN
        return "--:--"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def progress_line(progress: Progress) -> str:
    """Return one line of plain text: steps, rates, rewards, success, time left."""
    share = progress.global_step / max(progress.total_steps, 1)
    parts = [
        f"{share:4.0%}  step {progress.global_step:,}/{progress.total_steps:,}",
        f"{progress.steps_per_s:,.0f} steps/s",
        f"{progress.frames_per_s:,.0f} frames/s",
        f"vlm reward {progress.vlm_reward:.4f}",
        f"env reward {progress.env_reward:.3f}",
    ]
    if progress.share_asked is not None:
        parts.append(f"asked {progress.share_asked:.1%}")
    if progress.success is not None:
        parts.append(f"success {progress.success:.0%}")
    parts.append(f"ETA {duration(progress.seconds_left)}")
    return "  ".join(parts)


class ProgressPrinter:
    """Shows progress: one line rewritten in place on a terminal, plain lines now and then elsewhere."""

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        every_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        line: Callable[[Any], str] = progress_line,
    ) -> None:
        """Write to `stream` (standard error if None), at most once in `every_s` seconds (0.2 or 5).

        `line` writes what is shown; what it is given has at least `global_step` and `total_steps`.
        """
        self._stream = sys.stderr if stream is None else stream
        self._in_place = bool(getattr(self._stream, "isatty", lambda: False)())
        self._every_s = (0.2 if self._in_place else 5.0) if every_s is None else every_s
        self._clock = clock
        self._text = line
        self._last: float | None = None
        self._open_line = False

    def __call__(self, progress: Any) -> None:
        """Show `progress` if it is the first, the last, or due."""
        now = self._clock()
        done = progress.global_step >= progress.total_steps
        if self._last is not None and now - self._last < self._every_s and not done:
            return
        self._last = now
        line = self._text(progress)
        if self._in_place:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write(f"\r\x1b[K{line[:width]}")  # erase first: the line may have grown shorter
            self._open_line = True
        else:
            self._stream.write(line + "\n")
        self._stream.flush()

    def close(self) -> None:
        """End the line that is rewritten in place, so that what follows starts on its own."""
        if self._open_line:
            self._stream.write("\n")
            self._stream.flush()
            self._open_line = False
