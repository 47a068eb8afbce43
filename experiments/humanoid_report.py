"""Tables, learning curves and videos of what `experiments.humanoid` has run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments import aggregate, curves, humanoid_targets, summary
from experiments.book import Book
from experiments.humanoid_conditions import (
    CONDITIONS,
    LARGE,
    LARGE_MODEL,
    NEVER_SAW,
    OTHER_BODY,
    TASKS,
    ZERO_SHOT,
    horizons_of,
)
from experiments.summary import RESULTS
from experiments.weights import EARLIER, footnote, is_earlier
from vlmrl.checkpoints import replace_file
from vlmrl.evaluation import record_video
from vlmrl.runs import read_metrics
from vlmrl.training import load_run

SECTIONS = (
    "Compositions that training never says",
    "Poses that the encoder never met, in other words",
    "VLM-RM's eight poses",
    "Another body",
)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return Markdown: what the encoder was never shown, then the eight poses; a line for each task and condition."""
    parts = []
    for title in SECTIONS:
        mine = [row for row in rows if section(row) == title]
        if mine:
            parts.append(f"### {title}\n\n{_lines(mine)}")
    return "\n\n".join(parts) + "\n" + footnote(rows)


def section(row: dict[str, Any]) -> str:
    """Return the title that a row stands under."""
    if row["condition"] == NEVER_SAW:
        return SECTIONS[1]
    if row["task"] in OTHER_BODY:
        return SECTIONS[3]
    return SECTIONS[0] if row["composition"] else SECTIONS[2]


def _lines(rows: Sequence[dict[str, Any]]) -> str:
    steps = [f"success, {h} steps" for h in rows[0]["success"]]
    head = ["goal", "condition (in-domain, caption-supervised)", "seeds", *steps, "steps to success",
            "env steps", "frames scored", "minutes", "learned less true reward", "out of view",
            "VLM-RM (zero-shot)"]  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    found = list(aggregate.groups(rows, task=TASKS, condition=CONDITIONS))
    lines += [_line(task, condition, mine) for (task, condition), mine in found]
    for condition in CONDITIONS:
        groups = [mine for (_, theirs), mine in found if theirs == condition]
        if len(groups) > 1:
            shown = [
                aggregate.shown([[r["success"][h] for r in g] for g in groups]) for h in rows[0]["success"]
            ]
            blank = [""] * (len(head) - 3 - len(shown))
            lines.append("| " + " | ".join([f"all {len(groups)}", condition, "", *shown, *blank]) + " |")
    return "\n".join(lines)


def _line(task: str, condition: str, rows: Sequence[dict[str, Any]]) -> str:
    reached = [row["steps_to_success"] for row in rows]
    median = (
        f"{np.median([r for r in reached if r is not None]):,.0f}"
        if all(r is not None for r in reached)
        else "not by all"
    )
    mark = EARLIER if any(is_earlier(row) for row in rows) else ""
    shown = [aggregate.shown([[row["success"][h] for row in rows]]) + mark for h in rows[0]["success"]]
    zero_shot = (
        ZERO_SHOT.get(task.removeprefix("humanoid_"), "–")
        if condition.startswith(("asked_", "simulated_"))
        else "–"
    )
    counts = [f"{np.median([row[key] for row in rows]):,.0f}" for key in ("env_steps", "frames_scored")]
    cells = [
        rows[0]["goal"][0],
        condition,
        ", ".join(str(row["seed"]) for row in rows),
        *shown,
        median,
        *counts,
        aggregate.minutes(rows) + (f" (with {LARGE_MODEL})" if condition in LARGE else ""),
        parted(rows),
        unseen(rows),
        zero_shot,
    ]
    return "| " + " | ".join(cells) + " |"


def parted(rows: Sequence[dict[str, Any]]) -> str:
    """Say seed by seed how far the learned reward and the model's own answers parted; "–" where none was learned."""
    known = [row["drift"] for row in rows if row.get("drift")]
    if not known:
        return "–"
    gaps, ranks = (
        " / ".join("–" if each[name] is None else f"{each[name]:{form}}" for each in known)
        for name, form in (("gap", "+.3f"), ("rank_correlation", ".2f"))
    )
    said = sum(each["updates"] > 0 for each in known)
    return f"{gaps}, rank {ranks}" + (f", drift in {said} of {len(known)}" if said else "")


def unseen(rows: Sequence[dict[str, Any]]) -> str:
    """Return the largest share of a run's states that no camera saw, and that were not rewarded; "–" where not known."""
    known = [row["out_of_view"]["share"] for row in rows if row.get("out_of_view")]
    return f"{max(known):.1%}" if known else "–"


def finished(folder: Path, steps: int) -> bool:
    """Tell whether a run folder holds a run to its end at so many steps."""
    metrics = read_metrics(folder) if (folder / "config.json").is_file() else []
    return bool(metrics) and metrics[-1]["global_step"] == steps


def report(results: Path, runs: Path, videos: bool) -> None:
    """Write the targets and the table, the learning curves and, where run folders are there, the median seeds' videos.

    Where the book is the published one, the README's line of kneeling follows it.
    """
    book = Book(results)
    claim = (
        "Interquartile mean over seeds [95% stratified bootstrap interval, which of three seeds reaches from the least to the "
        "largest]; success: the pose held for half of the steps, 100 episodes. Here the actions are joint angles, which springs "
        "within the motors' own torques go to; VLM-RM's are torques. Learned less true reward: what the agent got on average less what "
        "the encoder would have said, over the last tenth of a run, with the rank correlation of the two on states drawn at random, "
        "and how many runs said that they part; out of view: the most of a run's states that were not rewarded, since the camera "
        "did not see the body. Settings were tried out with seed 0, which is not among these."
    )
    with book.held():
        rows = book.rows
        replace_file(
            results.with_suffix(".md"), f"{claim}\n\n{humanoid_targets.table(rows)}\n{table(rows)}".encode()
        )
        curves.draw(rows, results.with_name(f"{results.stem}_curves.png"))
        if results.parent == RESULTS:
            summary.write()
    for (task, condition), mine in aggregate.groups(rows, task=TASKS, condition=CONDITIONS) if videos else ():
        row = aggregate.median_row(mine)
        folder = runs / f"{task}-{condition}-{row['seed']}"
        path = runs / "videos" / f"{task}-{condition}-seed{row['seed']}.mp4"
        made = folder / "config.json"
        if is_earlier(row) or not finished(folder, row["env_steps"]):
            continue  # what lies there is another run than the row's
        if not (path.exists() and path.stat().st_mtime > made.stat().st_mtime):
            path.parent.mkdir(parents=True, exist_ok=True)
            record_video(
                load_run(folder),
                path,
                horizon=max(horizons_of(task)),
                caption=f"{condition}, median seed {row['seed']}",
                overwrite=True,
            )
