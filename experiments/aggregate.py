"""Numbers over seeds: interquartile mean and its bootstrap interval, the median run, when success was first reached."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

RESAMPLES, MEAN_RESAMPLES = 2000, 10_000
POINTS = 20
"""Of a curve of learned and true reward."""
REACHED = 0.9
"""Share of recent training episodes from which a run counts as having reached success."""


def iqm(values: Sequence[float] | np.ndarray) -> float:
    """Return the interquartile mean of values (K,): the mean of what is left without the lowest and highest quarter.

    floor(K / 4) values go at each end, so that of three seeds none goes. Source: Agarwal et al. 2021, as scipy's
    `trim_mean(values, 0.25)`.
    """
    ordered = np.sort(np.asarray(values, float).ravel())
    if not len(ordered):
        raise ValueError("values: got none; expected at least one; run a seed")
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())


def interval(
    groups: Sequence[Sequence[float]], seed: int = 0, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Return the 95% interval of the interquartile mean over all values, seeds drawn anew within each group.

    groups: a task's values, one for each seed, for each task. One seed tells nothing of others: its interval is 0..1.
    Source: stratified bootstrap of Agarwal et al. 2021, percentiles.
    """
    if any(len(group) < 2 for group in groups):
        return 0.0, 1.0
    rng = np.random.default_rng(seed)
    drawn = np.concatenate([rng.choice(np.asarray(g, float), (resamples, len(g))) for g in groups], axis=1)
    low, high = np.quantile([iqm(row) for row in drawn], [0.025, 0.975])
    return float(low), float(high)


def mean_interval(values: Sequence[float] | np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Return the 95% percentile bootstrap interval of the mean of values (K,), drawn anew from themselves."""
    drawn = np.random.default_rng(seed).choice(np.asarray(values), (MEAN_RESAMPLES, len(values)))
    low, high = np.quantile(drawn.mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def shown(groups: Sequence[Sequence[float]]) -> str:
    """Return the interquartile mean over all values with its 95% interval, for a table; one seed has none."""
    value = iqm(np.concatenate([np.asarray(group) for group in groups]))
    if any(len(group) < 2 for group in groups):
        return f"{value:.0%}"
    low, high = interval(groups)
    return f"{value:.0%} [{low:.0%}, {high:.0%}]"


def groups(
    rows: Sequence[dict[str, Any]], **by: Iterable[str]
) -> Iterator[tuple[tuple[str, ...], list[dict[str, Any]]]]:
    """Yield the rows that share their values of some keys, in the order of the seeds, for each product of the values.

    by: key -> its values in the order of the table, the first key's outermost. What no row has is left out.
    """
    for values in product(*by.values()):
        mine = [row for row in rows if all(row[key] == value for key, value in zip(by, values, strict=True))]
        if mine:
            yield values, sorted(mine, key=lambda row: row["seed"])


def median_row(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the run whose success, then share of steps at the goal, at the longest horizon is the (lower) median."""
    longest = max(rows[0]["success"], key=int)
    ordered = sorted(rows, key=lambda r: (r["success"][longest], r["steps_at_goal"][longest], r["seed"]))
    return ordered[(len(ordered) - 1) // 2]


def steps_to_success(curve: Sequence[Sequence[float | None]], share: float = REACHED) -> int | None:
    """Return the first step of a curve of (step, success, reward) at which `share` of recent episodes succeeded."""
    return next(
        (int(step) for step, success, *_ in curve if step and success is not None and success >= share), None
    )


def thinned(rows: Sequence[dict[str, Any]], limit: int = 40) -> list[list[float | None]]:
    """Return at most `limit` of a run's metrics, evenly spread, the last included, as [step, success, reward]."""
    return curve_of(rows, ("success", "vlm_reward"), limit)


def curve_of(rows: Sequence[dict[str, Any]], names: Sequence[str], limit: int) -> list[list[float | None]]:
    """Return at most `limit` of a run's metrics, evenly spread, the last included: the step and what `names` say."""
    count = min(limit, len(rows))
    chosen = np.unique(np.linspace(0, len(rows) - 1, count).round().astype(int)) if count else []
    return [[rows[i]["global_step"], *(_rounded(rows[i][name]) for name in names)] for i in chosen]


def drift(rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return from a run's metrics how far the learned reward that trained it and the model's own answers parted.

    updates: after how many the run said that they part, first_step: the first of these; gap: what the agent got less the
    answers' mean, over the last tenth of the updates; error (in standard deviations of the answers) and rank_correlation
    at the end; curve: [step, what the agent got, the answers' mean]. None where no reward was learned from answers.
    """
    learned = [row for row in rows if "learned/given" in row]
    if not learned:
        return None
    names = ("learned/given", "learned/vlm_reward")
    pairs = [[row[name] for name in names] for row in learned[-max(1, len(learned) // 10) :]]
    gaps = [given - true for given, true in pairs if given is not None and true is not None]
    said = [row["global_step"] for row in learned if row["learned/drift"]]
    return {
        "updates": len(said), "first_step": said[0] if said else None, "gap": _rounded(np.mean(gaps)) if gaps else None,
        **{name: _rounded(learned[-1][f"learned/{name}"]) for name in ("error", "rank_correlation")},
        "curve": curve_of(learned, names, POINTS),
    }  # fmt: skip


def out_of_view(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return from a run's metrics how many states no camera saw, which were not rewarded: of all, and the most of an update."""
    counts = [row["out_of_view"] for row in rows]
    steps = np.diff([0, *(row["global_step"] for row in rows)])
    largest = max((count / step for count, step in zip(counts, steps, strict=True)), default=0.0)
    share = sum(counts) / max(int(steps.sum()), 1)
    return {"states": sum(counts), "share": _rounded(share), "largest_share": _rounded(largest)}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 4)


def minutes(rows: Sequence[dict[str, Any]]) -> str:
    """Return the median minutes of runs, with the number of cores that they might use; a large model's as it is charged.

    "not known" where no frame passed through a run's large model.
    """
    seconds = [row["large"]["wall_seconds"] if "large" in row else row["wall_seconds"] for row in rows]
    if None in seconds:
        return "not known"
    counts = sorted({row["hardware"]["cores"] for row in rows if "hardware" in row})
    on = f" on {' or '.join(map(str, counts))} core{'' if counts == [1] else 's'}" if counts else ""
    return f"{np.median(seconds) / 60:,.1f}{on}"
