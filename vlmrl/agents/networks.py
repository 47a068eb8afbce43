"""Policy and value networks as plain pytrees, and the distributions a policy returns."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from vlmrl.agents.config import Activation

Params = dict[str, Any]
"""{"policy": layers, "value": layers, "log_std": (A,) or, for gSDE, (F, A)}; a layer is {"w", "b"}."""
_ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu, "elu": jax.nn.elu}
_LOG_2PI = 1.8378770664093453
_SDE_FLOOR = 1e-6
"""Least variance of gSDE's marginal, for features of zeros (stable-baselines3's value)."""


@dataclass(frozen=True)
class Architecture:
    """Describe a policy and its value network; hashable, so that jitted programs can depend on it."""

    obs_dim: int
    """Numbers O in an observation."""
    action_dim: int
    """Numbers A in an action, or the number of choices."""
    head: Literal["gaussian", "categorical", "gsde"]
    """What the policy's last layer parametrises."""
    hidden_sizes: tuple[int, ...]
    """Widths of the hidden layers."""
    activation: Activation
    """Nonlinearity after each hidden layer."""
    learns_std: bool = True
    """Whether the deviation of actions is learned; otherwise it is set from outside."""

    @property
    def feature_dim(self) -> int:
        """Numbers F in the policy's last hidden layer, which gSDE's noise is a function of."""
        return self.hidden_sizes[-1] if self.hidden_sizes else self.obs_dim


class Gaussian(NamedTuple):
    """Hold a Gaussian with independent dimensions, one for each of B rows."""

    mean: Float[Array, "B A"]
    std: Float[Array, "B A"]

    def mode(self) -> Float[Array, "B A"]:
        """Return the most likely actions."""
        return self.mean

    def sample(self, key: Array) -> Float[Array, "B A"]:
        """Draw one action per row."""
        return self.mean + self.std * jax.random.normal(key, self.mean.shape)

    def log_prob(self, actions: Float[Array, "B A"]) -> Float[Array, " B"]:
        """Return the log-density of `actions`, in nats."""
        distance = (actions - self.mean) / self.std
        return -(0.5 * jnp.square(distance) + jnp.log(self.std) + 0.5 * _LOG_2PI).sum(-1)

    def entropy(self) -> Float[Array, " B"]:
        """Return the differential entropy, in nats."""
        return (jnp.log(self.std) + 0.5 * (1.0 + _LOG_2PI)).sum(-1)


class Categorical(NamedTuple):
    """Hold a distribution over K choices, one for each of B rows."""

    logits: Float[Array, "B K"]

    def mode(self) -> Int[Array, " B"]:
        """Return the most likely choices."""
        return jnp.argmax(self.logits, -1).astype(jnp.int32)

    def sample(self, key: Array) -> Int[Array, " B"]:
        """Draw one choice per row."""
        return jax.random.categorical(key, self.logits).astype(jnp.int32)

    def log_prob(self, actions: Int[Array, " B"]) -> Float[Array, " B"]:
        """Return the log-probability of the choices `actions`, in nats."""
        return jnp.take_along_axis(jax.nn.log_softmax(self.logits), actions[:, None], -1)[:, 0]

    def entropy(self) -> Float[Array, " B"]:
        """Return the entropy, in nats."""
        log_probs = jax.nn.log_softmax(self.logits)
        return -(jnp.exp(log_probs) * log_probs).sum(-1)


def init_params(key: Array, arch: Architecture, init_log_std: float) -> Params:
    """Draw orthogonal weights (gain √2; 0.01 for the policy's last layer, 1 for the value's) and zero biases.

    Source: Engstrom et al. 2020 (arXiv:2005.12729); the gains of OpenAI baselines and stable-baselines3.
    """
    policy_key, value_key = jax.random.split(key)
    params: Params = {
        "policy": _init_mlp(policy_key, (arch.obs_dim, *arch.hidden_sizes, arch.action_dim), 0.01),
        "value": _init_mlp(value_key, (arch.obs_dim, *arch.hidden_sizes, 1), 1.0),
    }
    if arch.head == "gaussian":
        params["log_std"] = jnp.full((arch.action_dim,), init_log_std, jnp.float32)
    elif arch.head == "gsde":
        params["log_std"] = jnp.full((arch.feature_dim, arch.action_dim), init_log_std, jnp.float32)
    return params


def _init_mlp(key: Array, sizes: tuple[int, ...], last_gain: float) -> tuple[dict[str, Array], ...]:
    gains = [2.0**0.5] * (len(sizes) - 2) + [last_gain]
    keys = jax.random.split(key, len(gains))
    return tuple(
        {
            "w": jax.nn.initializers.orthogonal(gain)(layer_key, shape, jnp.float32),
            "b": jnp.zeros(shape[1]),
        }
        for layer_key, shape, gain in zip(keys, itertools.pairwise(sizes), gains, strict=True)
    )


def _features(
    layers: tuple[dict[str, Array], ...], rows: Float[Array, "B O"], activation: Activation
) -> Float[Array, "B F"]:
    for layer in layers[:-1]:
        rows = _ACTIVATIONS[activation](rows @ layer["w"] + layer["b"])
    return rows


def values(params: Params, arch: Architecture, obs: Float[Array, "B O"]) -> Float[Array, " B"]:
    """Return V of each (normalised) observation."""
    features = _features(params["value"], obs, arch.activation)
    return (features @ params["value"][-1]["w"] + params["value"][-1]["b"])[:, 0]


def policy(
    params: Params, arch: Architecture, obs: Float[Array, "B O"]
) -> tuple[Gaussian | Categorical, Float[Array, "B F"]]:
    """Return the distribution of actions at each (normalised) observation, and the features it came from.

    With gSDE it is the marginal over noise functions: variance F² @ std², no gradient through the features.

    Source: Raffin et al. 2021 (arXiv:2005.05719), eq. 9.
    """
    features = _features(params["policy"], obs, arch.activation)
    head = features @ params["policy"][-1]["w"] + params["policy"][-1]["b"]
    if arch.head == "categorical":
        return Categorical(head), features
    log_std = params["log_std"] if arch.learns_std else jax.lax.stop_gradient(params["log_std"])
    if arch.head == "gaussian":
        return Gaussian(head, jnp.broadcast_to(jnp.exp(log_std), head.shape)), features
    variance = jnp.square(jax.lax.stop_gradient(features)) @ jnp.exp(2.0 * log_std)
    return Gaussian(head, jnp.sqrt(variance + _SDE_FLOOR)), features


def draw_sde_noise(key: Array, params: Params, num_envs: int) -> Float[Array, "N F A"]:
    """Draw one noise function per world: a matrix whose entries have the learned deviations.

    Source: Raffin et al. 2021 (arXiv:2005.05719), eq. 8 (θ_ε), full standard deviations.
    """
    return jnp.exp(params["log_std"]) * jax.random.normal(key, (num_envs, *params["log_std"].shape))


def sde_actions(
    mean: Float[Array, "N A"], features: Float[Array, "N F"], noise: Float[Array, "N F A"]
) -> Float[Array, "N A"]:
    """Return the mean actions plus each world's noise function at its features: same state, same action."""
    return mean + jnp.einsum("nf,nfa->na", features, noise)
