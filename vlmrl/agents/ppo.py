"""PPO over N worlds at once: the object that acts, learns, and can be saved to the bit."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from vlmrl.agents.buffer import Rollout, check_rollout
from vlmrl.agents.config import PPOConfig, sb3_defaults
from vlmrl.agents.networks import (
    Architecture,
    Gaussian,
    Params,
    draw_sde_noise,
    init_params,
    policy,
    sde_actions,
    values,
)
from vlmrl.agents.normalise import RunningStats, init_stats, normalise
from vlmrl.agents.update import LearnerState, no_evidence, optimiser, ppo_update
from vlmrl.errors import NonFiniteError, usage_error

__all__ = ["PPO", "NonFiniteError", "PPOConfig", "Rollout", "Sample", "sb3_defaults"]

# Every random number is a function of (seed, purpose, counter), so two counters are all there is to save.
_INIT, _SAMPLE, _NOISE, _UPDATE, _ACT = range(5)


class Sample(NamedTuple):
    """Hold what `PPO.sample` returns for N worlds, as NumPy arrays."""

    actions: np.ndarray
    """(N, A) or (N,): what `env.step` takes, clipped to the bounds."""
    raw_actions: np.ndarray
    """(N, A) or (N,): what the policy drew; goes into `Rollout.actions`."""
    log_probs: np.ndarray
    """(N,) float32: log-probability of `raw_actions`, in nats."""
    values: np.ndarray
    """(N,) float32: V of the observations, in scaled reward."""


@partial(jax.jit, static_argnames=("arch", "normalised"))
def _sample(
    arch: Architecture,
    normalised: bool,
    params: Params,
    obs_stats: RunningStats,
    noise: jax.Array | None,
    seed_key: jax.Array,
    counter: np.uint32,
    renew: np.bool_,
    obs: jax.typing.ArrayLike,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array | None]:
    rows = jnp.asarray(obs)
    rows = normalise(obs_stats, rows) if normalised else rows
    distribution, features = policy(params, arch, rows)
    if noise is None:
        raw = distribution.sample(_key(seed_key, _SAMPLE, counter))
    else:
        assert isinstance(distribution, Gaussian)
        fresh = partial(draw_sde_noise, _key(seed_key, _NOISE, counter), params, rows.shape[0])
        old = noise
        noise = jax.lax.cond(renew, fresh, lambda: old)
        raw = sde_actions(distribution.mean, features, noise)
    return raw, distribution.log_prob(raw), values(params, arch, rows), noise


@partial(jax.jit, static_argnames=("arch", "normalised", "deterministic"))
def _act(
    arch: Architecture,
    normalised: bool,
    deterministic: bool,
    params: Params,
    obs_stats: RunningStats,
    seed_key: jax.Array,
    counter: np.uint32,
    obs: jax.typing.ArrayLike,
) -> jax.Array:
    rows = jnp.asarray(obs)
    distribution, _ = policy(params, arch, normalise(obs_stats, rows) if normalised else rows)
    return distribution.mode() if deterministic else distribution.sample(_key(seed_key, _ACT, counter))


def _key(seed_key: jax.Array, purpose: int, counter: Any) -> jax.Array:
    return jax.random.fold_in(jax.random.fold_in(seed_key, purpose), counter)


def _architecture(
    observation_space: gymnasium.Space, action_space: gymnasium.Space, config: PPOConfig
) -> Architecture:
    if not isinstance(observation_space, gymnasium.spaces.Box) or len(observation_space.shape) != 1:
        remedy = "wrap the env in gymnasium.wrappers.FlattenObservation"
        raise usage_error("observation_space", observation_space, "a Box of shape (O,)", remedy)
    obs_dim = observation_space.shape[0]
    if isinstance(action_space, gymnasium.spaces.Discrete):
        if config.sde:
            raise usage_error("PPOConfig.sde", True, "False for discrete actions", "set sde=False")
        if config.final_log_std is not None:
            got = config.final_log_std
            raise usage_error("PPOConfig.final_log_std", got, "None for discrete actions", "leave it out")
        return Architecture(
            obs_dim, int(action_space.n), "categorical", config.hidden_sizes, config.activation
        )
    if not isinstance(action_space, gymnasium.spaces.Box) or len(action_space.shape) != 1:
        remedy = "give one env's space (single_action_space), flattened"
        raise usage_error("action_space", action_space, "a Box of shape (A,) or a Discrete", remedy)
    return Architecture(
        obs_dim,
        action_space.shape[0],
        "gsde" if config.sde else "gaussian",
        config.hidden_sizes,
        config.activation,
        learns_std=config.final_log_std is None,
    )


class PPO:
    """Act in and learn from `num_envs` worlds at once.

    The spaces are those of one world. Box actions are drawn from an unbounded Gaussian and clipped to the
    bounds when sent; their log-probability is that of the unclipped action. Equal seeds and equal inputs give
    equal numbers. `total_updates` is needed where `config.anneal_lr` or `config.final_log_std`.

    Raises: UsageError for a space that is not supported.

    Source: Schulman et al. 2017 (arXiv:1707.06347); gSDE: Raffin et al. 2021 (arXiv:2005.05719).
    """

    def __init__(
        self,
        observation_space: gymnasium.Space,
        action_space: gymnasium.Space,
        config: PPOConfig,
        num_envs: int,
        seed: int,
        total_updates: int | None = None,
    ) -> None:
        scheduled = config.anneal_lr or config.final_log_std is not None
        if scheduled and (total_updates is None or total_updates < 1):
            expected = "an integer >= 1 with anneal_lr or final_log_std"
            raise usage_error("total_updates", total_updates, expected, "pass it")
        if num_envs < 1:
            raise usage_error("num_envs", num_envs, "an integer >= 1", "ask for at least one world")
        if not 0 <= seed < 2**32:
            raise usage_error("seed", seed, "an integer in [0, 2**32)", "choose another seed")
        self.config, self.num_envs, self.total_updates = config, num_envs, total_updates
        self.action_space = action_space
        self._arch = _architecture(observation_space, action_space, config)
        # Only what the update's program depends on, so that agents that differ elsewhere share a compilation.
        self._static = replace(
            config, num_steps=1, learning_rate=0.0, anneal_lr=False, init_log_std=0.0, final_log_std=None,
            sde_sample_freq=-1,
        )  # fmt: skip
        self._seed_key = jax.random.PRNGKey(np.uint32(seed))
        params = init_params(_key(self._seed_key, _INIT, 0), self._arch, config.init_log_std)
        self._state = LearnerState(
            params=params,
            optimiser=optimiser(config).init(params),
            obs_stats=init_stats((self._arch.obs_dim,)),
            reward_stats=init_stats(()),
            running_return=jnp.zeros(num_envs),
            evidence=no_evidence(),
        )
        shape = (num_envs, self._arch.feature_dim, self._arch.action_dim)
        self._noise = jnp.zeros(shape) if self._arch.head == "gsde" else None
        # Samples drawn, updates made, stochastic acts, samples since the last update.
        self._counters = {"samples": 0, "updates": 0, "acts": 0, "since_update": 0}

    @property
    def num_updates(self) -> int:
        """Updates made so far."""
        return self._counters["updates"]

    def act(self, obs: np.ndarray, deterministic: bool = False) -> np.ndarray:
        """Choose actions (B, A) or (B,) for any number of observations (B, O), as `env.step` takes them.

        Leaves training as it is: no statistic moves, and its random numbers are its own. With gSDE and not
        `deterministic`, the noise is drawn afresh for every row.
        """
        counter = np.uint32(self._counters["acts"])
        self._counters["acts"] += not deterministic
        state, config = self._state, self.config
        raw = _act(
            self._arch,
            config.normalise_obs,
            deterministic,
            state.params,
            state.obs_stats,
            self._seed_key,
            counter,
            self._check_obs(obs, None),
        )
        return self._env_actions(np.asarray(raw))

    def sample(self, obs: np.ndarray) -> Sample:
        """Draw actions for training at the worlds' observations (N, O)."""
        count, freq = self._counters["since_update"], self.config.sde_sample_freq
        renew = np.bool_(count == 0 or (freq > 0 and count % freq == 0))
        raw, log_probs, predicted, self._noise = _sample(
            self._arch,
            self.config.normalise_obs,
            self._state.params,
            self._state.obs_stats,
            self._noise,
            self._seed_key,
            np.uint32(self._counters["samples"]),
            renew,
            self._check_obs(obs, self.num_envs),
        )
        self._counters["samples"] += 1
        self._counters["since_update"] += 1
        raw_actions = np.asarray(raw)
        return Sample(
            self._env_actions(raw_actions), raw_actions, np.asarray(log_probs), np.asarray(predicted)
        )

    def update(self, rollout: Rollout) -> dict[str, float]:
        """Learn from a rollout; return statistics (losses, entropy, KL, ...) as means over its minibatches.

        Raises: NonFiniteError for a NaN or infinity in a valid row (with step and world), or for a loss or
        parameter that became one; the agent then stays as it was. UsageError for shapes that do not fit.
        """
        arch = self._arch
        rollout = check_rollout(
            rollout, self.num_envs, arch.obs_dim, arch.action_dim, arch.head == "categorical"
        )
        config, done = self.config, self._counters["updates"]
        key = _key(self._seed_key, _UPDATE, np.uint32(done))
        rate = np.float32(config.learning_rate * (self._left(done) if config.anneal_lr else 1.0))
        state, stats = ppo_update(self._static, arch, self._state, rollout, key, rate)
        numbers = {name: float(value) for name, value in jax.device_get(stats).items()}
        if not numbers.pop("finite"):
            raise NonFiniteError(f"PPO's loss in update {done}", numbers["loss"])
        self._state = state
        self._counters["updates"] += 1
        self._set_std()
        self._counters["since_update"] = 0
        return numbers

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of all state by name: weights, Adam's moments, statistics, seed, counters."""
        return {name: np.array(leaf) for name, leaf in self._named_leaves()[0].items()}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Take over a `state_dict`; what follows is equal to the bit to what would have followed there.

        Raises: UsageError where names, shapes or dtypes differ from this agent's; it then stays as it was.
        """
        own, treedef = self._named_leaves()
        remedy = "build the agent with the spaces, config and num_envs it was saved with"
        if own.keys() != state.keys():
            odd = sorted(own.keys() ^ state.keys())
            raise usage_error("state_dict", f"other entries: {odd}", f"the {len(own)} of this agent", remedy)
        for name, leaf in own.items():
            got, expected = np.asarray(state[name]), np.asarray(leaf)
            if got.shape != expected.shape or got.dtype != expected.dtype:
                shown = f"{got.dtype} {got.shape}"
                raise usage_error(
                    f"state_dict[{name!r}]", shown, f"{expected.dtype} {expected.shape}", remedy
                )
        names = [name for name in own if not name.startswith("counters/")]
        tree = jax.tree.unflatten(treedef, [jnp.array(state[name]) for name in names])
        self._state, self._noise, self._seed_key = tree["learner"], tree["noise"], tree["seed_key"]
        self._counters = {name: int(state[f"counters/{name}"]) for name in self._counters}

    def _left(self, done: int) -> float:
        """Return the share of all updates that is left after `done`."""
        return max(0.0, 1.0 - done / (self.total_updates or 1))

    def _set_std(self) -> None:
        """Set the policy's deviation to where it is to be by now, if it is not learned."""
        params, start, end = self._state.params, self.config.init_log_std, self.config.final_log_std
        if end is None or "log_std" not in params:
            return
        log_std = jnp.full_like(params["log_std"], end + (start - end) * self._left(self.num_updates))
        self._state = self._state._replace(params={**params, "log_std": log_std})

    def _named_leaves(self) -> tuple[dict[str, Any], Any]:
        tree = {"learner": self._state, "noise": self._noise, "seed_key": self._seed_key}
        paths, treedef = jax.tree_util.tree_flatten_with_path(tree)
        named: dict[str, Any] = {
            jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in paths
        }
        named |= {f"counters/{name}": np.int64(count) for name, count in self._counters.items()}
        return named, treedef

    def _env_actions(self, raw: np.ndarray) -> np.ndarray:
        if isinstance(self.action_space, gymnasium.spaces.Discrete):
            return raw.astype(np.int64) + int(self.action_space.start)
        assert isinstance(self.action_space, gymnasium.spaces.Box)
        clipped = np.clip(raw, self.action_space.low, self.action_space.high)
        return clipped.astype(self.action_space.dtype, copy=False)

    def _check_obs(self, obs: np.ndarray, rows: int | None) -> np.ndarray:
        obs = np.asarray(obs, np.float32)
        if obs.ndim != 2 or obs.shape[1] != self._arch.obs_dim or (rows is not None and len(obs) != rows):
            shape = f"({'B' if rows is None else rows}, {self._arch.obs_dim})"
            raise usage_error("obs", f"shape {obs.shape}", f"shape {shape}", "give one row per world")
        return obs
