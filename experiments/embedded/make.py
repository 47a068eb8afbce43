"""Make the embedded encoder anew, from nothing to its tables, by one command; what is there already is kept.

    python -m experiments.embedded.make                     # the shipped recipe
    python -m experiments.embedded.make --quick             # three worlds, few frames, under ten minutes, then preflight
    python -m experiments.embedded.make --install           # and put the weights into the package

The steps are the scripts beside this one, each of which goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from experiments import summary
from experiments.embedded import metaworld
from experiments.embedded.data import WORLDS
from experiments.embedded.splits import GRAMMARS
from vlmrl.encoders.sources import EMBEDDED

MODEL = "model"
"""Folder of the encoder, beside the frames."""
QUICK_WORLDS = ("cartpole", "mountain_car", "humanoid")
QUICK_SCALE = 0.06
QUICK_SHARES = ("humanoid=0.6", "cartpole=0.28", "mountain_car=0.12")
"""With shares by the number of sentences, cart-pole's goal stays weak in so few steps (AUC 0.72 to 0.82)."""
QUICK_TRAINING = ("--steps", "2200", "--batch", "128", "--captions", "48", "--shares", *QUICK_SHARES)
PARTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("begun", ("--steps", "15000")),
    (MODEL, ("--steps", "12000")),
)
"""Folder and settings of each part of the training. The second goes on from the first's weights with a fresh optimiser: what ships
was made in two sittings."""
QUICK_TASKS = ("cartpole", "mountain_car", "humanoid_kneeling")
"""Their preflight is what a quick encoder must pass."""
SHIPPED = ("open_clip_config.json", "open_clip_model.safetensors", "splits.json", "words.json", "recipe.json")


@dataclass(frozen=True)
class Step:
    """A command and what it is for."""

    about: str
    module: str
    arguments: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    needed: bool = True
    """False: what is made without it is weaker, and said to be."""


def steps(out: Path, quick: bool, installed: bool = False) -> list[Step]:
    """Return the commands that fill `out` with frames and make the encoder of them; with its evaluation, unless it ships."""
    model, folder = out / MODEL, ("--out", str(out))
    worlds = QUICK_WORLDS if quick else (*WORLDS, *(metaworld.WORLDS if metaworld.is_installed() else ()))
    few = (*(("--scale", str(QUICK_SCALE)) if quick else ()), "--worlds", *worlds)
    without = [world for world in GRAMMARS if world not in worlds]
    left = ("--without", *without) if without else ()
    parts = ((MODEL, QUICK_TRAINING),) if quick else PARTS
    gl = {"MUJOCO_GL": os.environ.get("MUJOCO_GL", "egl")}
    found = [
        Step("frames by the ray tracer", "data", (*folder, *few)),
        Step("frames by GL", "data", (*folder, "--only", "gl", *few), gl, needed=False),
        *_trainings(out, parts, left),
        Step("the check of words", "words", ("--dir", str(model)), needed=False),
    ]
    if not quick and not installed:
        report = ("--dir", str(model), "--out", str(out / "evaluation.json"))
        found.append(Step("evaluation", "evaluate", report))
    return found


def _trainings(out: Path, parts: Sequence[tuple[str, tuple[str, ...]]], left: tuple[str, ...]) -> list[Step]:
    """Return the parts of a training, each with its record; a part is its folder and its settings."""
    found: list[Step] = []
    init: tuple[str, ...] = ()
    for k, (name, settings) in enumerate(parts, start=1):
        part = str(out / name)
        about = f"training, part {k} of {len(parts)}" if len(parts) > 1 else "training"
        found += [
            Step(about, "train", ("--data", str(out), "--out", part, *init, *settings, *left)),
            Step("what it was made of", "card", ("--record", part)),
        ]
        init = ("--init", part)
    return found


def run(step: Step) -> None:
    """Run a step; exit if it fails and is needed."""
    started = time.time()
    print(f"== {step.about}", flush=True)
    command = [sys.executable, "-m", f"experiments.embedded.{step.module}", *step.arguments]
    code = subprocess.run(command, env={**os.environ, **step.env}).returncode
    if code and step.needed:
        sys.exit(f"{step.about}: exit code {code}; mend it and run this again: what is done is kept")
    word = f"exit code {code}; going on without" if code else "done"
    print(f"== {step.about}: {word} after {time.time() - started:.0f} s", flush=True)


def passes_preflight(model: Path) -> bool:
    """Tell whether the reward separates goal from other states on the quick tasks, and print what preflight says."""
    verdicts = []
    for task in QUICK_TASKS:
        command = [
            sys.executable,
            "-m",
            "vlmrl",
            "preflight",
            task,
            "--encoder",
            f"local-dir:{model}",
            "--json",
        ]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"== preflight {task}: {found['verdict']} - {found['explanation']}", flush=True)
        verdicts.append(found["verdict"])
    return set(verdicts) == {"separates"}


def install(model: Path) -> None:
    """Copy what ships into the package, whole files only, once all of it is there."""
    if missing := [name for name in SHIPPED if not (model / name).is_file()]:
        sys.exit(
            f"install: got {model} without {missing}; expected all that ships; run this again without --install"
        )
    for name in SHIPPED:
        shutil.copyfile(model / name, EMBEDDED / f"{name}.part")
    for name in SHIPPED:
        (EMBEDDED / f"{name}.part").replace(EMBEDDED / name)
    print(f"installed in {EMBEDDED}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="data/embedded, or data/quick with --quick")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--install", action="store_true")
    args = parser.parse_args()
    if args.quick and args.install:
        parser.error("--install: got it beside --quick; expected the full recipe; leave one of them out")
    out = args.out or Path("data") / ("quick" if args.quick else "embedded")
    started = time.time()
    for step in steps(out, args.quick, args.install):
        run(step)
    if args.install:
        install(out / MODEL)
        run(Step("evaluation of what ships", "evaluate", ()))
        run(Step("the model card", "card", ()))
        summary.write()  # rows of the weights that were there are marked
    model = out / MODEL
    passed = passes_preflight(model) if args.quick else True
    print(f"== {model} after {time.time() - started:.0f} s")
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
