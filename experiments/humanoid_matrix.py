"""The matrix goal trained x pose judged: every pose's `success` on the states that each goal's runs exported.

    python -m experiments.humanoid_matrix                                  # the eight poses, asked_rarely
    python -m experiments.humanoid_matrix --conditions control_swapped_goal

An agent that was asked for a pose must hold that pose and, where poses exclude each other, no other. Runs are those of
`experiments.humanoid`, which keeps the states of their episodes of 100 steps; of its book, the rows of today's weights of
the encoder, whose run folders are here.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.book import Book
from experiments.common import IN_DOMAIN, STATES, provenance
from experiments.humanoid_conditions import CONDITIONS
from experiments.summary import RESULTS
from experiments.weights import is_earlier
from vlmrl.checkpoints import replace_file
from vlmrl.tasks import COMPOSITIONS, POSES
from vlmrl_envs.humanoid import success
from vlmrl_envs.humanoid.rules import Humanoid


def judged(rules: Humanoid, states: np.ndarray, poses: Sequence[str]) -> dict[str, float]:
    """Return for each pose the share of episodes, states (T, E, S), that hold it for at least half of their steps."""
    steps, episodes, _ = states.shape
    body = rules.read_body(rules.split(states.reshape(steps * episodes, -1))[0])
    held = {pose: success.success(body, pose).reshape(steps, episodes) for pose in poses}
    return {pose: float(rules.hold.judge(each).mean()) for pose, each in held.items()}


def rows_of(
    book: Book, runs: Path, condition: str, goals: Sequence[str], poses: Sequence[str]
) -> list[dict[str, Any]]:
    """Return a row for each of a condition's rows in the book whose run folder holds states: goal, seed, judgements.

    Left out are rows of earlier weights of the encoder, and folders without a row: what is in them is not known.
    """
    rules, rows = Humanoid(), []
    for goal in goals:
        known = book.matching(task=f"humanoid_{goal}", condition=condition)
        for seed in sorted(row["seed"] for row in known if not is_earlier(row)):
            path = runs / f"humanoid_{goal}-{condition}-{seed}" / STATES
            if not path.is_file():
                continue
            with np.load(path) as found:
                states = found["states"]
            row = {"goal": goal, "condition": condition, "seed": seed, "steps": len(states)}
            rows.append({**row, "episodes": states.shape[1], "success": judged(rules, states, poses)})
    return rows


def table(rows: Sequence[dict[str, Any]], poses: Sequence[str]) -> str:
    """Return Markdown: a line for each goal trained, a column for each pose judged, means over seeds, its own in bold."""
    lines = ["| trained for | seeds | " + " | ".join(poses) + " |", "|" + "---|" * (2 + len(poses))]
    for goal in dict.fromkeys(row["goal"] for row in rows):
        mine = [row for row in rows if row["goal"] == goal]
        cells = []
        for pose in poses:
            share = f"{np.mean([row['success'][pose] for row in mine]):.0%}"
            cells.append(f"**{share}**" if pose == goal else share)
        lines.append(
            f"| {goal} | {', '.join(str(row['seed']) for row in mine)} | " + " | ".join(cells) + " |"
        )
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Judge the runs that are there and write results/humanoid_matrix.json and .md; exit code 2 where there are none."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = (*POSES, *COMPOSITIONS)
    parser.add_argument("--goals", nargs="+", default=list(POSES), choices=known, metavar="POSE")
    parser.add_argument("--poses", nargs="+", default=list(POSES), choices=known, metavar="POSE")
    parser.add_argument("--conditions", nargs="+", default=["asked_rarely"], choices=CONDITIONS)
    parser.add_argument("--runs", type=Path, default=Path("runs") / "experiments")
    parser.add_argument("--results", type=Path, default=RESULTS / "humanoid.json", help="the runs' book")
    parser.add_argument("--out", type=Path, default=RESULTS / "humanoid_matrix.json")
    args = parser.parse_args(arguments)
    book = Book(args.results)
    rows = [r for c in args.conditions for r in rows_of(book, args.runs, c, args.goals, args.poses)]
    if not rows:
        parser.error(
            f"runs: got {args.runs}, where no run that {args.results} has with today's weights holds {STATES}; "
            "expected runs of experiments.humanoid; run that first"
        )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    replace_file(args.out, (json.dumps([{**row, **provenance()} for row in rows], indent=1) + "\n").encode())
    parts = [
        f"{c}. {IN_DOMAIN}\n\n{table([row for row in rows if row['condition'] == c], args.poses)}"
        for c in args.conditions
    ]
    replace_file(args.out.with_suffix(".md"), "\n".join(parts).encode())
    print("\n".join(parts))


if __name__ == "__main__":
    main()
