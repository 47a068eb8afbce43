"""PPO's hyper-parameters, without JAX, so that a command line can show them at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from vlmrl.errors import usage_error

Activation = Literal["tanh", "relu", "elu"]


@dataclass(frozen=True)
class PPOConfig:
    """Hold the hyper-parameters of `vlmrl.agents.ppo.PPO`; the defaults suit 64 worlds and dense rewards.

    Raises: UsageError for a value outside its range.
    """

    num_steps: int = 32
    """Steps T that each world takes between two updates."""
    learning_rate: float = 3e-4
    """Adam's step size (at the start, if `anneal_lr`)."""
    anneal_lr: bool = False
    """Lower the learning rate linearly to 0 over PPO's `total_updates`."""
    gamma: float = 0.99
    """Discount per step, in [0, 1]."""
    gae_lambda: float = 0.95
    """Decay of the advantage's trace, in [0, 1]: 0 is one-step TD, 1 is Monte Carlo."""
    clip_coef: float = 0.2
    """Half-width of the interval around 1 in which the probability ratio may move."""
    num_epochs: int = 5
    """Passes over each rollout."""
    num_minibatches: int = 4
    """Parts into which each pass splits the T·N rows (sizes differ by one row at most)."""
    ent_coef: float = 0.0
    """Weight of the entropy bonus."""
    vf_coef: float = 0.5
    """Weight of the value function's mean squared error (not halved, as in stable-baselines3)."""
    max_grad_norm: float = 0.5
    """Global norm to which gradients are clipped."""
    clip_vloss: bool = False
    """Clip the value's change by `clip_coef` too, keeping the larger of both errors (baselines' PPO2)."""
    target_kl: float | None = None
    """End the update once a minibatch's approximate KL exceeds 1.5 times this; None never ends it early."""
    norm_adv: bool = True
    """Standardise advantages within each minibatch."""
    hidden_sizes: tuple[int, ...] = (64, 64)
    """Widths of the hidden layers, of the policy and of the (separate) value network."""
    activation: Activation = "tanh"
    """Nonlinearity after each hidden layer."""
    init_log_std: float = 0.0
    """Initial log standard deviation, in the action's own units: lower it where the bounds are narrow."""
    final_log_std: float | None = None
    """Log standard deviation at the end: it then goes there linearly over PPO's `total_updates` and is not learned."""
    normalise_obs: bool = True
    """Standardise observations by running statistics (clipped to ±10)."""
    normalise_reward: bool = True
    """Divide rewards by the running deviation of the discounted return (clipped to ±10)."""
    reward_resolution: float = 0.0
    """Rewards whose range in all rollouts so far is no wider count as one constant, which moves no policy."""
    sde: bool = False
    """Explore by a noise that is a function of the state (gSDE); continuous actions only."""
    sde_sample_freq: int = -1
    """Steps after which gSDE draws a new function; -1: once per rollout."""

    def __post_init__(self) -> None:
        for name in ("num_steps", "num_epochs", "num_minibatches"):
            self._require(name, getattr(self, name) >= 1, "an integer >= 1")
        for name in ("gamma", "gae_lambda"):
            self._require(name, 0.0 <= getattr(self, name) <= 1.0, "a number in [0, 1]")
        for name in ("learning_rate", "ent_coef", "vf_coef", "reward_resolution"):
            self._require(name, 0.0 <= getattr(self, name) < math.inf, "a finite number >= 0")
        for name in ("clip_coef", "max_grad_norm"):
            self._require(name, 0.0 < getattr(self, name) < math.inf, "a finite number > 0")
        self._require("init_log_std", math.isfinite(self.init_log_std), "a finite number")
        final = self.final_log_std
        self._require("final_log_std", final is None or math.isfinite(final), "None or a finite number")
        self._require("target_kl", self.target_kl is None or self.target_kl > 0.0, "None or a number > 0")
        self._require("hidden_sizes", all(size >= 1 for size in self.hidden_sizes), "widths >= 1")
        self._require("activation", self.activation in ("tanh", "relu", "elu"), "tanh, relu or elu")
        steps = self.sde_sample_freq
        self._require("sde_sample_freq", steps == -1 or steps >= 1, "-1 or an integer >= 1")
        # The jitted programs hash the configuration, and a list has no hash.
        object.__setattr__(self, "hidden_sizes", tuple(self.hidden_sizes))

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise usage_error(f"PPOConfig.{name}", getattr(self, name), expected, f"set {name} accordingly")


def sb3_defaults(num_envs: int = 1) -> PPOConfig:
    """Return the defaults of stable-baselines3's PPO for `num_envs` worlds (its minibatch is 64 rows).

    Source: stable-baselines3 2.9, `ppo.PPO.__init__` and `ActorCriticPolicy` (2x64 tanh, Adam eps 1e-5).
    """
    return PPOConfig(
        num_steps=2048,
        num_epochs=10,
        num_minibatches=2048 * num_envs // 64,
        normalise_obs=False,
        normalise_reward=False,
    )
