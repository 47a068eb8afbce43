"""Frames that show nothing or another world, and words in disorder: none may earn more than the baseline sentence."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from experiments.embedded.evaluation.drawn import SEED, SIZE, Drawn, embed, reward_of
from vlmrl.encoders.words import UnknownWordsWarning, split_words
from vlmrl.rewards import GoalBaselineReward
from vlmrl.tasks import Task

KINDS = ("blank", "noise", "wrong world", "shuffled text")
"""What the target is about; training too shows and says such things, and labels them as nothing."""
FRESH = ("ramps", "stripes")
"""Kinds that training never shows."""
ANY_ORDER = "any order"
"""Words in whatever order chance gives, which may be no disorder: "a humanoid kneeling robot" is good English."""
REPEATS = 5
"""Orders that are drawn of a goal's words."""


def nothing(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return frames that show nothing by kind, uint8 (B, 64, 64, 3)."""
    values = (0, 32, 64, 96, 128, 160, 192, 224, 255)
    blank = np.stack([np.full((SIZE, SIZE, 3), v, np.uint8) for v in values])
    noise = rng.integers(0, 256, (32, SIZE, SIZE, 3), dtype=np.uint8)
    return {"blank": blank, "noise": noise, **dict(zip(FRESH, _waves(rng, 32), strict=True))}


def _waves(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ramps from one colour to another, and stripes of two, in all directions: uint8 (count, 64, 64, 3) each."""
    angle, period = rng.uniform(0, np.pi, (count, 1, 1)), rng.uniform(4, 24, (count, 1, 1))
    side = np.linspace(-0.5, 0.5, SIZE)
    along = np.cos(angle) * side[:, None] + np.sin(angle) * side
    first, second = rng.integers(0, 256, (2, count, 1, 1, 3))
    ramps, stripes = (along + 0.75) / 1.5, (SIZE * along // period) % 2
    return tuple((first + (second - first) * share[..., None]).astype(np.uint8) for share in (ramps, stripes))


def control_rows(drawn: Drawn, encoder: Any, task: Task, wrong: np.ndarray) -> list[dict[str, Any]]:
    """Return a row for each kind of control: share of rewards above the baseline's own, and their mean less it.

    wrong: frames of other worlds (B, 64, 64, 3). The baseline's own reward is that of a frame whose vector is the
    baseline sentence's; `start` is the mean reward of random states less it, for comparison.
    """
    rng = np.random.default_rng(SEED + 5)
    reward = reward_of(encoder, task)
    level = baseline_level(reward)
    frames = nothing(rng) | ({"wrong world": wrong} if len(wrong) else {})
    scores = {kind: _scores(reward, embed(encoder, shown)) for kind, shown in frames.items()}
    goals = drawn.embeddings["own"][drawn.rules[task.name].success(drawn.states)]
    rows = [_row(drawn, task, kind, found - level) for kind, found in scores.items()]
    if len(goals):
        for kind, order in ((ANY_ORDER, rng.permutation), ("shuffled text", partial(disordered, rng))):
            found = [_reordered(encoder, task, goals, order) for _ in range(REPEATS)]
            rows.append(_row(drawn, task, kind, np.concatenate(found)))
    others = _scores(reward, drawn.embeddings["own"][: drawn.num_random]) - level
    return [{**row, "states_mean": round(float(others.mean()), 4)} for row in rows]


def baseline_level(reward: GoalBaselineReward) -> float:
    """Return what a frame would earn whose vector is the baseline's."""
    unit = reward.baseline_embedding / reward.baseline_embedding.norm().clamp_min(1e-12)
    return float(reward.reward_of_embeddings(unit[None])[0])


def disordered(rng: np.random.Generator, words: Sequence[str]) -> list[str]:
    """Return words in an order in which none follows the one that it followed before, or as few as may be."""
    pairs = set(pairwise(words))
    orders = (list(rng.permutation(words)) for _ in range(200))
    return min(orders, key=lambda order: sum(pair in pairs for pair in pairwise(order)))


def _reordered(
    encoder: Any, task: Task, goals: np.ndarray, order: Callable[[list[str]], Iterable[str]]
) -> np.ndarray:
    """Return the rewards of goal frames for the goal's words in another order, less the baseline's own."""
    texts = [" ".join(order(split_words(text))) for text in task.goal]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnknownWordsWarning)  # nonsense on purpose
        reward = GoalBaselineReward(encoder, texts, list(task.baseline), task.alpha)
    return _scores(reward, goals) - baseline_level(reward)


def _scores(reward: GoalBaselineReward, embeddings: np.ndarray) -> np.ndarray:
    return reward.reward_of_embeddings(embeddings).cpu().numpy()


def _row(drawn: Drawn, task: Task, kind: str, above: np.ndarray) -> dict[str, Any]:
    return {"world": drawn.world, "task": task.name, "control": kind, "frames": len(above),
            "share_above": round(float((above > 0).mean()), 4), "mean": round(float(above.mean()), 4),
            "largest": round(float(above.max()), 4)}  # fmt: skip
