"""Measure the frames/s that an encoder embeds from uint8, preprocessing included, beside plain open_clip.

    python -m benchmarks.encoder_speed
    python -m benchmarks.encoder_speed --encoder embedded ViT-B-32/random:0

Each figure is the median over repeats with their range; repeats of all rows alternate, so that a busy minute
of the machine meets every row. "plain open_clip" is the same model used as its README does: PIL transform,
float32.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from experiments.common import provenance
from vlmrl.encoders import load_encoder
from vlmrl.encoders.clip import ClipEncoder
from vlmrl.encoders.sources import EMBEDDED, load_clip
from vlmrl.encoders.speed import probe_frames
from vlmrl.errors import UsageError
from vlmrl.runtime import limit_threads

TARGET = 3000.0  # frames/s of `embedded` from 96x96, two CPU cores


@dataclass(frozen=True)
class SpeedConfig:
    """What to measure."""

    encoder: tuple[str, ...] = ("embedded",)
    """Names as `load_encoder` takes them; `embedded` falls back to `random` until its weights exist."""
    sides: tuple[int, ...] = (96, 64)
    """Sides of the square frames, in pixels."""
    repeats: int = 9
    """Timed repeats of each row, after one that is not timed."""
    seconds: float = 1.0
    """About how long one repeat of a row takes; sets its number of frames."""
    device: str | None = "cpu"
    """Where the encoders run."""
    threads: int | None = None
    """CPU threads; None for every core."""
    plain: bool = True
    """Also time plain open_clip with its PIL transform."""
    out: Path = Path("experiments/results/encoder_speed.json")
    """Where the results go, as JSON."""


@dataclass(frozen=True)
class Row:
    """One thing to time: `embed` takes uint8 frames (B, side, side, 3)."""

    encoder: str
    side: int
    how: str
    precision: str
    embed: Callable[[np.ndarray], Any]


def main(config: SpeedConfig) -> None:
    """Time every row and write the results."""
    threads = limit_threads(config.threads)
    rows = [row for name in config.encoder for row in make_rows(name, config)]
    results = measure(rows, config)
    report = {"target_frames_per_s": TARGET, "rows": results, **about(threads, config.device)}
    config.out.parent.mkdir(parents=True, exist_ok=True)
    config.out.write_text(json.dumps(report, indent=2) + "\n")
    for result in results:
        low, high = result["range"]
        print(
            f"{result['encoder']:24} {result['side']:4} px  {result['how']:15} {result['precision']:9}"
            f" {result['frames_per_s']:9,.0f} frames/s  [{low:,.0f}, {high:,.0f}]"
        )
    print(f"written to {config.out}")


def make_rows(name: str, config: SpeedConfig) -> list[Row]:
    """Return the rows of one encoder: ours, ours in float32 where that differs, and plain open_clip."""
    if name == "embedded" and not (EMBEDDED / "open_clip_model.safetensors").is_file():
        name = "random"
    fast = load_encoder(name, config.device)
    Way = tuple[str, str, Callable[[np.ndarray], Any]]
    ways: list[Way] = [("vlmrl", fast.precision, fast.embed_images)]
    if fast.precision != "float32":
        exact = load_encoder(name, config.device, precision="float32")
        ways.append(("vlmrl", "float32", exact.embed_images))
    if config.plain:
        ways.append(("plain open_clip", "float32", plain_open_clip(name, fast)))
    return [Row(name, side, how, precision, embed) for side in config.sides for how, precision, embed in ways]


def plain_open_clip(name: str, encoder: ClipEncoder) -> Callable[[np.ndarray], torch.Tensor]:
    """Return the embedding of frames by the model as open_clip loads it, one PIL image at a time."""
    import open_clip
    from PIL import Image

    model = load_clip(name).model.to(encoder.device)
    transform = open_clip.image_transform(
        encoder.image_size, False, encoder.mean, encoder.std, "squash", encoder.interpolation
    )

    @torch.inference_mode()
    def embed(frames: np.ndarray) -> torch.Tensor:
        parts = [
            model.encode_image(
                torch.stack([transform(Image.fromarray(frame)) for frame in chunk]).to(encoder.device),
                normalize=True,
            )
            for chunk in np.split(frames, range(encoder.batch_size, len(frames), encoder.batch_size))
        ]
        return torch.cat(parts)

    return embed


def measure(rows: list[Row], config: SpeedConfig) -> list[dict[str, Any]]:
    """Return each row's median frames/s with its range, the repeats of all rows alternating."""
    batches = [frames_for(row, config.seconds) for row in rows]
    rates: list[list[float]] = [[] for _ in rows]
    for repeat in range(config.repeats + 1):
        for row, frames, measured in zip(rows, batches, rates, strict=True):
            rate = len(frames) / elapsed(row, frames)
            if repeat > 0:
                measured.append(rate)
    return [
        {
            "encoder": row.encoder,
            "side": row.side,
            "how": row.how,
            "precision": row.precision,
            "frames_per_s": round(float(np.median(measured)), 1),
            "range": [round(min(measured), 1), round(max(measured), 1)],
            "frames_per_repeat": len(frames),
            "repeats": len(measured),
        }
        for row, frames, measured in zip(rows, batches, rates, strict=True)
    ]


def frames_for(row: Row, seconds: float) -> np.ndarray:
    """Return as many frames as the row embeds in about `seconds`, in whole batches where it is that fast."""
    few = probe_frames(16, row.side)
    elapsed(row, few)
    count = seconds * len(few) / elapsed(row, few)
    size = int(np.clip(round(count / 256) * 256 if count >= 256 else count, 8, 8192))
    return np.concatenate([few] * -(-size // len(few)))[:size]


def elapsed(row: Row, frames: np.ndarray) -> float:
    """Return the seconds that embedding the frames takes; reading one number waits for a GPU."""
    start = time.perf_counter()
    float(row.embed(frames)[0, 0])
    return time.perf_counter() - start


def about(threads: int, device: str | None) -> dict[str, Any]:
    """Return what the figures depend on."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() and device != "cpu" else None
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {**provenance(gpu), "threads": threads, "load_average_at_end": load}


if __name__ == "__main__":
    try:
        main(tyro.cli(SpeedConfig, description=__doc__))
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
