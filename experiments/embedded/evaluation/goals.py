"""Each goal's reward: above that of other states, from unseen views too, and rising on the way to the goal."""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.embedded.evaluation import metrics
from experiments.embedded.evaluation.drawn import SEED, Drawn, embed, picture, reward_of
from experiments.embedded.evaluation.metrics import Estimate
from vlmrl.tasks import Task

MIN_STATES = 5
"""Fewer goal states or others are no basis for an AUC."""
STEPS = 15
"""States of a path, start and goal included."""


def goal_row(drawn: Drawn, encoder: Any, task: Task, num_paths: int = 12) -> dict[str, Any]:
    """Return what is measured of one goal; estimates are `metrics.Estimate` or None where there is no basis."""
    reward = reward_of(encoder, task)
    success = drawn.rules[task.name].success(drawn.states)
    truth = drawn.rules[task.name].similarity(drawn.states)
    row: dict[str, Any] = {"world": drawn.world, "task": task.name, "goal": task.goal[0],
                           "goals": int(success.sum()), "others": int((~success).sum())}  # fmt: skip
    scores = {view: reward.reward_of_embeddings(e).cpu().numpy() for view, e in drawn.embeddings.items()}
    for view, values in scores.items():
        row[view] = _auc(values, success, np.random.default_rng(SEED))  # the same states of every view
        row[f"{view}_spearman"] = metrics.spearman(values, truth)
    row["drop"] = None if row["own"] is None else metrics.difference(row["own"], row["unseen"])
    row["path"] = path_estimate(drawn, encoder, task, num_paths)
    row["scores"], row["success"] = scores["own"], success
    return row


def _auc(values: np.ndarray, success: np.ndarray, rng: np.random.Generator) -> Estimate | None:
    if min(success.sum(), (~success).sum()) < MIN_STATES:
        return None
    return metrics.auc_estimate(values[success], values[~success], rng)


def paths(drawn: Drawn, task: Task, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw paths (P, T, S) from starts to goal states; no start is near the goal.

    Where the world's own starts are, states of which the goal's words are hardly true take their place.
    """
    rules = drawn.rules[task.name]
    goals = drawn.states[rules.success(drawn.states)]
    if not len(goals):
        return np.zeros((0, STEPS, drawn.states.shape[1]))
    starts = np.stack([rules.start(rng) for _ in range(count)])
    if rules.similarity(starts).mean() > 0.5:
        far = drawn.states[: drawn.num_random][rules.similarity(drawn.states[: drawn.num_random]) < 0.2]
        starts = far[rng.integers(len(far), size=count)] if len(far) else starts
    ends = goals[rng.integers(len(goals), size=count)]
    return np.stack([rules.path(a, b, STEPS) for a, b in zip(starts, ends, strict=True)])


def path_estimate(drawn: Drawn, encoder: Any, task: Task, count: int) -> Estimate | None:
    """Return the mean Spearman correlation of reward with progress along paths; None without goal states."""
    rng = np.random.default_rng(SEED + 1)
    found = paths(drawn, task, count, rng)
    if not len(found):
        return None
    rules, reward = drawn.rules[task.name], reward_of(encoder, task)
    flat = found.reshape(-1, found.shape[-1])
    scores = reward.reward_of_embeddings(embed(encoder, picture(rules, flat))).cpu().numpy()
    progress = np.linspace(0.0, 1.0, STEPS)
    each = [metrics.spearman(values, progress) for values in scores.reshape(len(found), STEPS)]
    return metrics.mean_estimate(np.array(each), rng)
