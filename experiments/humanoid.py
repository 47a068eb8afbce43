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

import numpy as np

from experiments import aggregate, common, curves
from experiments.summary import RESULTS
from experiments.weights import EARLIER, footnote, identity, is_earlier
from vlmrl.checkpoints import replace_file
from vlmrl.encoders.slow import PREFIX
from vlmrl.errors import UsageError, usage_error
from vlmrl.evaluation import record_video
from vlmrl.runtime import resolve_device
from vlmrl.tasks import COMPOSITIONS, POSES
from vlmrl.training import RewardName, TrainConfig, load_run, preset

HORIZONS = (100, 400)
"""Steps of 15 ms: VLM-RM's episode, and 6 s."""
TASKS = tuple(f"humanoid_{pose}" for pose in (*COMPOSITIONS, *POSES))
"""What the encoder was never shown comes first."""
HARDEST = ("humanoid_one_leg", "humanoid_arms_crossed", "humanoid_hands_on_hips", "humanoid_lotus")
"""Fixed before any run: these have five seeds, the others three."""
REWARDS: dict[str, RewardName] = {
    "asked_always": "vlm", "control_constant": "constant", "control_random_encoder": "random_encoder",
    "control_blank": "blank", "control_swapped_goal": "swapped_goal", "ceiling_state_similarity": "state_similarity",
}  # fmt: skip
"""Condition -> the reward of its runs, scored on every state."""
LARGE = {"simulated_large_vlm": 0.01, "simulated_large_vlm_always": 0.001}
"""Conditions whose encoder answers as `embedded` does at the cost of `LARGE_MODEL`, asked rarely and always; and the share
of its frames that really pass through that model on a CPU, where each takes seconds. On a GPU all of them do."""
LARGE_MODEL = "ViT-L-14"
LEARNED = ("asked_rarely", "simulated_large_vlm")
"""Conditions of a learned reward that asks the VLM rarely."""
QUERY_SHARE = 0.1
"""Share of the steps that these may ask about."""
CONDITIONS = (*LEARNED, "simulated_large_vlm_always", *REWARDS)
ZERO_SHOT = {"kneeling": "100%", "lotus": "100%", "standing": "100%", "arms_raised": "100%", "splits": "100%", "hands_on_hips": "64%",
             "arms_crossed": "0%", "one_leg": "0%"}  # fmt: skip
"""VLM-RM's success: CLIP of 2.5 billion parameters, zero-shot, 10 million steps, best of four seeds, one rater."""


def configured(config: TrainConfig, condition: str) -> TrainConfig:
    """Return a run's settings under a condition.

    The one place where conditions become settings. Raises: UsageError for a condition that is none.
    """
    if condition in LARGE:
        share = 1.0 if resolve_device(config.device).type == "cuda" else LARGE[condition]
        config = replace(config, encoder=f"{PREFIX}:{LARGE_MODEL}:{share:g}")
    if condition in LEARNED:
        return replace(config, reward="vlm", query_share=QUERY_SHARE)
    if condition in LARGE:
        return replace(config, reward="vlm")
    if condition not in REWARDS:
        raise usage_error("condition", condition, f"one of {list(CONDITIONS)}", "pick one of these")
    return replace(config, reward=REWARDS[condition])


def seeds_of(task: str) -> tuple[int, ...]:
    """Return the seeds of a task, fixed before any run."""
    return tuple(range(5 if task in HARDEST else 3))


def run_row(
    task: str, condition: str, seed: int, runs: Path, episodes: int, total_steps: int | None
) -> dict[str, Any]:
    """Train once in a folder of its own and return the row."""
    out = runs / f"{task}-{condition}-{seed}"
    config = replace(configured(preset(task), condition), seed=seed, out=out)
    if total_steps is not None:
        config = replace(config, total_steps=total_steps)
    shutil.rmtree(out, ignore_errors=True)  # what a stopped sitting left half done
    row = common.run_one(config, HORIZONS, episodes, None, keep_states=True)
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


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return Markdown: compositions, then the eight poses; a line for each task and condition."""
    parts = []
    for title, composition in (
        ("Compositions that training never says", True),
        ("VLM-RM's eight poses", False),
    ):
        mine = [row for row in rows if row["composition"] == composition]
        if mine:
            parts.append(f"### {title}\n\n{_lines(mine)}")
    return "\n\n".join(parts) + "\n" + footnote(rows)


def _lines(rows: Sequence[dict[str, Any]]) -> str:
    head = ["goal", "condition (in-domain, caption-supervised)", "seeds", *(f"success, {h} steps" for h in HORIZONS), "steps to success",
            "env steps", "frames scored", "minutes", "VLM-RM (zero-shot)"]  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for task in (t for t in TASKS if any(row["task"] == t for row in rows)):
        for condition in CONDITIONS:
            mine = [row for row in rows if (row["task"], row["condition"]) == (task, condition)]
            if mine:
                lines.append(_line(task, condition, sorted(mine, key=lambda row: row["seed"])))
    for condition in CONDITIONS:
        groups = [[r for r in rows if (r["task"], r["condition"]) == (task, condition)] for task in TASKS]
        groups = [group for group in groups if group]
        if len(groups) > 1:
            shown = [_success([[r["success"][str(h)] for r in group] for group in groups]) for h in HORIZONS]
            lines.append(
                "| " + " | ".join([f"all {len(groups)}", condition, "", *shown, "", "", "", "", ""]) + " |"
            )
    return "\n".join(lines)


def _line(task: str, condition: str, rows: Sequence[dict[str, Any]]) -> str:
    reached = [row["steps_to_success"] for row in rows]
    median = (
        f"{np.median([r for r in reached if r is not None]):,.0f}"
        if all(r is not None for r in reached)
        else "not by all"
    )
    seconds = [row["large"]["wall_seconds"] if "large" in row else row["wall_seconds"] for row in rows]
    minutes = np.median(seconds) / 60
    mark = EARLIER if any(is_earlier(row) for row in rows) else ""
    shown = [_success([[row["success"][str(h)] for row in rows]]) + mark for h in HORIZONS]
    zero_shot = (
        ZERO_SHOT.get(task.removeprefix("humanoid_"), "–") if condition in (*LEARNED, "asked_always") else "–"
    )
    counts = [f"{np.median([row[key] for row in rows]):,.0f}" for key in ("env_steps", "frames_scored")]
    cells = [
        rows[0]["goal"][0],
        condition,
        ", ".join(str(row["seed"]) for row in rows),
        *shown,
        median,
        *counts,
        f"{minutes:,.1f}" + (f" (with {LARGE_MODEL})" if condition in LARGE else ""),
        zero_shot,
    ]
    return "| " + " | ".join(cells) + " |"


def _success(groups: Sequence[Sequence[float]]) -> str:
    """Return the interquartile mean over all values with its 95% interval; one seed has none."""
    value = aggregate.iqm(np.concatenate([np.asarray(group) for group in groups]))
    if any(len(group) < 2 for group in groups):
        return f"{value:.0%}"
    low, high = aggregate.interval(groups)
    return f"{value:.0%} [{low:.0%}, {high:.0%}]"


def report(results: Path, runs: Path, videos: bool) -> None:
    """Write the table, the learning curves and, where run folders are there, the median seeds' videos."""
    rows = common.Book(results).rows
    claim = (
        "Interquartile mean over seeds [95% stratified bootstrap interval, which of three seeds reaches from the least to the "
        "largest]; success: the pose held for half of the steps, 100 episodes."
    )
    replace_file(results.with_suffix(".md"), f"{claim}\n\n{table(rows)}".encode())
    curves.draw(rows, results.with_name(f"{results.stem}_curves.png"))
    for task, condition in dict.fromkeys((row["task"], row["condition"]) for row in rows) if videos else ():
        row = aggregate.median_row([r for r in rows if (r["task"], r["condition"]) == (task, condition)])
        folder = runs / f"{task}-{condition}-{row['seed']}"
        path = runs / "videos" / f"{task}-{condition}-seed{row['seed']}.mp4"
        made = folder / "config.json"
        if made.exists() and not (path.exists() and path.stat().st_mtime > made.stat().st_mtime):
            path.parent.mkdir(parents=True, exist_ok=True)
            record_video(
                load_run(folder),
                path,
                horizon=max(HORIZONS),
                caption=f"{condition}, median seed {row['seed']}",
                overwrite=True,
            )


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
        for condition in dict.fromkeys(c for c, _, _ in wanted):
            configured(preset(args.tasks[0]), condition)  # refuses before anything is run
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
