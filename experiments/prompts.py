"""The ways to ask for a goal that `experiments.prompt_sweep` measures and `experiments.prompt_confirm` trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from vlmrl.tasks import Task, get_task
from vlmrl_envs.captions import Grammar

ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
NUM_GOALS = 4
"""Wordings of the goal that are averaged, its own first."""
MEASURES = ("auc", "auc_close", "path_spearman")
"""What ways to ask are ranked by."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """One way to ask."""

    alpha: float
    """Strength of the projection."""
    baselines: str
    """own, or others: other plain sentences of the world, averaged."""
    goals: str
    """own, or several: `NUM_GOALS` wordings averaged."""
    views: str
    """own: the world's first camera; all: the rewards of several averaged (`experiments.views`)."""


def variants(several: bool, others: bool, cameras: Sequence[str], own_alpha: float = 0.0) -> list[Variant]:
    """Return all ways to ask that there are, the usual values first; own_alpha: the task's, swept too."""
    kinds = (("own", "others") if others else ("own",), ("own", "several") if several else ("own",),
             ("own", "all") if len(cameras) > 1 else ("own",))  # fmt: skip
    return [Variant(alpha, *kind) for kind in product(*kinds) for alpha in sorted({*ALPHAS, own_alpha})]


def wordings(task: Task, grammar: Grammar | None) -> list[str]:
    """Return the goal and up to `NUM_GOALS` - 1 other wordings of the same facts that training knows.

    A goal that the grammar does not say, or says in one way only, stays alone.
    """
    goal, subject = task.goal[0], task.baseline[0]
    parts = goal.removeprefix(f"{subject} ").split(", ")
    if grammar is None:
        return [goal]
    whole = _same_fact(grammar, ", ".join(parts))
    options = [whole] if whole else [_same_fact(grammar, part) for part in parts]
    if not all(options):
        return [goal]
    count = max(map(len, options))
    said = [f"{subject} " + ", ".join(o[k % len(o)] for o in options) for k in range(count)]
    return list(dict.fromkeys([goal, *said]))[:NUM_GOALS]


def _same_fact(grammar: Grammar, phrase: str) -> list[str]:
    """Return the wordings of the fact that a phrase says, itself first; none where no fact does."""
    for column in range(len(grammar.facts)):
        known = grammar.wordings(column)
        if phrase in known:
            return [phrase, *(w for w in known if w != phrase)]
    return []


def plain_sentences(task: Task, grammar: Grammar | None) -> list[str]:
    """Return up to `NUM_GOALS` plain sentences of the world other than the task's baseline."""
    return [text for text in grammar.plain if text not in task.baseline][:NUM_GOALS] if grammar else []


def sentences(task: Task, grammar: Grammar | None, variant: Variant) -> tuple[list[str], list[str]]:
    """Return goals and baselines of a variant, as many of each."""
    goals = wordings(task, grammar) if variant.goals == "several" else list(task.goal)
    bases = plain_sentences(task, grammar) if variant.baselines == "others" else list(task.baseline)
    size = int(np.lcm(len(goals), len(bases)))  # the reward wants lists of one length; repeats change no mean
    return goals * (size // len(goals)), bases * (size // len(bases))


def score(row: Row) -> float:
    """Return what variants are ranked by: the mean of AUC, AUC against close states, and rank on paths, where they are known.

    Where none is, minus infinity.
    """
    known = [row[key] for key in MEASURES if row[key] is not None]
    return float(np.mean(known)) if known else float("-inf")


def setting(row: Row) -> str:
    """Return a short name of the way to ask that a row is of, for folders and tables."""
    kinds = (("baselines", "others"), ("goals", "several"), ("views", "all"))
    return "-".join(
        [f"alpha{row['alpha']:g}", *(f"{value}_{key}" for key, value in kinds if row[key] == value)]
    )


def usual(rows: Sequence[Row]) -> Row:
    """Return the row of how its task is asked as it is."""
    own = [row for row in rows if all(row[key] == "own" for key in ("baselines", "goals", "views"))]
    return next(row for row in own if row["alpha"] == get_task(row["task"]).alpha)


def reward_of(row: Row) -> tuple[Any, ...]:
    """Return what decides the reward of a row: two that share it are one reward (alpha 0 knows no baseline)."""
    baseline = tuple(row["baseline"]) if row["alpha"] > 0 else ()
    return row["alpha"], frozenset(row["goal"]), frozenset(baseline), tuple(row["cameras"])


def chosen(rows: Sequence[Row], count: int) -> dict[str, tuple[str, Row]]:
    """Choose of a task's rows those that are worth a training: as it is asked, and the `count` best and worst by score.

    Left out are views that no camera of the world gives, which cannot be trained on, second rows of one reward, and what
    has no basis to be ranked by. Returns setting -> (what it was chosen as, its row).
    """
    as_it_is = usual(rows)
    apart = {reward_of(as_it_is): as_it_is}
    for row in rows:
        if row["trainable"]:
            apart.setdefault(reward_of(row), row)
    ranked = sorted((row for row in apart.values() if np.isfinite(score(row))), key=score, reverse=True)
    best, worst = ranked[:count], ranked[count:][-count:]
    found: dict[str, tuple[str, Row]] = {}
    for name, group in (("as it is", [as_it_is]), ("best", best), ("worst", worst)):
        for row in group:
            before = found.get(setting(row))
            found[setting(row)] = (f"{before[0]}, {name}" if before else name, row)
    return found
