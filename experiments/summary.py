"""Write the README's results table from `experiments/results/`: every figure there is one that a script measured.

python -m experiments.summary            # rewrites the block between the marks in README.md
python -m experiments.summary --check    # fails where README and results differ
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from experiments.humanoid_conditions import planned
from experiments.weights import EARLIER, SEES, footnote, is_earlier
from vlmrl.checkpoints import replace_file

RESULTS = Path(__file__).parent / "results"

README = RESULTS.parents[1] / "README.md"
BEGIN, END = "<!-- results: python -m experiments.summary -->", "<!-- end of results -->"
COLUMNS = ("vlm", "ceiling", "constant", "random_encoder", "swapped_goal")
CEILINGS = ("state_similarity", "true")
TASKS = (
    (
        "humanoid_kneeling",
        '"a humanoid robot kneeling", held for half of 1.5 s; and of 6 s',
        "`vlmrl/Humanoid-v0`, JAX PPO",
    ),
    (
        "cartpole",
        '"pole vertically upright on top of the cart", for 95% of 10 s',
        "`vlmrl/CartPole-v0`, JAX PPO",
    ),
    (
        "sb3_cartpole_v1",
        "the same words; share of 500 steps upright",
        "Gymnasium's `CartPole-v1`, own renderer, SB3 PPO",
    ),
    (
        "mountain_car",
        '"a car at the peak of the mountain, next to the yellow flag", reached and kept',
        "`vlmrl/MountainCar-v0`, JAX PPO",
    ),
)
"""Results file, sentence with its check, and world with its agent."""
PLANNED = ("humanoid_kneeling",)
"""Tasks that the plan of `experiments.humanoid` measures: once its book holds all that a line shows, the line is from there."""
OF_THE_PLAN = {
    "asked_always": "vlm", "ceiling_state_similarity": "ceiling", "control_constant": "constant",
    "control_random_encoder": "random_encoder", "control_swapped_goal": "swapped_goal",
}  # fmt: skip
"""Condition of that plan -> the column that it belongs to."""


def condition(row: dict[str, Any]) -> str:
    """Return the column that a row belongs to."""
    name = row["condition"].replace("-", "_")
    return "ceiling" if name in CEILINGS else OF_THE_PLAN.get(name, name)


def read(name: str) -> list[dict[str, Any]]:
    """Return the rows of a results file; none where there is no such file."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else []


def rows_of(name: str) -> list[dict[str, Any]]:
    """Return the rows of a task's line: of its own file or, where that has all of them, of the humanoid's; never of both."""
    if name in PLANNED:
        runs = {(condition, seed) for condition, _, seed in planned([*OF_THE_PLAN], [name])}
        found = [r for r in read("humanoid") if r["task"] == name and (r["condition"], r["seed"]) in runs]
        if {(row["condition"], row["seed"]) for row in found} == runs:
            return found
    return read(name)


def cell(rows: list[dict[str, Any]]) -> str:
    """Return successes of the seeds side by side; two horizons with a semicolon between."""
    if not rows:
        return "not run"
    rows = sorted(rows, key=lambda row: row["seed"])
    if "share_of_steps" in rows[0]:
        found = [[row["share_of_steps"]] for row in rows]
    else:
        found = [list(row["success"].values()) for row in rows]
    shown = [" / ".join(f"{100 * value:.0f}" for value in column) for column in zip(*found, strict=True)]
    seeds = [row["seed"] for row in rows]
    note = "" if seeds == [0, 1, 2] else f" (seed {', '.join(map(str, seeds))})"
    return "; ".join(dict.fromkeys(shown)) + note + (EARLIER if any(is_earlier(row) for row in rows) else "")


def table() -> str:
    """Return the table in Markdown."""
    head = ["from the sentence", "world, agent", "**VLM reward**", "ceiling", "constant reward", "random encoder", "swapped goal",
            "env steps", "minutes"]  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    every: list[dict[str, Any]] = []
    for name, sentence, world in TASKS:
        rows = [row for row in rows_of(name) if condition(row) not in SEES or row["encoder"] == "embedded"]
        every += rows
        found = {column: [row for row in rows if condition(row) == column] for column in COLUMNS}
        steps = {row.get("env_steps", row.get("total_steps")) for row in found["vlm"]}
        seconds = [row.get("wall_seconds", row.get("train_seconds")) for row in found["vlm"]]
        cells = [sentence, world, *(cell(found[column]) for column in COLUMNS)]
        cells[2] = f"**{cells[2]}**"
        cells += [", ".join(f"{s / 1000:.0f}k" for s in sorted(steps)), f"{np.median(seconds) / 60:.1f}" if seconds else "–"]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return ("\n".join(lines) + "\n" + footnote(every)).rstrip("\n")


def renewed(text: str) -> str:
    """Return the README's text with the table of today's results."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def write() -> None:
    """Rewrite the README's block; the experiments call it after each row, so that the two never differ."""
    replace_file(README, renewed(README.read_text()).encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    text = README.read_text()
    if args.check:
        sys.exit(
            0 if renewed(text) == text else "README.md: its results table is not that of experiments/results"
        )
    write()
    print(table())


if __name__ == "__main__":
    main()
