"""Memory of stable-baselines3's SAC on a reward learned from preferences, with a million steps in its replay buffer.

    python -m benchmarks.replay_memory                     # Meta-World's drawer, about three minutes on two CPU cores
    python -m benchmarks.replay_memory --task soccer --out x.json

A process of its own trains as `experiments.sac_preferences` does until all pairs have been asked. Then the rest of its
buffer is filled without acting, by transitions of the run's own kind with embeddings at random: what a buffer holds takes
the same memory whatever it says. All of it is relabelled and written as a checkpoint, and the most memory that the
process ever held is what is reported. RL-VLM-F keeps pictures: about 70 GiB for a million steps at 300 pixels.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments import sac_preferences
from experiments.common import RESULTS, provenance
from experiments.preferences import configured
from vlmrl.checkpoints import replace_file
from vlmrl.runtime import limit_threads, without_display
from vlmrl.sb3_preferences import PreferenceCallback, learn

STEPS, LIMIT = 1_000_000, 4.0
"""Of the buffer; and GiB that a run may take."""
LEARNED, EXPLORED, EVERY = 3_000, 1_000, 50
"""Steps trained, those before the first pairs are asked, and those between stages: all pairs are asked by the end."""


def fill(buffer: Any, dim: int, rng: np.random.Generator) -> None:
    """Fill what is left of a replay buffer with the transitions it has, by turns, and unit embeddings (N, dim) at random."""
    have, infos = buffer.size(), [{} for _ in range(buffer.n_envs)]
    while not buffer.full:
        k = buffer.pos % have
        found = rng.standard_normal((buffer.n_envs, dim), dtype=np.float32)
        buffer.source.embeddings = found / np.linalg.norm(found, axis=1, keepdims=True)
        buffer.add(buffer.observations[k], buffer.next_observations[k], buffer.actions[k], buffer.rewards[k],
                   buffer.dones[k], infos)  # fmt: skip


def measure(task: str, labeller: str, steps: int, learned: int) -> dict[str, Any]:
    """Train, fill the buffer to `steps`, relabel and save all of it in this process; return what it took."""
    limit_threads()
    without_display()
    config = replace(configured(task, labeller, 0), total_steps=steps)
    config = replace(config, preferences=replace(config.preferences, every=EVERY))
    with tempfile.TemporaryDirectory() as folder:
        model, frames = sac_preferences.make_sac(config, Path(folder))
        learn(model, frames, learned, explore=min(EXPLORED, learned // 2), checkpoint_every=None)
        before = peak()
        fill(model.replay_buffer, frames.dim, np.random.default_rng(0))
        started = time.perf_counter()
        relabelled = model.replay_buffer.relabel()
        seconds = time.perf_counter() - started
        saved = PreferenceCallback(frames)
        saved.init_callback(model)
        saved.save()
        written = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        model.get_env().close()
    return {
        "task": task, "steps": relabelled, "pairs_asked": frames.learner.metrics()["pairs_asked"], "frame": list(config.task.render_size or ()),
        "gibibytes": round(peak(), 3), "gibibytes_before_filling": round(before, 3),
        "buffer_gibibytes": round(model.replay_buffer.nbytes / 2**30, 3), "checkpoint_gibibytes": round(written / 2**30, 3),
        "relabel_seconds": round(seconds, 1),
    }  # fmt: skip


def peak() -> float:
    """Return the most memory that this process ever held, GiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure in a process of its own, and write the result; arguments as on the command line, None reads sys.argv."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", default="drawer_open", help="one of Meta-World's")
    parser.add_argument("--labeller", default="encoder")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--learned", type=int, default=LEARNED)
    parser.add_argument("--out", type=Path, default=RESULTS / "replay_memory.json")
    parser.add_argument("--here", action="store_true", help="measure in this process and print JSON")
    args = parser.parse_args(arguments)
    if args.here:
        print(json.dumps(measure(args.task, args.labeller, args.steps, args.learned)))
        return
    command = [sys.executable, "-m", "benchmarks.replay_memory", "--here", "--task", args.task, "--labeller", args.labeller,
               "--steps", str(args.steps), "--learned", str(args.learned)]  # fmt: skip
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = {**json.loads(shown.splitlines()[-1]), "limit": LIMIT, **provenance()}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    replace_file(args.out, (json.dumps(found, indent=1) + "\n").encode())
    word = "met" if found["gibibytes"] <= LIMIT else "missed"
    print(f"{found['steps']:,} steps: {found['gibibytes']:.2f} GiB at most, {LIMIT:g} allowed: {word}")


if __name__ == "__main__":
    main()
