"""Generalised advantage estimation, with terminated and truncated told apart."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def gae(
    rewards: Float[Array, "T N"],
    values: Float[Array, "T N"],
    next_values: Float[Array, "T N"],
    terminated: Bool[Array, "T N"],
    truncated: Bool[Array, "T N"],
    valid: Bool[Array, "T N"],
    gamma: float,
    gae_lambda: float,
) -> tuple[Float[Array, "T N"], Float[Array, "T N"]]:
    """Compute advantages and value targets, each (T, N), of N worlds over T steps.

    `next_values` are V of each step's true successor: where an episode ended, of its last observation and not
    of the reset's. `terminated` cuts the bootstrap (nothing follows); `terminated | truncated` cuts the trace
    (the next row belongs to another episode). A row that is not `valid` gets 0 and 0, whatever its numbers,
    and cuts the trace of the row before it.

    Source: Schulman et al. 2016 (arXiv:1506.02438), eq. 16; for time limits Pardo et al. 2018
    (arXiv:1712.00378).
    """
    deltas = rewards + gamma * jnp.where(terminated, 0.0, next_values) - values
    decay = gamma * gae_lambda * (1.0 - (terminated | truncated))

    def backwards(
        trace: Float[Array, " N"], row: tuple[Float[Array, " N"], Float[Array, " N"], Bool[Array, " N"]]
    ) -> tuple[Float[Array, " N"], Float[Array, " N"]]:
        delta, keep, counts = row
        # `where`, not a product: an invalid row may hold NaN.
        trace = jnp.where(counts, delta + keep * trace, 0.0)
        return trace, trace

    start = jnp.zeros_like(deltas[0])
    _, advantages = jax.lax.scan(backwards, start, (deltas, decay, valid), reverse=True)
    return advantages, jnp.where(valid, advantages + values, 0.0)
