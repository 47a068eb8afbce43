"""A stage of pairs with the encoder labeller: how long it takes, and how often its labels are right, by progress gap.

    python -m benchmarks.preference_labels --tasks humanoid_kneeling   # writes experiments/results/preference_labels.json

Pairs are single frames of `label_pools`. The stage begins with states and ends with answers in a store on disk: frames
drawn, pairs chosen, all embedded, all kept; Meta-World's begins with frames. Labels are held against the world's own
progress. The temperature is fitted on other pairs of other frames; accuracy does not depend on it. The encoder is in-domain.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.label_pools import pools_of
from experiments.common import RESULTS, provenance
from experiments.preference_targets import SEVEN
from vlmrl.checkpoints import replace_file
from vlmrl.encoders import load_encoder
from vlmrl.preferences.calibration import accuracy_by_gap, calibrate
from vlmrl.preferences.encoder_labeller import EncoderLabeller, EncoderLabellerConfig
from vlmrl.preferences.oracle import progress
from vlmrl.preferences.protocol import Pair, task_question
from vlmrl.preferences.samplers import Uniform
from vlmrl.preferences.store import PreferenceStore
from vlmrl.runtime import limit_threads
from vlmrl.tasks import get_task

TASKS = (*SEVEN, "mountain_car", "humanoid_kneeling")
"""RL-VLM-F's tasks, and two more."""


def gaps_of(pairs: list[Pair]) -> np.ndarray:
    """Return by how much the first segment's progress exceeds the second's (P,)."""
    return np.array([progress(pair.first) - progress(pair.second) for pair in pairs])


def measure(task_name: str, count: int, calibration: int, encoder: Any, seed: int) -> dict[str, Any]:
    """Return the row of one task."""
    task = get_task(task_name)
    pools, question = pools_of(task), task_question(task)
    config = EncoderLabellerConfig(alpha=task.alpha)
    rng = np.random.default_rng(seed)
    known = Uniform().sample(pools.make(2 * calibration, rng), calibration, rng)  # also compiles the renderer
    labels = (1 + np.sign(gaps_of(known))) / 2
    labeller = EncoderLabeller(encoder, config).calibrated(known, labels.tolist(), question)
    pool = pools.make(2 * count, rng)
    with tempfile.TemporaryDirectory() as folder, PreferenceStore(Path(folder) / "store.sqlite") as store:
        started = perf_counter()
        pairs = Uniform().sample(pool, count, rng)
        drawn = perf_counter()
        answers = store.ask(labeller, pairs, question, batch_size=count).answers
        asked = perf_counter()
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
    pools.close()
    found, gaps = np.array([answer.label for answer in answers]), gaps_of(pairs)
    truth = (1 + np.sign(gaps)) / 2
    right = accuracy_by_gap(gaps, found, 2)
    result = calibrate(found, truth)
    return {
        "task": task_name, "encoder": encoder.name, "pairs": count, "seed": seed,
        "seconds": asked - started, "seconds_drawing": drawn - started, "seconds_asking": asked - drawn,
        "store_bytes": size, "temperature": labeller.config.temperature, "ece": result.ece,
        "accuracy": result.accuracy, "accuracy_above_median_gap": right[-1].accuracy if right else None,
        "accuracy_by_gap": [asdict(b) for b in accuracy_by_gap(gaps, found)],
    }  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Measure each task and write the rows; None reads sys.argv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument(
        "--calibration", type=int, default=200, help="pairs that the temperature is fitted on"
    )
    parser.add_argument("--encoder", default="embedded")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS / "preference_labels.json")
    args = parser.parse_args(arguments)
    for name in args.tasks:
        get_task(name)
    limit_threads()
    encoder = load_encoder(args.encoder)
    rows = []
    for name in args.tasks:
        row = measure(name, args.pairs, args.calibration, encoder, args.seed)
        rows.append({**row, **provenance()})
        print(
            f"{name}: {row['pairs']} pairs in {row['seconds']:.1f} s ({row['seconds_drawing']:.1f} drawing), "
            f"{row['accuracy']:.1%} right, {row['accuracy_above_median_gap']:.1%} above the median gap, "
            f"ECE {row['ece']:.3f} at temperature {row['temperature']:.4f}, {row['store_bytes'] / 1e6:.1f} MB",
            flush=True,
        )
    replace_file(args.out, (json.dumps(rows, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
