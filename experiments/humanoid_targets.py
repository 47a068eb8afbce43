"""What the humanoid's rows must reach, and where they are: the short table on top of the long one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from experiments import aggregate
from experiments.humanoid_conditions import (
    COMPARED,
    CONTROLLED,
    HUMANOID,
    NEVER_SAW,
    NEVER_SEEN,
    OTHER_BODY,
    UNTRAINED,
    planned,
)
from experiments.weights import EARLIER, is_earlier
from vlmrl.tasks import COMPOSITIONS, POSES

Rows = Sequence[dict[str, Any]]
NOT_RUN = "not run"
EIGHT = tuple(f"humanoid_{pose}" for pose in POSES)
UNSEEN = tuple(f"humanoid_{pose}" for pose in COMPOSITIONS)
CONTROLS = tuple(dict.fromkeys(c for c, _, _ in planned() if c.startswith("control_") and c != UNTRAINED))
"""The controls that are trained."""
FAILS = 0.1
"""Success of a control up to which it failed, as it must."""
RARELY, ALWAYS = "asked_rarely", "asked_always"
LARGE, LARGE_ALWAYS = "simulated_large_vlm", "simulated_large_vlm_always"


def table(rows: Rows) -> str:
    """Return Markdown: what is to be reached, by VLM-RM, and here; success counts for tasks with all planned seeds only."""
    lines = [
        "| | VLM-RM (zero-shot) | to be reached | here (in-domain, caption-supervised) |",
        "|---|---|---|---|",
    ]
    for name, theirs, wanted, conditions, tasks, here in TARGETS:
        mine = [row for row in rows if row["condition"] in conditions and row["task"] in tasks]
        mark = EARLIER if any(is_earlier(row) for row in mine) else ""
        lines.append(f"| {name} | {theirs} | {wanted} | {here(mine) + mark if mine else NOT_RUN} |")
    return "\n".join(lines) + "\n"


def reached(condition: str, tasks: Sequence[str], share: float) -> Callable[[Rows], str]:
    """Return what says how many tasks reach a share of success in the short episodes, and how many in the long ones."""

    def here(rows: Rows) -> str:
        found = {task: mine for task in tasks if (mine := whole(rows, condition, task))}
        means = {task: success(mine) for task, mine in found.items()}
        each = [
            f"{short(task)} {means[task]:.0%}" if task in means else f"{short(task)} {NOT_RUN}"
            for task in tasks
        ]
        long = sum(success(mine, longest=True) >= share for mine in found.values())
        count = f"{sum(mean >= share for mean in means.values())} of {len(tasks)}"
        return f"{count}: {', '.join(each)}; in long episodes {long} of {len(tasks)}"

    return here


def whole(rows: Rows, condition: str, task: str) -> list[dict[str, Any]]:
    """Return the rows of a task's planned seeds; none where one is missing."""
    seeds = [seed for *_, seed in planned([condition], [task])]
    mine = {row["seed"]: row for row in rows if (row["condition"], row["task"]) == (condition, task)}
    return [mine[seed] for seed in seeds] if mine.keys() >= set(seeds) else []


def success(rows: Rows, longest: bool = False) -> float:
    """Return the interquartile mean of success at the shortest horizon, which is VLM-RM's, or at the longest."""
    by_length = [sorted(row["success"].items(), key=lambda item: int(item[0])) for row in rows]
    return aggregate.iqm([found[-1 if longest else 0][1] for found in by_length])


def short(task: str) -> str:
    """Return a task's name as the table shows it."""
    return task.removeprefix("humanoid_").replace("_", " ")


def worst(rows: Rows) -> float:
    """Return the interquartile mean of success at the horizon where it is higher."""
    return max(success(rows), success(rows, longest=True))


def controls(rows: Rows) -> str:
    """Say of each control that is trained the highest success of a task, at either horizon, and how many are not run."""
    cells = []
    for control in CONTROLS:
        found = {task: worst(mine) for task in CONTROLLED if (mine := whole(rows, control, task))}
        text = short(control.removeprefix("control_"))
        if not found:
            cells.append(f"{text} {NOT_RUN}")
            continue
        task = max(found, key=lambda name: found[name])
        left = len(CONTROLLED) - len(found)
        where = [short(task)] if found[task] > 0 else []
        where += [f"{left} of {len(CONTROLLED)} {NOT_RUN}"] if left else []
        cells.append(f"{text} at most {found[task]:.0%}" + (f" ({'; '.join(where)})" if where else ""))
    return ", ".join(cells)


def untrained(rows: Rows) -> str:
    """Say on how many tasks an agent without any update fails, as it must, and what it does where it does not."""
    found = {task: mine for task in HUMANOID if (mine := whole(rows, UNTRAINED, task))}
    if not found:
        return NOT_RUN
    failing = [task for task, mine in found.items() if worst(mine) <= FAILS]
    cells = [
        f"{short(task)} {success(mine):.0%}, in long episodes {success(mine, longest=True):.0%}"
        for task, mine in found.items()
        if task not in failing
    ]
    rest = "the others " if cells else ""
    cells += [f"{rest}at most {max(worst(found[task]) for task in failing):.0%}"] if failing else []
    cells += [f"{len(HUMANOID) - len(found)} {NOT_RUN}"] if len(found) < len(HUMANOID) else []
    return f"{len(failing)} of {len(HUMANOID)} fail: {'; '.join(cells)}"


def steps_to_success(rows: Rows) -> str:
    """Return the median of the steps after which runs succeeded; runs that never did count as endless."""
    median = np.median([row["steps_to_success"] or np.inf for row in rows])
    return f"{median:,.0f}" if np.isfinite(median) else "not reached by half of the runs"


def share_asked(rows: Rows) -> str:
    """Return the largest share of a run's steps that the VLM was asked about."""
    return f"at most {max(row['frames_scored'] / row['env_steps'] for row in rows):.1%}"


def difference(rows: Rows) -> str:
    """Return by how many points success falls, pose by pose, where the VLM is asked rarely: same seeds of both."""
    cells = []
    for task in COMPARED:
        always = whole(rows, ALWAYS, task)
        seeds = {row["seed"] for row in always}
        rarely = [r for r in rows if (r["condition"], r["task"]) == (RARELY, task) and r["seed"] in seeds]
        both = always and len(always) == len(rarely)
        points = f"{100 * (success(rarely) - success(always)):+.0f} points" if both else NOT_RUN
        cells.append(f"{short(task)} {points}")
    return ", ".join(cells)


def ratio(rows: Rows) -> str:
    """Return how many times as long asking a large VLM always takes, the median over runs of both kinds.

    What a frame takes is pooled over all runs: measured in each alone, it would say how busy the machine was just then.
    """
    known = [r for r in rows if r["large"]["passed"]]
    if not known:
        return NOT_RUN
    passed = [r["large"]["passed"] for r in known]
    each = np.average([r["large"]["seconds_a_frame"] for r in known], weights=passed)
    took = {
        (r["condition"], r["task"], r["seed"]): r["wall_seconds"]
        + (r["large"]["frames"] - r["large"]["passed"]) * each
        for r in known
    }
    pairs = [(LARGE, LARGE_ALWAYS, *run[1:]) for run in took if run[0] == LARGE]
    found = [took[a, *run] / took[r, *run] for r, a, *run in pairs if (a, *run) in took]
    planned_runs = len(planned([LARGE]))
    if not found:
        return NOT_RUN
    rest = "" if len(found) == planned_runs else f"; {planned_runs - len(found)} of {planned_runs} {NOT_RUN}"
    return f"{np.median(found):.1f} times less{rest}"


TARGETS: tuple[tuple[str, str, str, Sequence[str], Sequence[str], Callable[[Rows], str]], ...] = (
    ("unseen compositions", "none", "≥ 4, each ≥ 80%", [RARELY], UNSEEN, reached(RARELY, UNSEEN, 0.8)),
    ("poses left out of the encoder's training", "–", "2, each ≥ 60%", [NEVER_SAW], NEVER_SEEN, reached(NEVER_SAW, NEVER_SEEN, 0.6)),
    ("poses with ≥ 90% success", "5 of 8", "8 of 8", [RARELY], EIGHT, reached(RARELY, EIGHT, 0.9)),
    ("another body", "–", "2 sentences, each ≥ 80%", [RARELY], OTHER_BODY, reached(RARELY, OTHER_BODY, 0.8)),
    ("controls, trained", "not reported", "≤ 10% each", CONTROLS, CONTROLLED, controls),
    ("control: the same agent, untrained", "not reported", "≤ 10% each", [UNTRAINED], HUMANOID, untrained),
    ("environment steps to success, median", "10M trained", "≤ 1M", [RARELY], EIGHT, steps_to_success),
    ("minutes of a pose, median", "not reported", "≤ 6", [RARELY], EIGHT, aggregate.minutes),
    ("steps that the VLM is asked about", "every one", "≤ 10%", [RARELY], EIGHT, share_asked),
    ("success, asked rarely less asked always", "–", "within 3 points", [RARELY, ALWAYS], COMPARED, difference),
    ("wall-clock with ViT-L-14's cost, asked rarely", "–", "≥ 8 times less than asking always", [LARGE, LARGE_ALWAYS], COMPARED, ratio),
)  # fmt: skip
"""Name, VLM-RM's, to be reached (issue 4), the conditions and tasks of the rows that it is read from, and how."""
