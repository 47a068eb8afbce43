"""Train the embedded encoder from scratch: a small CLIP on rendered frames and graded captions.

    python -m experiments.embedded.train --data data/embedded --out data/embedded/model
    cp data/embedded/model/open_clip_* vlmrl/encoders/embedded/

The recipe is `vlmrl.adapt`'s, with the settings below. Resumes from its last checkpoint if the folder is there.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from experiments.embedded.config import CONFIG
from vlmrl import adapt
from vlmrl.adapt import AdaptConfig, StoredSource
from vlmrl.adapt.loop import AdaptResult, adapt_line
from vlmrl.progress import ProgressPrinter

SHARES = {"cartpole": 0.2, "mountain_car": 0.16, "humanoid": 0.64}


def recipe(data: Path, out: Path, start: str, **changes: object) -> AdaptConfig:
    """Return how the embedded encoder is trained; `changes` are fields of `AdaptConfig`."""
    settings: dict = {
        "steps": 10_000, "batch": 256, "captions": 96, "lr": 2e-3, "max_logit_scale": 40.0, "held_out": 0.02,
        "validate_every": 1000, "export": "latest", "long_captions": "cut", "precision": "bfloat16",
        "device": "cpu",
    }  # fmt: skip
    sources = (StoredSource(data, tuple(SHARES)),)
    return AdaptConfig(out, sources, start, shares=tuple(SHARES.items()), **{**settings, **changes})


def train(data: Path, out: Path, init: Path | None = None, **changes: object) -> AdaptResult:
    """Train into the folder `out`, or go on in it; `init` is an open_clip folder to begin with."""
    printer = ProgressPrinter(sys.stderr, line=adapt_line)
    if out.exists():
        return adapt.resume(out, on_progress=printer)
    start = f"local-dir:{init}"
    if init is None:
        shape = out.with_suffix(".json")
        shape.parent.mkdir(parents=True, exist_ok=True)
        shape.write_text(json.dumps(CONFIG, indent=2) + "\n")
        start = f"scratch:{shape}"
    return adapt.run(recipe(data, out, start, **changes), printer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/embedded"))
    parser.add_argument("--out", type=Path, default=Path("data/embedded/model"))
    parser.add_argument("--steps", type=int, default=10000)
    parser.add_argument(
        "--minutes", type=float, default=0.0, help="stop (with the schedule done) after so long; 0: by steps"
    )
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--captions", type=int, default=96)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--init", type=Path, help="an open_clip folder of this shape to go on from, with a fresh optimiser"
    )
    args = vars(parser.parse_args())
    result = train(args.pop("data"), args.pop("out"), args.pop("init"), **args)
    print(json.dumps({key: round(value, 3) for key, value in result.validation.items()}))


if __name__ == "__main__":
    main()
