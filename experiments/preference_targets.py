"""What the preference experiments must reach (issue 5), and where they are: the short table on top of the long one.

Policies, controls and answers are read from the rows; the rest is measured apart, by benchmarks whose results lie beside the
rows: `benchmarks.preference_labels`, `benchmarks.replay_memory`, `benchmarks.bad_answers`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments import aggregate
from experiments.book import Row
from vlmrl.tasks import METAWORLD

Rows = Sequence[Row]
Measured = Mapping[str, Any]
SEVEN = ("cartpole", "straighten_rope", "fold_cloth", "pass_water", *METAWORLD)
"""RL-VLM-F's tasks; those without settings are not run yet."""
CONTROLS = ("control_random_labels", "control_flipped_labels")
SEEDS = (0, 1, 2)
NEAR = 0.05
"""A policy reaches the oracle's where its success is lower by no more than this,"""
GOOD = 0.9
"""and the oracle's own is at least this: reaching a policy that fails says nothing."""
BENCHMARKS = ("preference_labels", "replay_memory", "bad_answers")
SPOILT = 0.3
"""Share of a server's replies that are spoilt, as the issue has it."""
NOT_RUN = "not run"


def table(rows: Rows, results: Path) -> str:
    """Return Markdown: what is to be reached, by RL-VLM-F, and here; results: the folder with the benchmarks' results."""
    measured = {name: _read(results / f"{name}.json") for name in BENCHMARKS}
    lines = ["| | RL-VLM-F | to be reached | here |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {theirs} | {wanted} | {here(rows, measured)} |" for name, theirs, wanted, here in TARGETS
    ]
    return "\n".join(lines) + "\n"


def gap_table(rows: Rows) -> str:
    """Return Markdown: how often labels were right in ten equal parts of the pairs, by how far their progress differs.

    A line for each task and labeller of which rows say so, the mean over seeds; "" without any.
    """
    found: dict[tuple[str, str], list[list[float]]] = {}
    for row in rows:
        if row.get("label_accuracy_by_gap"):
            bins = [part["accuracy"] for part in row["label_accuracy_by_gap"]]
            found.setdefault((row["task"], row["labeller"]), []).append(bins)
    if not found:
        return ""
    widest = max(len(bins) for each in found.values() for bins in each)
    head = ["labels right, by progress gap", "who answers", "least", *[""] * (widest - 2), "greatest"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for (task, labeller), each in found.items():
        length = min(map(len, each))
        means = np.mean([bins[:length] for bins in each], axis=0)
        cells = [task, labeller, *(f"{mean:.0%}" for mean in means), *["–"] * (widest - length)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def reaches(rows: Rows) -> str:
    """Say whether the policies of a task and labeller reach the oracle's of the same seeds at each horizon: yes, no or why not known."""
    if not rows or not all(row["oracle_success"] for row in rows):
        return NOT_RUN
    means = [
        (aggregate.iqm([row["success"][h] for row in rows]), aggregate.iqm([row["oracle_success"][h] for row in rows]))
        for h in rows[0]["success"]
    ]  # fmt: skip
    if any(oracle < GOOD for _, oracle in means):
        return f"oracle below {GOOD:.0%}"
    return "yes" if all(mine >= oracle - NEAR for mine, oracle in means) else "no"


def count(rows: Rows) -> str:
    """Return how many of RL-VLM-F's seven tasks the encoder's labels solve as well as the oracle's, over all seeds."""
    verdicts: dict[str, list[str]] = {}
    for task in SEVEN:
        mine = _of(rows, task, "encoder")
        seeds = {row["seed"] for row in mine}
        verdict = reaches(mine)
        if verdict != NOT_RUN and not seeds >= set(SEEDS):
            verdict = "not all seeds"
        verdicts.setdefault(verdict, []).append(task)
    rest = [f"{verdict}: {', '.join(tasks)}" for verdict, tasks in verdicts.items() if verdict != "yes"]
    reached = f"{len(verdicts.get('yes', []))} of {len(SEVEN)} tasks reach the oracle's policy"
    return "; ".join([reached, *rest]) + "."


def controls(rows: Rows, measured: Measured) -> str:
    """Return how many controls fail, which is not to reach the oracle's policy, and the highest success of any."""
    wanted = [(task, who) for who in CONTROLS for task in SEVEN]
    found = {run: mine for run in wanted if (mine := _of(rows, *run))}
    if not found:
        return NOT_RUN
    best = {run: max(aggregate.iqm([r["success"][h] for r in mine]) for h in mine[0]["success"])
            for run, mine in found.items()}  # fmt: skip
    task, who = max(best, key=lambda run: best[run])
    text = f"{sum(reaches(mine) == 'no' for mine in found.values())} of {len(wanted)} fail, with at most {best[task, who]:.0%}"
    missing = len(wanted) - len(found)
    return f"{text} ({who}, {task})" + (f"; {missing} {NOT_RUN}" if missing else "")


def asked(rows: Rows, measured: Measured) -> str:
    """Return the most answers that a run of the encoder's labels asked, abstentions among them."""
    mine = [row["pairs_asked"] for row in rows if row["labeller"] == "encoder" and row["task"] in SEVEN]
    return f"at most {max(mine):,.0f}" if mine else NOT_RUN


def labels(rows: Rows, measured: Measured) -> str:
    """Return how often the encoder's labels of pairs with a gap above the median were right: in a stage of 1,000, task by task."""
    found = {row["task"]: row.get("accuracy_above_median_gap") for row in measured["preference_labels"] or ()}
    each = [f"{task} {found[task]:.1%}" for task in SEVEN if found.get(task) is not None]
    return (
        ", ".join([*each, *(f"{task} {NOT_RUN}" for task in SEVEN if found.get(task) is None)])
        if each
        else NOT_RUN
    )


def stage(rows: Rows, measured: Measured) -> str:
    """Return the longest stage of the seven tasks."""
    mine = [row for row in measured["preference_labels"] or () if row["task"] in SEVEN]
    if not mine:
        return NOT_RUN
    slowest = max(mine, key=lambda row: row["seconds"])
    cores = f" on {slowest['hardware']['cores']} cores" if "hardware" in slowest else ""
    return f"at most {slowest['seconds']:.1f} s ({slowest['task']}, {slowest['pairs']:,} pairs{cores})"


def memory(rows: Rows, measured: Measured) -> str:
    """Return the most memory of a run with a full replay buffer."""
    found = measured["replay_memory"]
    return f"{found['gibibytes']:.2f} GiB at {found['steps']:,} steps" if found else NOT_RUN


def bad_answers(rows: Rows, measured: Measured) -> str:
    """Return what became of labels when a server spoilt replies: wrong ones, the rate reported, and how it ended."""
    found = [row for row in (measured["bad_answers"] or {}).get("faults", ()) if row["share"] == SPOILT]
    if not found:
        return NOT_RUN
    wrong, known = sum(row["wrong"] for row in found), sum(row["labels"] for row in found)
    rates = " and ".join(f"{row['failure_rate']:.1%}" for row in found)
    stopped = sum(bool(row["stopped"]) for row in found)
    ended = f"{stopped} stopped" if stopped else "completed"
    return f"{wrong} wrong of {known:,} labels; {rates} of replies reported unusable; {ended}"


def _of(rows: Rows, task: str, labeller: str) -> list[Row]:
    return [row for row in rows if (row["task"], row["labeller"]) == (task, labeller)]


def _read(file: Path) -> Any:
    return json.loads(file.read_bytes()) if file.is_file() else None


TARGETS: tuple[tuple[str, str, str, Callable[[Rows, Measured], str]], ...] = (
    ("tasks whose policy reaches the oracle's (within 5 points; the oracle's itself ≥ 90%)", "6 of 7, SoftGym for three",
     "7 of 7, our re-creations for three", lambda rows, measured: count(rows)),
    ("controls: random labels, flipped labels", "–", "fail", controls),
    ("answers asked of a task", "up to 9,920 pairs", "≤ 1,000", asked),
    ("the encoder's labels right, gap above the median", "–", "≥ 95%", labels),
    ("a stage of 1,000 pairs, the encoder answering, two cores", "–", "≤ 20 s", stage),
    ("memory of a 1M-step SAC run", "about 70 GiB at 300 px", "≤ 4 GiB", memory),
    (f"bad answers injected at {SPOILT:.0%}", "−1 or 0 labels", "no wrong label, rate reported, completes or stops", bad_answers),
)  # fmt: skip
"""Name, RL-VLM-F's, to be reached, and how it is read from rows and benchmarks."""
