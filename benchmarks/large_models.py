"""What a real `MODEL/PRETRAINED` costs: frames/s, milliseconds a frame and memory of large public architectures.

    python -m benchmarks.large_models                       # about ten minutes on two CPU cores
    python -m benchmarks.large_models --device cuda
    python -m benchmarks.large_models --models ViT-B-32 --repeats 1

Weights are random: they cost what trained ones cost. Only the image tower is used; sentences are embedded once a run.
Each model has a process of its own, so that its peak memory is its own. Frames come in at the model's own size,
preprocessing included. Beside them stands `embedded`, measured in the same way.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from experiments.common import RESULTS, Book, provenance
from vlmrl.encoders import load_encoder
from vlmrl.encoders.clip import ClipEncoder
from vlmrl.encoders.sources import LoadedClip
from vlmrl.encoders.speed import probe_frames
from vlmrl.runtime import limit_threads, resolve_device

MODELS = ("embedded", "ViT-B-32", "ViT-B-16-SigLIP", "ViT-L-14", "ViT-SO400M-14-SigLIP-384")
STEPS = 300_000  # frames of a run that scores every state


@dataclass(frozen=True)
class CostConfig:
    """What to measure."""

    models: tuple[str, ...] = MODELS
    """`embedded`, or architectures of open_clip.list_models()."""
    device: str = "cpu"
    """Where the encoders run. Memory is resident memory on a CPU, allocated memory on a GPU."""
    repeats: int = 5
    """Timed batches of each model, after one that is not timed."""
    batch_size: int = 16
    """Frames in a batch; `embedded` takes 16 times as many."""
    out: Path = RESULTS / "large_models.json"
    """Rows go here; a model measured in this way on this hardware is skipped. A table is written beside it."""
    one: str | None = None
    """Measure this model in this process and print its row as JSON."""


def main(config: CostConfig) -> None:
    """Measure every model that has no row yet, each in its own process; write rows and table."""
    if config.one is not None:
        print(json.dumps(measure(config.one, config)))
        return
    book, about = Book(config.out), provenance(_gpu(config.device))
    for model in config.models:
        place = {"model": model, "device": config.device, "hardware": about["hardware"]}
        if book.has(**place, batch_size=batch_of(model, config), repeats=config.repeats):
            continue
        arguments = ["--one", model, "--device", config.device, "--repeats", str(config.repeats),
                     "--batch-size", str(config.batch_size)]  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.large_models", *arguments],
            capture_output=True,
            text=True,
            cwd=Path(__file__).resolve().parents[1],
        )
        if done.returncode != 0:
            sys.exit(
                f"error: {model} could not be measured: {(done.stderr.strip() or 'killed').splitlines()[-1]}"
            )
        book.add({**json.loads(done.stdout.splitlines()[-1]), **about}, **place)
        config.out.with_suffix(".md").write_text(table(book.rows))
    print(table(book.rows))


def measure(model: str, config: CostConfig) -> dict[str, Any]:
    """Return the row of one model: rate over repeats, parameters, and the peak memory of this process."""
    threads = limit_threads()
    before = _peak_mib()
    encoder = make_encoder(model, config.device)
    count = batch_of(model, config)
    frames = probe_frames(count, encoder.image_size)
    rates = []
    for _ in range(config.repeats + 1):
        started = time.perf_counter()
        float(encoder.embed_images(frames)[0, 0])  # reading a number waits for a GPU
        rates.append(count / (time.perf_counter() - started))
    rate = float(np.median(rates[1:]))
    on_gpu = encoder.device.type == "cuda"
    return {
        "model": model,
        "weights": "own" if model == "embedded" else "random",
        "device": config.device,
        "image_size": encoder.image_size,
        "image_tower_parameters": sum(p.numel() for p in encoder.model.visual.parameters()),
        "parameters": sum(p.numel() for p in encoder.model.parameters()),
        "precision": encoder.precision,
        "frames_per_s": round(rate, 2),
        "range": [round(min(rates[1:]), 2), round(max(rates[1:]), 2)],
        "batch_size": count,
        "repeats": config.repeats,
        "memory_mib": round(torch.cuda.max_memory_allocated() / 2**20 if on_gpu else _peak_mib() - before),
        "threads": threads,
    }


def batch_of(model: str, config: CostConfig) -> int:
    """Return the frames in a batch of a model."""
    return config.batch_size * (16 if model == "embedded" else 1)


def make_encoder(model: str, device: str) -> ClipEncoder:
    """Return the encoder of an architecture with random weights; some tokenizers need a network, so it has none."""
    import open_clip

    if model == "embedded":
        return load_encoder(model, device)
    built = open_clip.create_model(model, load_weights=False, pretrained_text=False).eval()
    config: Any = open_clip.get_model_config(model)
    return ClipEncoder(
        LoadedClip(f"{model}/random", built, None, config["embed_dim"]), resolve_device(device)
    )


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a Markdown table."""
    head = ["model", "device", "px", "image tower", "precision", "frames/s (range)", "ms a frame", "memory",
            f"{STEPS // 1000}k frames"]  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        low, high = row["range"]
        hours = STEPS / row["frames_per_s"] / 3600
        cells = [
            row["model"] + ("" if row["weights"] == "own" else " (random weights)"),
            row["device"],
            str(row["image_size"]),
            f"{row['image_tower_parameters'] / 1e6:.1f}M",
            row["precision"],
            f"{row['frames_per_s']:,.4g} ({low:,.4g} to {high:,.4g})",
            f"{1000 / row['frames_per_s']:,.3g}",
            f"{row['memory_mib']:,} MiB",
            f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.1f} min",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _peak_mib() -> float:
    """Return the most memory that this process has had resident, MiB. (Linux hands ru_maxrss on from the parent.)"""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def _gpu(device: str) -> str | None:
    return torch.cuda.get_device_name(torch.device(device)) if device.startswith("cuda") else None


if __name__ == "__main__":
    main(tyro.cli(CostConfig, description=__doc__))
