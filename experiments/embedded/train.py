"""Train the embedded encoder from scratch: a small CLIP on rendered frames and graded captions.

    python -m experiments.embedded.train --data data/embedded --out data/embedded/model

One part of `experiments.embedded.make`, which says how long each is and puts what comes of it into the package.
The recipe is `vlmrl.adapt`'s, with the settings below. Resumes from its last checkpoint if the folder is there.
What `splits` holds out, and the poses and worlds named here, are never shown and never said.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.embedded import splits
from experiments.embedded.config import CONFIG
from vlmrl import adapt
from vlmrl.adapt import AdaptConfig, StoredSource
from vlmrl.adapt.config import LabelConfig
from vlmrl.adapt.pairs import Family
from vlmrl.adapt.progress import AdaptProgress, AdaptResult, adapt_line
from vlmrl.adapt.stored import open_stored
from vlmrl.checkpoints import list_checkpoints
from vlmrl.configs import to_plain
from vlmrl.errors import UsageError, usage_error
from vlmrl.progress import ProgressPrinter
from vlmrl.runs import CHECKPOINTS, read_config

SHARES = {
    "humanoid": 0.46, "cartpole": 0.065, "mountain_car": 0.055, "walker2d": 0.05, "ant": 0.045, "half_cheetah": 0.035,
    "hopper": 0.035, "reacher": 0.04, "pendulum": 0.035, "straighten_rope": 0.04, "fold_cloth": 0.04, "pass_water": 0.04,
    "drawer_open": 0.02, "soccer": 0.02, "sweep_into": 0.02,
}  # fmt: skip
"""Share of each world in a batch."""
RECIPE = ("steps", "minutes", "batch", "captions", "lr", "seed", "jumbles", "labels", "workers")
"""Settings that a training keeps to its end."""
LABELS = LabelConfig(foreign=0.005)
"""A frame of another world is nearly as wrong as a frame of nothing."""


def recipe(data: Path, out: Path, start: str, **changes: object) -> AdaptConfig:
    """Return how the embedded encoder is trained; `changes` are fields of `AdaptConfig`."""
    settings: dict = {
        "steps": 20_000, "batch": 256, "captions": 80, "lr": 2e-3, "max_logit_scale": 40.0, "held_out": 0.02,
        "validate_every": 1000, "export": "latest", "long_captions": "refuse", "workers": 2,
        "device": "cpu", "shares": tuple(SHARES.items()), "jumbles": 0.04, "labels": LABELS,
    }  # fmt: skip
    return AdaptConfig(out, (StoredSource(data, tuple(SHARES)),), start, **{**settings, **changes})


def families(data: Path, held_out: float, leave_out: Sequence[str], without: Sequence[str]) -> list[Family]:
    """Open the stored frames that training may see, with the grammars that it may hear."""
    grammars = splits.grammars(leave_out, without)
    names = tuple(name for name in SHARES if name in grammars)
    size = CONFIG["model_cfg"]["vision_cfg"]["image_size"]
    stores = open_stored(StoredSource(data, names), size, held_out)
    kept = {
        name: [store.only(splits.kept(name, store.known.degrees, leave_out)) for store in found]
        for name, found in stores.items()
    }
    return [Family(name, tuple(found), splits.reworded(grammars[name])) for name, found in kept.items()]


def train(
    data: Path,
    out: Path,
    init: Path | None = None,
    leave_out: Sequence[str] = (),
    without: Sequence[str] = (),
    **changes: object,
) -> AdaptResult:
    """Train into the folder `out`, or go on in it; `init` is an open_clip folder to begin with.

    Raises: UsageError where another recipe began it, or `init` has seen what is to be left out.
    """
    leave_out, without = splits.as_began(out, leave_out, without)
    if init is not None:
        splits.check_start(init, leave_out, without)
    shares = splits.shares(SHARES, list(splits.grammars(leave_out, without)))
    config = recipe(data, out, _start(out, init), **{"shares": tuple(shares.items()), **changes})
    drawn = families(data, config.held_out, leave_out, without)
    printer = ProgressPrinter(sys.stderr, line=adapt_line)

    def report(progress: AdaptProgress) -> None:
        if not (out / splits.NOTE).is_file():
            splits.write(out, leave_out, without)
        printer(progress)

    if out.exists():
        check_recipe(out, config)
        if not list_checkpoints(out / CHECKPOINTS):  # stopped before its first step, perhaps before the note
            splits.write(out, leave_out, without)
        splits.check_reworded(out)
        return adapt.resume(out, on_progress=report, families=drawn)
    return adapt.run(config, report, drawn)


def check_recipe(out: Path, config: AdaptConfig) -> None:
    """Check that a training under way is of this recipe. Raises: UsageError for one of other settings."""
    began: dict = read_config(out, "adapt")["config"]
    wanted = to_plain(config)
    differs = [name for name in RECIPE if began[name] != wanted[name]]
    if differs:
        got, expected = ({name: found[name] for name in differs} for found in (wanted, began))
        raise usage_error("recipe", got, f"{expected}, as {out} began", "say so, or give another --out")


def _start(out: Path, init: Path | None) -> str:
    """Return the model to begin with: a folder, or the embedded shape, whose config is written beside `out`."""
    if init is not None:
        return f"local-dir:{init}"
    shape = out.with_suffix(".json")
    shape.parent.mkdir(parents=True, exist_ok=True)
    shape.write_text(json.dumps(CONFIG, indent=2) + "\n")
    return f"scratch:{shape}"


def share(text: str) -> tuple[str, float]:
    """Return world and share of `humanoid=0.6`. Raises: ValueError for anything else, which argparse says in a line."""
    world, _, value = text.partition("=")
    if world not in SHARES:
        raise ValueError(f"{world} is none of {list(SHARES)}")
    return world, float(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/embedded"))
    parser.add_argument("--out", type=Path, default=Path("data/embedded/model"))
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument(
        "--minutes", type=float, default=0.0, help="stop (with the schedule done) after so long; 0: by steps"
    )
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--captions", type=int, default=80)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--init", type=Path, help="an open_clip folder of this shape to go on from, with a fresh optimiser"
    )
    parser.add_argument(
        "--leave-out", nargs="+", default=[], metavar="POSE", help="never show or say these poses"
    )
    parser.add_argument(
        "--without", nargs="+", default=[], metavar="WORLD", help="never show or say these worlds"
    )
    parser.add_argument(
        "--shares", nargs="+", type=share, metavar="WORLD=SHARE", help="of a batch, in place of SHARES"
    )
    args = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    if "shares" in args:
        args["shares"] = tuple(args["shares"])
    try:
        result = train(args.pop("data"), args.pop("out"), args.pop("init", None), **args)
    except UsageError as error:
        sys.exit(f"error: {error}")
    print(json.dumps({key: round(value, 3) for key, value in result.validation.items()}))


if __name__ == "__main__":
    main()
