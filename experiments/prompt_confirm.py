"""The sweep's best and worst ways to ask of a few tasks, trained: does what separates better offline also train better?

    python -m experiments.prompt_sweep --confirm                                  # the tasks and seeds below; skips what is there
    python -m experiments.prompt_sweep --confirm --tasks humanoid_splits --settings 2 --seeds 20

Rows go to results/prompt_confirm.json, one for each training run, with what the sweep measured of its way to ask. The runs are
shorter than those of the tables, ask about a tenth of the states, and are judged as those are; what is trained is chosen by
the sweep alone. The encoder is in-domain and supervised by captions.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np

from experiments import aggregate, common
from experiments.book import Book, Row
from experiments.filling import end, fill
from experiments.humanoid_conditions import CONTROLLED, QUERY_SHARE, horizons_of
from experiments.prompts import MEASURES, chosen, score, setting
from experiments.weights import EARLIER, footnote, is_earlier
from vlmrl.checkpoints import replace_file
from vlmrl.errors import usage_error
from vlmrl.training import TrainConfig, preset

TASKS = CONTROLLED
"""Three poses and one of the hardest."""
SEEDS, STEPS = (20, 21), 300_000
"""Seeds of no other experiment, and steps of each run (or fewer where the preset has fewer)."""
SAME = 0.02
"""Successes that differ by no more are called equal."""


def of_sweep(args: argparse.Namespace, task: str) -> list[Row]:
    """Return the sweep's rows of a task. Raises: UsageError where there are none of the encoder, or of earlier weights."""
    rows = json.loads(args.out.read_text()) if args.out.exists() else []
    rows = [row for row in rows if (row["task"], row["encoder"]) == (task, args.encoder)]
    remedy = f"run python -m experiments.prompt_sweep --tasks {task} first"
    if not rows:
        raise usage_error("sweep", f"no rows of {task} and {args.encoder} in {args.out}", "some", remedy)
    if any("trainable" not in row or is_earlier(row) for row in rows):
        raise usage_error("sweep", f"rows of {task} by earlier weights", "rows of today's", remedy)
    return rows


def configured(row: Row) -> TrainConfig:
    """Return the settings of a run that is rewarded as a row of the sweep says."""
    config = preset(row["task"])
    task = replace(config.task, goal=row["goal"], baseline=row["baseline"], alpha=row["alpha"])
    views = tuple(row["cameras"]) if row["views"] == "all" else ()
    return replace(config, task=task, encoder=row["encoder"], views=views, query_share=QUERY_SHARE, video=False,
                   total_steps=min(STEPS, config.total_steps))  # fmt: skip


def run_row(config: TrainConfig, chosen_as: str, asked: Row, episodes: int) -> Row:
    """Train once in the run's own folder, `config.out`; return the row, with the sweep's figures of its way to ask."""
    row = common.run_one(config, horizons_of(config.task.name), episodes, None)
    offline = {name: asked[name] for name in (*MEASURES, "gap", "goal_states")}
    separation = round(score(asked), 4) if np.isfinite(score(asked)) else None
    kinds = {name: asked[name] for name in ("baselines", "goals", "views", "cameras")}
    return {**row, "setting": setting(asked), "chosen_as": chosen_as, **kinds, "offline": {"score": separation, **offline},
            "evidence": "in-domain, caption-supervised"}  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """Return Markdown: a line for each way to ask that was trained, separation beside success, then how far the two agree."""
    head = ["task", "asked", "chosen as", "separation", "AUC", "AUC, close", "paths", "seeds", "success, short episodes",
            "success, long episodes", "env steps", "minutes"]  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for group in _groups(rows):
        first, mark = group[0], EARLIER if any(map(is_earlier, group)) else ""
        measured = [_shown(first["offline"][name]) for name in ("score", *MEASURES)]
        success = [aggregate.shown([list(values)]) + mark for values in zip(*(r["success"].values() for r in group), strict=True)]  # fmt: skip
        cells = [first["task"], first["setting"], first["chosen_as"], *measured, ", ".join(str(row["seed"]) for row in group), *success,
                 f"{first['env_steps']:,}", aggregate.minutes(group)]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", agreement(rows)]) + "\n" + footnote(rows)


def agreement(rows: Sequence[Row]) -> str:
    """Say of how many pairs of ways to ask, of one task, the one that separates better trains better, alike, or worse."""
    better = alike = worse = 0
    for one, other in combinations(list(_groups(rows)), 2):
        scores = [group[0]["offline"]["score"] for group in (one, other)]
        if one[0]["task"] != other[0]["task"] or None in scores or scores[0] == scores[1]:
            continue
        gain = np.sign(scores[0] - scores[1]) * (_success(one) - _success(other))
        better, alike, worse = better + (gain > SAME), alike + (abs(gain) <= SAME), worse + (gain < -SAME)
    count = better + alike + worse
    if not count:
        return "No two ways to ask of one task have been trained yet."
    return (
        f"Of {count} pairs of ways to ask, the one that separates better offline trained to more success in {better}, to the same "
        f"(within {SAME:.0%}) in {alike}, to less in {worse}."
    )


def _groups(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the rows of each task's ways to ask, seeds ascending, the best separated first."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in sorted(rows, key=lambda r: r["seed"]):
        found.setdefault((row["task"], row["setting"]), []).append(row)
    order = list(dict.fromkeys(row["task"] for row in rows))
    return sorted(found.values(), key=lambda g: (order.index(g[0]["task"]), -(g[0]["offline"]["score"] or 0.0)))  # fmt: skip


def _success(group: Sequence[Row]) -> float:
    """Return the interquartile mean of success over seeds and horizons."""
    return aggregate.iqm([value for row in group for value in row["success"].values()])


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def confirm(args: argparse.Namespace) -> None:
    """Train what the book of results lacks of the sweep's choice, then report.

    Raises: UsageError where the sweep has not been run with today's weights; SystemExit 1 where a run failed.
    """
    book, wanted = Book(args.results), []
    asked: dict[tuple[str, str], tuple[str, Row]] = {}
    for task in args.tasks or TASKS:
        for name, choice in chosen(of_sweep(args, task), args.settings).items():
            asked[task, name] = choice
            for seed in args.seeds or SEEDS:
                out = args.runs / f"prompt-{task}-{name}-{seed}"
                config = common.placed(configured(choice[1]), seed, out, args.total_steps)
                wanted.append(({"task": task, "setting": name, "seed": seed}, config))

    def run(named: dict[str, Any], config: TrainConfig) -> Row:
        return run_row(config, *asked[named["task"], named["setting"]], args.episodes)

    def report() -> None:
        with book.held():
            text = f"{common.IN_DOMAIN} Separation: the mean of the three figures beside it.\n\n{table(book.rows)}"
            replace_file(args.results.with_suffix(".md"), text.encode())

    failed = fill(book, wanted, run, report)
    if book.rows:
        report()
        print(table(book.rows))
    end(failed)
