"""Rewards learned from preferences, task by task: RL-VLM-F's loop with an encoder that answers, and with an oracle.

    python -m experiments.preferences                                    # encoder and oracle; skips what is there
    python -m experiments.preferences --tasks cartpole --labellers encoder control_flipped_labels --seeds 0
    python -m experiments.preferences --report                           # the table of what is there

Rows go to results/preferences.json, one for each training run. The policy is trained on a reward learned from at most
1,000 answered pairs of single frames and on nothing else; the oracle answers by the world's own progress and is the
ceiling of every row of its task and seed, so it is run first. Judged is the last checkpoint by the world's own check;
nothing is chosen or stopped by it. The encoder is in-domain and supervised by captions.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments import aggregate, common
from experiments.summary import RESULTS
from vlmrl.checkpoints import replace_file
from vlmrl.errors import UsageError
from vlmrl.preferences.online_config import LabellerName, PreferencesConfig
from vlmrl.preferences.oracle import OracleConfig
from vlmrl.training import TrainConfig, preset


@dataclass(frozen=True)
class Setting:
    """How one task is asked about and judged."""

    horizons: tuple[int, ...]
    """Steps of the judged episodes."""
    preferences: PreferencesConfig
    """Pairs and stages, so that the budget lasts for most of the run."""


SETTINGS: dict[str, Setting] = {
    "cartpole": Setting((200, 500), PreferencesConfig(every=10_000)),
    "mountain_car": Setting((200,), PreferencesConfig(every=15_000)),
    "humanoid_kneeling": Setting((100, 400), PreferencesConfig(every=15_000)),
}
"""Task -> settings, fixed before any run of the table. Steps, agent and sentence are those of the task's preset."""
LABELLERS: dict[str, tuple[LabellerName, OracleConfig]] = {
    "encoder": ("encoder", OracleConfig()),
    "oracle": ("oracle", OracleConfig()),
    "oracle_noisy": ("oracle", OracleConfig(flip=0.1)),
    "control_random_labels": ("oracle", OracleConfig(flip=0.5)),
    "control_flipped_labels": ("oracle", OracleConfig(flip=1.0)),
}
"""Who answers: one answer in ten of the noisy oracle is wrong, and of the controls every second and every one."""
SEEDS = (0, 1, 2)
NEAR = 0.05
"""A policy reaches the oracle's where its success is lower by no more than this."""


def configured(task: str, labeller: str, seed: int) -> TrainConfig:
    """Return a run's settings: the one place where conditions become settings."""
    name, oracle = LABELLERS[labeller]
    asked = replace(SETTINGS[task].preferences, oracle=replace(oracle, seed=seed))
    return replace(preset(task), labeller=name, preferences=asked, seed=seed, video=False)


def run_row(
    task: str, labeller: str, seed: int, runs: Path, episodes: int, total_steps: int | None, book: common.Book
) -> dict[str, Any]:
    """Train once in a folder of its own and return the row; `book` holds the oracle's, unless this is it."""
    out = runs / f"preferences-{task}-{labeller}-{seed}"
    config = replace(configured(task, labeller, seed), out=out)
    if total_steps is not None:
        config = replace(config, total_steps=total_steps)
    shutil.rmtree(out, ignore_errors=True)  # what a stopped sitting left half done
    row = common.run_one(config, SETTINGS[task].horizons, episodes, None)
    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    last = {key.removeprefix("learned/"): value for key, value in metrics[-1].items()}
    curve = aggregate.thinned(metrics)
    oracle = row if labeller == "oracle" else _oracle(book.rows, task, seed)
    row.pop("condition")
    return {
        **row, "labeller": labeller, "oracle_success": oracle["success"] if oracle else None, "evidence": _evidence(labeller),
        **{name: last.get(name) for name in (
            "pairs_asked", "labels", "abstained", "label_accuracy", "label_accuracy_wide", "validation_accuracy", "ece",
            "progress_correlation",
        )},
        "checkpoint": "latest", "curve": curve,
    }  # fmt: skip


def _evidence(labeller: str) -> str:
    return "in-domain, caption-supervised" if labeller == "encoder" else "the world's own progress"


def _oracle(rows: Sequence[dict[str, Any]], task: str, seed: int) -> dict[str, Any] | None:
    wanted = (task, "oracle", seed)
    return next((r for r in rows if (r["task"], r["labeller"], r["seed"]) == wanted), None)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return Markdown: a line for each task and labeller, success as interquartile mean over seeds."""
    head = ["task", "who answers", "seeds", "success", "oracle's, same seeds", "reaches it", "pairs asked",
            "labels right", "of the wider half", "env steps", "minutes"]  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for task in (t for t in SETTINGS if any(row["task"] == t for row in rows)):
        for labeller in LABELLERS:
            mine = [row for row in rows if (row["task"], row["labeller"]) == (task, labeller)]
            if mine:
                lines.append(_line(task, labeller, sorted(mine, key=lambda row: row["seed"])))
    return "\n".join(lines) + "\n"


def _line(task: str, labeller: str, rows: Sequence[dict[str, Any]]) -> str:
    horizons = list(rows[0]["success"])
    found = [[row["success"][h] for row in rows] for h in horizons]
    known = all(row["oracle_success"] for row in rows)
    ceiling = [[row["oracle_success"][h] for row in rows] for h in horizons] if known else []
    near = all(aggregate.iqm(a) >= aggregate.iqm(b) - NEAR for a, b in zip(found, ceiling, strict=False))
    seconds = np.median([row["wall_seconds"] for row in rows])
    cells = [
        task, labeller, ", ".join(str(row["seed"]) for row in rows), "; ".join(map(_success, found)),
        "; ".join(map(_success, ceiling)) if known else "not run",
        "–" if labeller == "oracle" or not known else "yes" if near else "no",
        f"{np.median([row['pairs_asked'] for row in rows]):,.0f}",
        _share([row["label_accuracy"] for row in rows]), _share([row["label_accuracy_wide"] for row in rows]),
        f"{np.median([row['env_steps'] for row in rows]):,.0f}", f"{seconds / 60:.1f}",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _success(values: Sequence[float]) -> str:
    """Return the interquartile mean with its 95% interval; one seed has none."""
    if len(values) < 2:
        return f"{aggregate.iqm(values):.0%}"
    low, high = aggregate.interval([values])
    return f"{aggregate.iqm(values):.0%} [{low:.0%}, {high:.0%}]"


def _share(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.1%}" if known else "–"


def report(results: Path) -> None:
    """Write the table of a results file beside it."""
    claim = (
        "Policies trained on a reward learned from answered pairs alone. Interquartile mean over seeds [95% bootstrap "
        f"interval] of 100 episodes, one figure for each horizon; reaches it: within {NEAR:.0%} of the policy trained on the "
        "oracle's answers. Labels right: on the side of more progress, ties half. The encoder is in-domain."
    )
    replace_file(results.with_suffix(".md"), f"{claim}\n\n{table(common.Book(results).rows)}".encode())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the book of results lacks, then report; arguments as on the command line, None reads sys.argv."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", nargs="+", default=list(SETTINGS), choices=list(SETTINGS), metavar="TASK")
    parser.add_argument("--labellers", nargs="+", default=["oracle", "encoder"], choices=list(LABELLERS))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--total-steps", type=int, help="for a quick try; use --results with it")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs") / "experiments", help="where run folders go"
    )
    parser.add_argument("--results", type=Path, default=RESULTS / "preferences.json")
    parser.add_argument("--report", action="store_true", help="run nothing")
    args = parser.parse_args(arguments)
    book = common.Book(args.results)
    # The oracle goes first whether it is asked for or not: each row holds what it reached.
    labellers = list(dict.fromkeys(["oracle", *args.labellers]))
    wanted = [] if args.report else [(t, s, who) for t in args.tasks for s in args.seeds for who in labellers]
    try:
        for task, seed, labeller in wanted:
            if not book.has(task=task, labeller=labeller, seed=seed):
                print(f"{task}: {labeller}, seed {seed}", flush=True)
                row = run_row(task, labeller, seed, args.runs, args.episodes, args.total_steps, book)
                book.add(row)
                report(args.results)
        if book.rows:
            report(args.results)
            print(table(book.rows))
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
