"""All humanoid goals from their sentences: VLM-RM's eight poses, and compositions the encoder never met.

    python -m experiments.humanoid                                         # all of PLAN; skips what is there
    python -m experiments.humanoid --tasks humanoid_lotus --conditions asked_rarely control_blank --seeds 10
    python -m experiments.humanoid --report                                # tables, curves and videos of what is there

What is run is fixed beforehand by PLAN in humanoid_conditions.py; tasks, conditions and seeds that are named narrow it.
Rows go to results/humanoid.json, one for each training run. The encoder is in-domain and supervised by captions; VLM-RM's
is zero-shot: the two are not the same kind of evidence. Judged is the last checkpoint; nothing is chosen or stopped by
`success`. What each pose means on this body, with pictures: experiments/POSES.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from experiments import aggregate, common
from experiments.filling import end, fill
from experiments.humanoid_conditions import (
    CONDITIONS,
    LARGE,
    LARGE_MODEL,
    TASKS,
    UNTRAINED,
    configured,
    horizons_of,
    planned,
)
from experiments.humanoid_report import report, table
from vlmrl.errors import UsageError
from vlmrl.runs import read_metrics
from vlmrl.tasks import COMPOSITIONS
from vlmrl.training import TrainConfig, preset


def run_row(config: TrainConfig, condition: str, episodes: int) -> dict[str, Any]:
    """Train once in the run's own folder, `config.out`, and return the row; under `UNTRAINED` only judge."""
    assert config.out is not None
    task = config.task.name
    if condition == UNTRAINED:
        row, metrics = common.judge_untrained(config, horizons_of(task), episodes), []
    else:
        row = common.run_one(config, horizons_of(task), episodes, None, keep_states=True)
        metrics = read_metrics(config.out)
    whole = [[row["global_step"], row["success"]] for row in metrics]
    if condition in LARGE:
        row |= large_cost(metrics[-1], row["wall_seconds"])
    return {**row, "condition": condition, "checkpoint": "latest" if metrics else None, "steps_to_success": aggregate.steps_to_success(whole),
            "evidence": "in-domain, caption-supervised", "composition": task.removeprefix("humanoid_") in COMPOSITIONS,
            "curve": aggregate.thinned(metrics), "drift": aggregate.drift(metrics),
            "out_of_view": aggregate.out_of_view(metrics) if config.from_frames else None}  # fmt: skip


def large_cost(last: dict[str, Any], wall_seconds: float) -> dict[str, Any]:
    """Return what a run with the large model takes: its own seconds, and those of the frames that did not pass through it.

    last: the run's last line of metrics. Where no frame passed through it, what it would have taken is not known: None.
    """
    frames, passed, each = (last.get(f"encoder/{name}") for name in ("frames", "passed", "seconds_a_frame"))
    known = bool(passed) and each is not None
    return {"large": {"model": LARGE_MODEL, "frames": frames, "passed": passed, "seconds_a_frame": round(each, 5) if known else None,
                      "wall_seconds": round(wall_seconds + (frames - passed) * each, 1) if known else None}}  # fmt: skip


def wanted_of(
    plan: Sequence[tuple[str, str, int]], args: argparse.Namespace, must: bool
) -> tuple[list[tuple[dict[str, Any], TrainConfig]], list[str]]:
    """Return the runs of a plan as `fill` takes them, and in a line each why others cannot be run here.

    Raises: UsageError where one cannot and all `must`: it is refused before anything is run.
    """
    wanted: list[tuple[dict[str, Any], TrainConfig]] = []
    refused: list[str] = []
    for condition, task, seed in plan:
        out = args.runs / f"{task}-{condition}-{seed}"
        try:
            config = common.placed(configured(preset(task), condition), seed, out, args.total_steps)
        except UsageError as error:
            if must:
                raise
            if (line := f"{task}-{condition}: {error}") not in refused:
                refused.append(line)
                print(f"failed: {line}", file=sys.stderr)
            continue
        wanted.append(({"task": task, "condition": condition, "seed": seed}, config))
    return wanted, refused


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the book of results lacks, then report; arguments as on the command line, None reads sys.argv."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", nargs="+", choices=TASKS, metavar="TASK", help="all if not named")
    parser.add_argument("--conditions", nargs="+", choices=CONDITIONS, help="all if not named")
    parser.add_argument("--seeds", type=int, nargs="+", help="all if not named")
    common.add_arguments(parser, "humanoid")
    parser.add_argument("--report", action="store_true", help="run nothing")
    parser.add_argument("--no-videos", action="store_true")
    args = common.parsed(parser, arguments)
    book = common.Book(args.results)
    try:
        plan = [] if args.report else planned(args.conditions, args.tasks, args.seeds)
        wanted, failed = wanted_of(plan, args, must=args.conditions is not None)
        failed += fill(
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
