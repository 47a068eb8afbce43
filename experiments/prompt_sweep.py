"""How to ask: alpha, baselines, several goals averaged and several views, judged without training by the reward's separation.

    python -m experiments.prompt_sweep                                      # every task; results/prompt_sweep.json and .md
    python -m experiments.prompt_sweep --tasks humanoid_lotus --states 300 --paths 4

States are embedded once for each view; every variant is arithmetic on the same embeddings. Measured of each: the AUC of goal
states above the others and above states a little short of the goal, the mean Spearman correlation of the reward with progress
along paths from start to goal, and the gap between the mean rewards of goal states and others in standard deviations of the
others. A goal state is one of which the goal's words are true by the captions' own facts, not by `success`: what agents are judged by
chooses nothing. What does best here is a candidate for training, not a result.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from experiments.common import IN_DOMAIN, provenance
from experiments.embedded.evaluation import metrics
from experiments.embedded.evaluation.drawn import SIZE, rules_of
from experiments.embedded.evaluation.goals import MIN_STATES, STEPS
from experiments.summary import RESULTS
from vlmrl.checkpoints import replace_file
from vlmrl.encoders.words import UnknownWordsWarning
from vlmrl.errors import UsageError
from vlmrl.rewards import GoalBaselineReward
from vlmrl.tasks import METAWORLD, TASKS, Task, get_task
from vlmrl_envs.captions import Grammar
from vlmrl_envs.rendering import make_renderer
from vlmrl_envs.rules import WorldRules

ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
NUM_GOALS = 4
"""Wordings of the goal that are averaged, its own first."""
SEED = 3031
GOAL = 0.7
"""Truth of the goal's words from which a state is a goal state."""


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
    """own: the world's first camera; all: the rewards of its cameras averaged."""


@dataclass
class Seen:
    """States of one task and how the encoder sees them."""

    goal: np.ndarray
    """Of which the goal's words are true, bool (B,)."""
    close: np.ndarray
    """Which are short of it by little, bool (B,): the tenth of the others of which they are truest."""
    states: dict[str, np.ndarray]
    """Camera -> embeddings (B, D)."""
    paths: dict[str, np.ndarray]
    """Camera -> embeddings (P * STEPS, D) along paths from start to goal; P may be 0."""


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


def variants(several: bool, others: bool, cameras: Sequence[str]) -> list[Variant]:
    """Return all ways to ask that differ, the usual values first."""
    kinds = (("own", "others") if others else ("own",), ("own", "several") if several else ("own",),
             ("own", "all") if len(cameras) > 1 else ("own",))  # fmt: skip
    return [Variant(alpha, *kind) for kind in product(*kinds) for alpha in ALPHAS]


def see(task: Task, rules: WorldRules, encoder: Any, count: int, num_paths: int) -> Seen:
    """Draw `count` states of a task and half as many likely goals, and paths; embed them by every camera."""
    rng = np.random.default_rng(SEED)
    states = np.concatenate([rules.sample_states(rng, count), rules.sample_near_goal(rng, count // 2)])
    truth = rules.similarity(states)
    goal = truth >= GOAL
    close = ~goal & (truth >= np.quantile(truth[~goal], 0.9)) if not goal.all() else ~goal
    goals = states[goal]
    chosen = goals[rng.integers(len(goals), size=num_paths)] if len(goals) else goals
    starts = [_start(rules, rng, states[~goal]) for _ in chosen]
    ways = [rules.path(a, b, STEPS) for a, b in zip(starts, chosen, strict=True)]
    along = np.concatenate(ways) if ways else states[:0]
    found = Seen(goal, close, {}, {})
    for camera in rules.cameras:
        renderer = make_renderer("warp", rules.model, camera, (SIZE, SIZE))
        try:
            for group, into in ((states, found.states), (along, found.paths)):
                frames = (
                    renderer.render(rules.split(group)[0])
                    if len(group)
                    else np.zeros((0, SIZE, SIZE, 3), np.uint8)
                )
                into[camera] = (
                    encoder.embed_images(frames).cpu().numpy()
                    if len(frames)
                    else np.zeros((0, 1), np.float32)
                )
        finally:
            renderer.close()
    return found


def _start(rules: WorldRules, rng: np.random.Generator, others: np.ndarray) -> np.ndarray:
    """Draw a start; where starts are goals themselves, another state."""
    start = rules.start(rng)
    is_goal = rules.similarity(start[None])[0] >= GOAL
    return others[rng.integers(len(others))] if is_goal and len(others) else start


def measure(rewards: np.ndarray, along: np.ndarray, seen: Seen) -> dict[str, float | None]:
    """Return what a reward is worth: rewards (B,) of the states, along (P * STEPS,) the paths; None where there is no basis."""
    goal, other, close = rewards[seen.goal], rewards[~seen.goal], rewards[seen.close]
    enough = min(len(goal), len(other)) >= MIN_STATES
    progress = np.linspace(0.0, 1.0, STEPS)
    ranks = [metrics.spearman(values, progress) for values in along.reshape(-1, STEPS)]
    spread = float(other.std()) if len(other) else 0.0
    return {
        "auc": round(metrics.auc(goal, other), 4) if enough else None,
        "auc_close": round(metrics.auc(goal, close), 4) if enough and len(close) >= MIN_STATES else None,
        "path_spearman": round(float(np.mean(ranks)), 4) if ranks else None,
        "gap": round(float(goal.mean() - other.mean()) / spread, 3) if enough and spread > 0 else None,
    }


def sweep(task: Task, encoder: Any, count: int, num_paths: int) -> list[dict[str, Any]]:
    """Return a row for each variant of a task."""
    rules = rules_of(task)
    seen = see(task, rules, encoder, count, num_paths)
    several = wordings(task, rules.grammar)
    plain = (
        [text for text in rules.grammar.plain if text not in task.baseline][:NUM_GOALS]
        if rules.grammar
        else []
    )
    rows = []
    for variant in variants(len(several) > 1, bool(plain), rules.cameras):
        goals = list(several if variant.goals == "several" else task.goal)
        bases = plain if variant.baselines == "others" else list(task.baseline)
        size = np.lcm(len(goals), len(bases))  # the reward wants lists of one length; repeats change no mean
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnknownWordsWarning)
            reward = GoalBaselineReward(
                encoder, goals * (size // len(goals)), bases * (size // len(bases)), variant.alpha
            )
        cameras = rules.cameras if variant.views == "all" else rules.cameras[:1]
        scored = [
            np.mean([reward.reward_of_embeddings(group[c]).cpu().numpy() for c in cameras], axis=0)
            if len(group[cameras[0]]) else np.zeros(0) for group in (seen.states, seen.paths)
        ]  # fmt: skip
        rows.append({"task": task.name, **vars(variant), "goal": goals, "baseline": bases, "states": len(seen.goal),
                     "goal_states": int(seen.goal.sum()), **measure(*scored, seen)})  # fmt: skip
    return rows


def score(row: dict[str, Any]) -> float:
    """Return what variants are ranked by: the mean of AUC, AUC against close states, and rank on paths, where they are known."""
    known = [row[key] for key in ("auc", "auc_close", "path_spearman") if row[key] is not None]
    return float(np.mean(known)) if known else float("-inf")


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return Markdown: each task as it is asked and as it does best, then each choice's mean over tasks."""
    head = ["task", "goal states", "asked", "AUC", "AUC, close", "paths", "gap"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for task in dict.fromkeys(row["task"] for row in rows):
        mine = [row for row in rows if row["task"] == task]
        usual = next(r for r in mine if r["alpha"] == _nearest(get_task(task).alpha) and _own(r))
        for label, row in (("as it is", usual), ("best", max(mine, key=score))):
            how = f"{label}: alpha {row['alpha']:g}, {row['baselines']} baseline, {row['goals']} goal, {row['views']} view"
            cells = [_shown(row[key]) for key in ("auc", "auc_close", "path_spearman", "gap")]
            lines.append("| " + " | ".join([task, str(row["goal_states"]), how, *cells]) + " |")
    lines += ["", "| choice | AUC | AUC, close | paths | gap |", "|---|---|---|---|---|"]
    for key in ("alpha", "baselines", "goals", "views"):
        for value in dict.fromkeys(row[key] for row in rows):
            mine = [row for row in rows if row[key] == value]
            cells = [
                _shown(_mean([r[name] for r in mine]))
                for name in ("auc", "auc_close", "path_spearman", "gap")
            ]
            lines.append("| " + " | ".join([f"{key} {value}", *cells]) + " |")
    return "\n".join(lines) + "\n"


def _own(row: dict[str, Any]) -> bool:
    return all(row[key] == "own" for key in ("baselines", "goals", "views"))


def _nearest(alpha: float) -> float:
    return min(ALPHAS, key=lambda a: abs(a - alpha))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Sweep the tasks and write the table; tasks that are not named keep their rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    worlds = [name for name in TASKS if name not in METAWORLD]  # states are drawn of worlds alone
    parser.add_argument("--tasks", nargs="+", default=worlds, choices=worlds, metavar="TASK")
    parser.add_argument("--encoder", default="embedded")
    parser.add_argument("--states", type=int, default=1500)
    parser.add_argument("--paths", type=int, default=12)
    parser.add_argument("--out", type=Path, default=RESULTS / "prompt_sweep.json")
    args = parser.parse_args(arguments)
    if args.states < 20 or args.paths < 1:
        parser.error(
            f"states, paths: got {args.states}, {args.paths}; expected at least 20 and 1; leave them out"
        )
    from vlmrl.encoders import load_encoder

    try:
        encoder = load_encoder(args.encoder)
    except UsageError as error:
        parser.error(str(error))
    for name in args.tasks:
        about = {"encoder": args.encoder, **{k: v for k, v in provenance().items() if k != "versions"}}
        found = [{**row, **about} for row in sweep(get_task(name), encoder, args.states, args.paths)]
        rows = json.loads(args.out.read_text()) if args.out.exists() else []
        rows = [row for row in rows if row["task"] != name] + found
        args.out.parent.mkdir(parents=True, exist_ok=True)
        replace_file(args.out, (json.dumps(rows, indent=1) + "\n").encode())
        replace_file(args.out.with_suffix(".md"), f"{IN_DOMAIN}\n\n{table(rows)}".encode())
        print(name, flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
