"""All humanoid goals from their sentences: VLM-RM's eight poses, and compositions the encoder never met.

    python -m experiments.humanoid                                         # asked_always; skips what is there
    python -m experiments.humanoid --tasks humanoid_lotus --conditions asked_always control_blank --seeds 0
    python -m experiments.humanoid --report                                # tables, curves and videos of what is there

Rows go to results/humanoid.json, one for each training run. The encoder is in-domain and supervised by captions; VLM-RM's
is zero-shot: the two are not the same kind of evidence. Judged is the last checkpoint; nothing is chosen or stopped by
`success`. What each pose means on this body, with pictures: experiments/POSES.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import product
from typing import Any

from experiments import aggregate, common
from experiments.filling import end, fill
from experiments.humanoid_conditions import (
    CONDITIONS,
    LARGE,
    LARGE_MODEL,
    TASKS,
    configured,
    horizons_of,
    seeds_of,
)
from experiments.humanoid_report import report, table
from vlmrl.errors import UsageError
from vlmrl.runs import read_metrics
from vlmrl.tasks import COMPOSITIONS
from vlmrl.training import TrainConfig, preset


def run_row(config: TrainConfig, condition: str, episodes: int) -> dict[str, Any]:
    """Train once in the run's own folder, `config.out`, and return the row."""
    assert config.out is not None
    task = config.task.name
    row = common.run_one(config, horizons_of(task), episodes, None, keep_states=True)
    metrics = read_metrics(config.out)
    whole = [[row["global_step"], row["success"]] for row in metrics]
    if condition in LARGE:
        row |= large_cost(metrics[-1], row["wall_seconds"])
    return {**row, "condition": condition, "checkpoint": "latest", "steps_to_success": aggregate.steps_to_success(whole),
            "evidence": "in-domain, caption-supervised", "composition": task.removeprefix("humanoid_") in COMPOSITIONS,
            "curve": aggregate.thinned(metrics)}  # fmt: skip


def large_cost(last: dict[str, Any], wall_seconds: float) -> dict[str, Any]:
    """Return what a run with the large model takes: its own seconds, and those of the frames that did not pass through it.

    last: the run's last line of metrics.
    """
    frames, passed, each = (last[f"encoder/{name}"] for name in ("frames", "passed", "seconds_a_frame"))
    return {"large": {"model": LARGE_MODEL, "frames": frames, "passed": passed, "seconds_a_frame": round(each, 5),
                      "wall_seconds": round(wall_seconds + (frames - passed) * each, 1)}}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the book of results lacks, then report; arguments as on the command line, None reads sys.argv."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS, metavar="TASK")
    parser.add_argument("--conditions", nargs="+", default=["asked_always"], choices=CONDITIONS)
    parser.add_argument("--seeds", type=int, nargs="+", help="instead of each task's own")
    common.add_arguments(parser, "humanoid")
    parser.add_argument("--report", action="store_true", help="run nothing")
    parser.add_argument("--no-videos", action="store_true")
    args = common.parsed(parser, arguments)
    book = common.Book(args.results)
    try:
        wanted = []  # All at once: what cannot be is refused before anything is run.
        for condition, task in [] if args.report else product(args.conditions, args.tasks):
            config = configured(preset(task), condition)
            for seed in args.seeds or seeds_of(task):
                out = args.runs / f"{task}-{condition}-{seed}"
                named = {"task": task, "condition": condition, "seed": seed}
                wanted.append((named, common.placed(config, seed, out, args.total_steps)))
        failed = fill(
            book,
            wanted,
            lambda named, config: run_row(config, named["condition"], args.episodes),
            lambda: report(args.results, args.runs, videos=False),
        )
        if book.rows:
            report(args.results, args.runs, videos=not args.no_videos)
            print(table(book.rows))
        end(failed)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
