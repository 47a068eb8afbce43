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
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments import aggregate, common
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
from experiments.summary import RESULTS
from experiments.weights import identity
from vlmrl.errors import UsageError
from vlmrl.tasks import COMPOSITIONS
from vlmrl.training import preset


def run_row(
    task: str, condition: str, seed: int, runs: Path, episodes: int, total_steps: int | None
) -> dict[str, Any]:
    """Train once in a folder of its own and return the row."""
    out = runs / f"{task}-{condition}-{seed}"
    config = replace(configured(preset(task), condition), seed=seed, out=out)
    if total_steps is not None:
        config = replace(config, total_steps=total_steps)
    shutil.rmtree(out, ignore_errors=True)  # what a stopped sitting left half done
    row = common.run_one(config, horizons_of(task), episodes, None, keep_states=True)
    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
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
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--total-steps", type=int, help="for a quick try; use --results with it")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs") / "experiments", help="where run folders go"
    )
    parser.add_argument("--results", type=Path, default=RESULTS / "humanoid.json")
    parser.add_argument("--report", action="store_true", help="run nothing")
    parser.add_argument("--no-videos", action="store_true")
    args = parser.parse_args(arguments)
    common.check_quick(parser, args)
    book = common.Book(args.results)
    try:
        wanted = (
            []
            if args.report
            else [(c, t, s) for c in args.conditions for t in args.tasks for s in args.seeds or seeds_of(t)]
        )
        for condition, task in dict.fromkeys((c, t) for c, t, _ in wanted):
            configured(preset(task), condition)  # refuses before anything is run
        for condition, task, seed in wanted:
            config = configured(preset(task), condition)
            known = identity(config.reward, config.encoder, config.task.alpha)
            if not book.has(task=task, condition=condition, seed=seed, **known):
                print(f"{task}: {condition}, seed {seed}", flush=True)
                row = run_row(task, condition, seed, args.runs, args.episodes, args.total_steps)
                book.add(row, task=task, condition=condition, seed=seed, encoder=row["encoder"])
                report(args.results, args.runs, videos=False)
        if book.rows:
            report(args.results, args.runs, videos=not args.no_videos)
            print(table(book.rows))
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
