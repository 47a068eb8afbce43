"""How to ask: alpha, baselines, several goals averaged and several views, judged without training by the reward's separation.

    python -m experiments.prompt_sweep                                      # every task; results/prompt_sweep.json and .md
    python -m experiments.prompt_sweep --tasks humanoid_lotus --states 300 --paths 4
    python -m experiments.prompt_sweep --confirm --tasks humanoid_lotus     # trains a task's best and worst; skips what is there

States are embedded once for each view; every variant is arithmetic on the same embeddings. A world of one camera is also seen by
that camera turned (`experiments.views`). Measured of each: the AUC of goal states above the others and above states a little
short of the goal, the mean Spearman correlation of the reward with progress along paths from start to goal, and the gap
between the mean rewards of goal states and others in standard deviations of the others. A goal state is one of which the goal's words are true by the captions' own facts, not by `success`: what agents are judged by
chooses nothing. What does best here is a candidate for training, not a result: `--confirm` (`experiments.prompt_confirm`) trains the
few that matter.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments import common
from experiments.common import IN_DOMAIN, provenance
from experiments.embedded.evaluation import metrics
from experiments.embedded.evaluation.drawn import SIZE, rules_of
from experiments.embedded.evaluation.goals import MIN_STATES, STEPS
from experiments.prompts import (
    ALPHAS,
    plain_sentences,
    score,
    sentences,
    setting,
    usual,
    variants,
    wordings,
)
from experiments.summary import RESULTS
from experiments.views import views_of
from experiments.weights import fingerprint
from vlmrl.checkpoints import replace_file
from vlmrl.encoders.words import UnknownWordsWarning
from vlmrl.errors import UsageError
from vlmrl.rewards import GoalBaselineReward
from vlmrl.tasks import METAWORLD, TASKS, Task, get_task
from vlmrl_envs.rendering import make_renderer
from vlmrl_envs.rules import WorldRules

SEED = 3031
GOAL = 0.7
"""Truth of the goal's words from which a state is a goal state."""


@dataclass
class Seen:
    """States of one task and how the encoder sees them."""

    goal: np.ndarray
    """Of which the goal's words are true, bool (B,)."""
    close: np.ndarray
    """Which are short of it by little, bool (B,): the tenth of the others of which they are truest."""
    states: dict[str, np.ndarray]
    """View -> embeddings (B, D)."""
    paths: dict[str, np.ndarray]
    """View -> embeddings (P * STEPS, D) along paths from start to goal; P may be 0."""


def see(task: Task, rules: WorldRules, encoder: Any, count: int, num_paths: int) -> Seen:
    """Draw `count` states of a task and half as many likely goals, and paths; embed them in every view."""
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
    for view, (model, camera) in views_of(rules).items():
        renderer = make_renderer("warp", model, camera, (SIZE, SIZE))
        try:
            for group, into in ((states, found.states), (along, found.paths)):
                frames = (
                    renderer.render(rules.split(group)[0])
                    if len(group)
                    else np.zeros((0, SIZE, SIZE, 3), np.uint8)
                )
                into[view] = (
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
    """Return a row for each variant of a task; trainable: whether the world's own cameras give its views."""
    rules = rules_of(task)
    seen = see(task, rules, encoder, count, num_paths)
    several, others = len(wordings(task, rules.grammar)) > 1, bool(plain_sentences(task, rules.grammar))
    views = list(seen.states)
    rows = []
    for variant in variants(several, others, views, task.alpha):
        goals, bases = sentences(task, rules.grammar, variant)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnknownWordsWarning)
            reward = GoalBaselineReward(encoder, goals, bases, variant.alpha)
        cameras = views if variant.views == "all" else views[:1]
        scored = [
            np.mean([reward.reward_of_embeddings(group[c]).cpu().numpy() for c in cameras], axis=0)
            if len(group[cameras[0]]) else np.zeros(0) for group in (seen.states, seen.paths)
        ]  # fmt: skip
        rows.append({"task": task.name, **vars(variant), "goal": goals, "baseline": bases, "cameras": cameras,
                     "trainable": set(cameras) <= set(rules.cameras), "states": len(seen.goal),
                     "goal_states": int(seen.goal.sum()), **measure(*scored, seen)})  # fmt: skip
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return Markdown: each task as it is asked and as it does best, then each choice's mean over tasks."""
    head = ["task", "goal states", "asked", "AUC", "AUC, close", "paths", "gap"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for task in dict.fromkeys(row["task"] for row in rows):
        mine = [row for row in rows if row["task"] == task]
        for label, row in (("as it is", usual(mine)), ("best", max(mine, key=score))):
            cells = [_shown(row[key]) for key in ("auc", "auc_close", "path_spearman", "gap")]
            lines.append(
                "| " + " | ".join([task, str(row["goal_states"]), f"{label}: {setting(row)}", *cells]) + " |"
            )
    lines += ["", "| choice | AUC | AUC, close | paths | gap |", "|---|---|---|---|---|"]
    for key in ("alpha", "baselines", "goals", "views"):
        for value in (
            ALPHAS if key == "alpha" else dict.fromkeys(row[key] for row in rows)
        ):  # what all tasks have
            mine = [row for row in rows if row[key] == value]
            cells = [
                _shown(_mean([r[name] for r in mine]))
                for name in ("auc", "auc_close", "path_spearman", "gap")
            ]
            lines.append("| " + " | ".join([f"{key} {value}", *cells]) + " |")
    return "\n".join(lines) + "\n"


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Sweep the tasks and write the table, tasks that are not named keep their rows; or confirm by training."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    worlds = [name for name in TASKS if name not in METAWORLD]  # states are drawn of worlds alone
    parser.add_argument(
        "--tasks", nargs="+", choices=worlds, metavar="TASK", help="all; with --confirm a few"
    )
    parser.add_argument("--encoder", default="embedded")
    parser.add_argument("--states", type=int, default=1500)
    parser.add_argument("--paths", type=int, default=12)
    parser.add_argument("--out", type=Path, default=RESULTS / "prompt_sweep.json", help="the sweep's rows")
    confirming = parser.add_argument_group("confirm by training")
    confirming.add_argument("--confirm", action="store_true", help="train instead of sweeping")
    confirming.add_argument("--settings", type=int, default=1, help="of the best, and of the worst, a task")
    confirming.add_argument("--seeds", type=int, nargs="+", help="two of its own if not named")
    common.add_arguments(parser, "prompt_confirm")
    args = common.parsed(parser, arguments)
    if args.states < 20 or args.paths < 1 or args.settings < 1:
        got = f"{args.states}, {args.paths}, {args.settings}"
        parser.error(f"states, paths, settings: got {got}; expected at least 20, 1 and 1; leave them out")
    if args.confirm:
        from experiments.prompt_confirm import confirm

        try:
            confirm(args)
        except UsageError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)
        return
    try:
        sweep_all(args.tasks or worlds, args)
    except UsageError as error:
        parser.error(str(error))


def sweep_all(tasks: Sequence[str], args: argparse.Namespace) -> None:
    """Sweep tasks and put their rows and the table of all into `args.out`. Raises: UsageError, as `load_encoder`."""
    from vlmrl.encoders import load_encoder

    encoder = load_encoder(args.encoder)
    for name in tasks:
        about = {"encoder": args.encoder, "weights": fingerprint(args.encoder)}
        about |= {key: value for key, value in provenance().items() if key != "versions"}
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
