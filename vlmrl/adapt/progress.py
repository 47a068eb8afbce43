"""How far an adaptation has come, the line that shows it, and what it ends with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vlmrl.adapt.config import AdaptConfig
from vlmrl.progress import duration


def share_done(config: AdaptConfig, step: int, seconds: float) -> float:
    """Return how much is done, 0 to 1, by steps or by the clock, whichever is further."""
    return min(1.0, max(step / config.steps, seconds / 60 / config.minutes if config.minutes else 0.0))


@dataclass(frozen=True)
class AdaptProgress:
    """Where an adaptation stands after a step."""

    global_step: int
    """Steps done."""
    total_steps: int
    """Steps there will be; by the clock (`minutes`), the most there may be."""
    share: float
    """How much is done, 0 to 1, by steps or by the clock, whichever is further."""
    loss: float
    """The last step's loss."""
    frames_per_s: float
    """Frames trained on per second since the start, validation included."""
    seconds_left: float
    """Estimated seconds to the end."""
    validation: dict[str, float]
    """The last validation; empty before the first."""


def adapt_line(progress: AdaptProgress) -> str:
    """Return one line of plain text: steps, loss, rate, the last validation, time left."""
    parts = [
        f"{progress.share:4.0%}  step {progress.global_step:,}/{progress.total_steps:,}",
        f"loss {progress.loss:.4f}",
        f"{progress.frames_per_s:,.0f} frames/s",
    ]
    parts += [
        f"held-out {k} {progress.validation[k]:.3f}" for k in ("loss", "auc") if k in progress.validation
    ]
    return "  ".join([*parts, f"ETA {duration(progress.seconds_left)}"])


@dataclass(frozen=True)
class AdaptResult:
    """What an adaptation ended with."""

    path: Path
    """The open_clip directory; load it as local-dir:PATH."""
    step: int
    """Steps done."""
    exported_step: int
    """The step whose weights the directory holds."""
    validation: dict[str, float]
    """The figures of these weights on held-out frames."""


Report = Callable[[AdaptProgress], None]
