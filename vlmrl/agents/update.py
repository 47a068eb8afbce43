"""PPO's update as one jitted program: normalisation, values, advantages, epochs of minibatches."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from vlmrl.agents.buffer import Rollout
from vlmrl.agents.config import PPOConfig
from vlmrl.agents.gae import gae
from vlmrl.agents.networks import Architecture, Params, policy, values
from vlmrl.agents.normalise import RunningStats, normalise, scale_rewards, update_stats

ADAM_EPSILON = 1e-5


ROUNDING = 1e-6
"""Rewards that differ by less than this share of their size plus half differ by rounding only."""


class Evidence(NamedTuple):
    """Hold what tells one return from another: the rewards' range so far, and whether an episode terminated."""

    lowest: Float[Array, ""]
    highest: Float[Array, ""]
    terminated: Bool[Array, ""]


class LearnerState(NamedTuple):
    """Hold everything that an update changes."""

    params: Params
    optimiser: Any
    obs_stats: RunningStats
    reward_stats: RunningStats
    running_return: Float[Array, " N"]
    evidence: Evidence


class Batch(NamedTuple):
    """Hold the B = T·N rows that minibatches are drawn from."""

    obs: Float[Array, "B O"]
    actions: Float[Array, "B A"] | Int[Array, " B"]
    log_probs: Float[Array, " B"]
    values: Float[Array, " B"]
    advantages: Float[Array, " B"]
    returns: Float[Array, " B"]
    weight: Float[Array, " B"]
    """1 for a valid row, 0 for one that counts nothing."""


def optimiser(config: PPOConfig) -> optax.GradientTransformation:
    """Return Adam on clipped gradients, at learning rate 1 (the update scales by its own)."""
    clip = optax.clip_by_global_norm(config.max_grad_norm)
    # Flat: one vector makes a program that compiles faster than one of a dozen small matrices.
    return optax.flatten(optax.chain(clip, optax.scale_by_adam(eps=ADAM_EPSILON), optax.scale(-1.0)))


def _mean(rows: Float[Array, " B"], weight: Float[Array, " B"]) -> Float[Array, ""]:
    return (rows * weight).sum() / jnp.maximum(weight.sum(), 1.0)


def _var(rows: Float[Array, " B"], weight: Float[Array, " B"], ddof: float = 0.0) -> Float[Array, ""]:
    squares = jnp.square(rows - _mean(rows, weight)) * weight
    return squares.sum() / jnp.maximum(weight.sum() - ddof, 1.0)


def ppo_loss(
    params: Params, arch: Architecture, config: PPOConfig, batch: Batch
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Return the loss of one minibatch and its statistics, each a mean over the rows of weight 1.

    Source: Schulman et al. 2017 (arXiv:1707.06347), eqs. 7 and 9; KL estimate: Schulman 2020,
    "Approximating KL divergence", k3. Deviation: advantages are standardised per minibatch, as in
    stable-baselines3.
    """
    weight, advantages = batch.weight, batch.advantages
    if config.norm_adv:
        deviation = jnp.sqrt(_var(advantages, weight, ddof=1.0))
        advantages = (advantages - _mean(advantages, weight)) / (deviation + 1e-8)
    distribution, _ = policy(params, arch, batch.obs)
    log_ratio = distribution.log_prob(batch.actions) - batch.log_probs  # type: ignore[arg-type]
    ratio = jnp.exp(log_ratio)
    clipped = jnp.clip(ratio, 1.0 - config.clip_coef, 1.0 + config.clip_coef)
    policy_loss = -_mean(jnp.minimum(advantages * ratio, advantages * clipped), weight)

    predicted = values(params, arch, batch.obs)
    errors = jnp.square(predicted - batch.returns)
    if config.clip_vloss:
        moved = jnp.clip(predicted - batch.values, -config.clip_coef, config.clip_coef)
        errors = jnp.maximum(errors, jnp.square(batch.values + moved - batch.returns))
    value_loss, entropy = _mean(errors, weight), _mean(distribution.entropy(), weight)
    loss = policy_loss + config.vf_coef * value_loss - config.ent_coef * entropy
    return loss, {
        "loss": loss,
        "policy_loss": policy_loss,
        "value_loss": value_loss,
        "entropy": entropy,
        "approx_kl": _mean(ratio - 1.0 - log_ratio, weight),
        "clip_fraction": _mean((jnp.abs(ratio - 1.0) > config.clip_coef).astype(jnp.float32), weight),
    }


def no_evidence() -> Evidence:
    """Return the evidence before the first rollout; its numbers have a type of their own, or JAX compiles twice."""
    low, high = (jnp.full((), end, jnp.float32) for end in (jnp.inf, -jnp.inf))
    return Evidence(low, high, jnp.zeros((), bool))


def gather(
    evidence: Evidence,
    rewards: Float[Array, "T N"],
    terminated: Bool[Array, "T N"],
    valid: Bool[Array, "T N"],
    resolution: float = 0.0,
) -> tuple[Evidence, Bool[Array, ""]]:
    """Take a rollout in; return the evidence so far and whether any policy can yet be told from any other.

    While every reward is the same, to `resolution`, and nothing terminates, all policies earn the same. Advantages are then the value
    function's own errors, which standardising would blow up to full size: the policy would drift, and on an easy
    world a constant reward would seem to teach.
    """
    lowest = jnp.minimum(evidence.lowest, jnp.where(valid, rewards, jnp.inf).min())
    highest = jnp.maximum(evidence.highest, jnp.where(valid, rewards, -jnp.inf).max())
    ended = evidence.terminated | (terminated & valid).any()
    size = jnp.maximum(jnp.abs(lowest), jnp.abs(highest))
    same = jnp.maximum(resolution, ROUNDING * (size + 0.5))
    return Evidence(lowest, highest, ended), ended | (highest - lowest > same)


def _prepare(
    config: PPOConfig, arch: Architecture, state: LearnerState, rollout: Rollout
) -> tuple[LearnerState, Batch, Bool[Array, ""]]:
    """Turn a rollout into a batch, take it into the statistics, and say whether there is anything to learn from."""
    valid = jnp.asarray(rollout.valid)

    def clean(rows: Any) -> Any:  # so that NaN in a row that counts nothing cannot pass through a gradient
        return jnp.where(valid.reshape(valid.shape + (1,) * (rows.ndim - 2)), rows, 0)

    raw_obs, obs, next_obs = clean(rollout.obs), clean(rollout.obs), clean(rollout.next_obs)
    rewards, reward_stats, carried = clean(rollout.rewards), state.reward_stats, state.running_return
    obs_stats = state.obs_stats
    if config.normalise_obs:
        # The statistics that acted also learn, or the ratio would not start at 1; then they move on.
        obs, next_obs = normalise(obs_stats, obs), normalise(obs_stats, next_obs)
        obs_stats = update_stats(obs_stats, raw_obs, valid)
    terminated, truncated = jnp.asarray(rollout.terminated), jnp.asarray(rollout.truncated)
    evidence, telling = gather(state.evidence, rewards, terminated, valid, config.reward_resolution)
    if config.normalise_reward:
        ended = terminated | truncated
        rewards, reward_stats, carried = scale_rewards(
            reward_stats, carried, rewards, ended, valid, config.gamma
        )

    def value_of(rows: Array) -> Array:
        return values(state.params, arch, rows.reshape(-1, arch.obs_dim)).reshape(valid.shape)

    old_values = value_of(obs) if rollout.values is None else clean(rollout.values)
    advantages, returns = gae(
        rewards, old_values, value_of(next_obs), terminated, truncated, valid, config.gamma, config.gae_lambda
    )
    advantages = jnp.where(telling, advantages, 0.0)
    rows = (obs, clean(rollout.actions), clean(rollout.log_probs), old_values, advantages, returns)
    flat = [x.reshape(-1, *x.shape[2:]) for x in (*rows, valid.astype(jnp.float32))]
    moved = state._replace(
        obs_stats=obs_stats, reward_stats=reward_stats, running_return=carried, evidence=evidence
    )
    return moved, Batch(*flat), telling


def minibatches(
    key: Array, num_rows: int, num_minibatches: int
) -> tuple[Int[Array, "M S"], Float[Array, "M S"]]:
    """Shuffle rows into M minibatches whose sizes differ by one at most; return indices and weights.

    Where M does not divide the rows, some minibatches are filled up with row 0 at weight 0.
    """
    size = -(-num_rows // num_minibatches)
    order = jnp.arange(size * num_minibatches)
    shuffled = jax.random.permutation(key, num_rows)
    indices = jnp.where(order < num_rows, jnp.pad(shuffled, (0, order.size - num_rows)), 0)
    # Column m of (size, M) is minibatch m, so that the filling spreads over minibatches.
    shape = (size, num_minibatches)
    return indices.reshape(shape).T, (order < num_rows).astype(jnp.float32).reshape(shape).T


class _Progress(NamedTuple):
    params: Params
    optimiser: Any
    running: Bool[Array, ""]
    """Whether the update still goes on (`target_kl`)."""


def _step(
    config: PPOConfig,
    arch: Architecture,
    batch: Batch,
    learning_rate: Float[Array, ""],
    progress: _Progress,
    chosen: tuple[Int[Array, " S"], Float[Array, " S"]],
) -> tuple[_Progress, dict[str, Float[Array, ""]]]:
    """Learn from one minibatch; its statistics carry `rows`, the number of rows that they are means over."""
    indices, weight = chosen
    part: Batch = jax.tree.map(lambda x: x[indices], batch)
    part = part._replace(weight=part.weight * weight)
    gradient = jax.value_and_grad(ppo_loss, has_aux=True)
    (_, stats), grads = gradient(progress.params, arch, config, part)
    changes, optimiser_state = optimiser(config).update(grads, progress.optimiser)
    params = jax.tree.map(lambda p, change: p + learning_rate * change, progress.params, changes)
    rows = jnp.where(progress.running, part.weight.sum(), 0.0)
    stats |= {"grad_norm": optax.tree.norm(grads), "rows": rows}

    running = progress.running
    if config.target_kl is not None:
        running &= stats["approx_kl"] <= 1.5 * config.target_kl
    # A minibatch without a valid row must not move Adam's momentum either.
    learnt = running & (rows > 0)
    params, optimiser_state = jax.tree.map(
        lambda new, old: jnp.where(learnt, new, old),
        (params, optimiser_state),
        (progress.params, progress.optimiser),
    )
    return _Progress(params, optimiser_state, running), stats


@partial(jax.jit, static_argnames=("config", "arch"))
def ppo_update(
    config: PPOConfig,
    arch: Architecture,
    state: LearnerState,
    rollout: Rollout,
    key: Array,
    learning_rate: Float[Array, ""],
) -> tuple[LearnerState, dict[str, Float[Array, ""]]]:
    """Learn from a rollout; return the new state and the means of the minibatches' statistics.

    `finite` among them is 0 where a loss or a parameter stopped being a finite number; `learning` is 0 where all
    rewards so far are one constant, so that the policy stays.
    """
    state, batch, telling = _prepare(config, arch, state, rollout)
    num_rows = batch.weight.shape[0]

    def epoch(progress: _Progress, epoch_key: Array) -> tuple[_Progress, dict[str, Float[Array, ""]]]:
        chosen = minibatches(epoch_key, num_rows, min(config.num_minibatches, num_rows))
        return jax.lax.scan(partial(_step, config, arch, batch, learning_rate), progress, chosen)

    progress = _Progress(state.params, state.optimiser, jnp.array(True))
    progress, stats = jax.lax.scan(epoch, progress, jax.random.split(key, config.num_epochs))
    seen = stats.pop("rows")
    # `where`: once the update has ended early, later minibatches are not looked at, NaN or not.
    means = {name: _mean(jnp.where(seen > 0, stat, 0.0), seen) for name, stat in stats.items()}
    finite = jnp.isfinite(means["loss"])
    for leaf in jax.tree.leaves(progress.params):
        finite &= jnp.isfinite(leaf).all()
    weight = batch.weight
    spread = _var(batch.returns, weight)
    unexplained = _var(batch.returns - batch.values, weight) / jnp.maximum(spread, 1e-12)
    means |= {
        "value": _mean(batch.values, weight),
        "explained_variance": 1.0 - unexplained,
        "learning_rate": jnp.asarray(learning_rate),
        "finite": finite.astype(jnp.float32),
        "learning": telling.astype(jnp.float32),
    }
    if "log_std" in progress.params:
        means["action_std"] = jnp.exp(progress.params["log_std"]).mean()
    return state._replace(params=progress.params, optimiser=progress.optimiser), means
