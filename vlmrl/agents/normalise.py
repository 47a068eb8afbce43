"""Running statistics as pytrees: standardised observations, and rewards scaled by the spread of returns."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

CLIP = 10.0
"""Bound on what leaves a normaliser, in standard deviations."""
EPSILON = 1e-8


class RunningStats(NamedTuple):
    """Hold the mean and the (population) variance of the rows seen so far, and their number (`size`)."""

    mean: Float[Array, "*F"]
    var: Float[Array, "*F"]
    size: Float[Array, ""]


def init_stats(shape: tuple[int, ...]) -> RunningStats:
    """Return statistics of nothing: mean 0, variance 1, size 0."""
    return RunningStats(jnp.zeros(shape), jnp.ones(shape), jnp.zeros(()))


def update_stats(stats: RunningStats, rows: Float[Array, "*B F"], valid: Bool[Array, "*B"]) -> RunningStats:
    """Return `stats` joined with the `valid` ones of `rows`, whose last axes are those of the statistics.

    Source: Chan, Golub & LeVeque 1979, the pairwise update, with the batch's moments taken in two passes.
    """
    weight = valid.reshape(valid.shape + (1,) * stats.mean.ndim)
    axes = tuple(range(valid.ndim))
    rows = jnp.where(weight, rows, 0.0)
    new_size = valid.sum().astype(jnp.float32)
    mean = rows.sum(axes) / jnp.maximum(new_size, 1.0)
    squares = (jnp.square(rows - mean) * weight).sum(axes)
    total = jnp.maximum(stats.size + new_size, 1.0)
    delta = mean - stats.mean
    joined_squares = stats.var * stats.size + squares + jnp.square(delta) * stats.size * new_size / total
    joined = RunningStats(
        stats.mean + delta * new_size / total, joined_squares / total, stats.size + new_size
    )
    return jax.tree.map(lambda new, old: jnp.where(new_size > 0, new, old), joined, stats)


def normalise(stats: RunningStats, rows: Float[Array, "*B F"]) -> Float[Array, "*B F"]:
    """Return `rows` minus mean over deviation, clipped to ±`CLIP`."""
    return jnp.clip((rows - stats.mean) / jnp.sqrt(stats.var + EPSILON), -CLIP, CLIP)


def running_returns(
    carried: Float[Array, " N"],
    rewards: Float[Array, "T N"],
    ended: Bool[Array, "T N"],
    valid: Bool[Array, "T N"],
    gamma: float,
) -> tuple[Float[Array, " N"], Float[Array, "T N"]]:
    """Return the worlds' discounted sums of past rewards: (N,) to carry on, and (T, N) after each step.

    A sum starts again at 0 after a step that `ended` its episode; an invalid row leaves it as it was.
    """

    def forwards(
        total: Float[Array, " N"], row: tuple[Float[Array, " N"], Bool[Array, " N"], Bool[Array, " N"]]
    ) -> tuple[Float[Array, " N"], Float[Array, " N"]]:
        reward, end, counts = row
        total = jnp.where(counts, gamma * total + reward, total)
        return jnp.where(end, 0.0, total), total

    return jax.lax.scan(forwards, carried, (rewards, ended, valid))


def scale_rewards(
    stats: RunningStats,
    carried: Float[Array, " N"],
    rewards: Float[Array, "T N"],
    ended: Bool[Array, "T N"],
    valid: Bool[Array, "T N"],
    gamma: float,
) -> tuple[Float[Array, "T N"], RunningStats, Float[Array, " N"]]:
    """Divide rewards by the deviation of the discounted return; return them, the statistics and the carry.

    The mean is not subtracted: where episodes can terminate, that would change the task. `carried` (N,) is
    each world's return so far, so an episode that crosses two rollouts counts as one.

    Source: Engstrom et al. 2020 (arXiv:2005.12729), §2, "reward scaling"; Gymnasium's NormalizeReward.
    Deviation: the statistics take in the whole rollout before any of its rewards is scaled.
    """
    carried, returns = running_returns(carried, rewards, ended, valid, gamma)
    stats = update_stats(stats, returns, valid)
    scaled = jnp.clip(rewards / jnp.sqrt(stats.var + EPSILON), -CLIP, CLIP)
    return jnp.where(valid, scaled, 0.0), stats, carried
