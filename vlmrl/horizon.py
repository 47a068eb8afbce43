"""Episodes of one fixed length, so that the length of life says nothing about the task."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium
from gymnasium import logger
from gymnasium.utils import RecordConstructorArgs
from gymnasium.wrappers import TimeLimit

from vlmrl.errors import usage_error

EPISODE_KEEPERS = ("Autoreset", "Monitor", "RecordEpisodeStatistics")
"""Wrappers that act on an episode's end; below `FixedHorizon` they would act on ends that it suppresses."""


class FixedHorizon(gymnasium.Wrapper, RecordConstructorArgs):
    """Run every episode for exactly `horizon` steps: no termination, then truncation.

    The env's own verdicts stay in info["env_terminated"] and info["env_truncated"] (bool, each step).
    `TimeLimit`s and other `FixedHorizon`s anywhere below are taken out of the chain of wrappers, so this
    limit is the only one.

    >>> import gymnasium
    >>> env = FixedHorizon(gymnasium.make("CartPole-v1"), 40)
    >>> _ = env.reset(seed=0)
    >>> ends = [env.step(1)[2:4] for _ in range(40)]  # always to the right: the pole soon falls
    >>> ends[-2:], any(terminated for terminated, _ in ends)
    ([(False, False), (False, True)], False)

    Args:
        env: any single Gymnasium env that can be stepped on after its own end (all of Gymnasium's can).
        horizon: steps of an episode, >= 1.

    Raises:
        UsageError: for a horizon that is no positive integer; for a wrapper in `EPISODE_KEEPERS` below this
            one; and, while stepping, when the env fails on a step after its own end.
    """

    def __init__(self, env: gymnasium.Env, horizon: int) -> None:
        RecordConstructorArgs.__init__(self, horizon=horizon)
        gymnasium.Wrapper.__init__(self, without_limits(env))
        self.horizon = check_horizon(horizon)
        self._elapsed = 0
        self._past_end = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start a new episode of `horizon` steps."""
        self._elapsed = 0
        self._past_end = False
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step; `terminated` is always False, `truncated` is True from step `horizon` on."""
        if self._past_end:
            obs, reward, terminated, truncated, info = self._step_past_end(action)
        else:
            obs, reward, terminated, truncated, info = self.env.step(action)
        self._elapsed += 1
        self._past_end |= bool(terminated or truncated)
        info["env_terminated"], info["env_truncated"] = bool(terminated), bool(truncated)
        return obs, reward, False, self._elapsed >= self.horizon, info

    def _step_past_end(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step an env that has already reported an end, which not every env allows."""
        try:
            with _quiet():
                return self.env.step(action)
        except Exception as error:
            raise usage_error(
                "fixed_horizon",
                f"{type(error).__name__} ({error}) on a step after the env's own end",
                f"an env that runs on for {self.horizon} steps",
                "make the env without early termination or with a longer horizon, or leave out fixed_horizon",
            ) from error

    @property
    def spec(self) -> Any:  # type: ignore[override]
        """Return the env's spec with `max_episode_steps` set to this horizon."""
        spec = super().spec
        if spec is not None:
            spec.max_episode_steps = self.horizon
        return spec


def check_horizon(horizon: int) -> int:
    """Return horizon as an int >= 1.

    Raises:
        UsageError: for anything else.
    """
    try:
        steps = 0 if isinstance(horizon, bool) else operator.index(horizon)
    except TypeError:
        steps = 0
    if steps < 1:
        raise usage_error(
            "fixed_horizon",
            repr(horizon),
            "an integer >= 1",
            "give an episode's steps, e.g. fixed_horizon=500",
        )
    return steps


def without_limits(env: gymnasium.Env) -> gymnasium.Env:
    """Return env with every `TimeLimit` and `FixedHorizon` taken out of its chain of wrappers.

    The wrappers around a removed one are re-linked in place, since a wrapper cannot be rebuilt in general.

    Raises:
        UsageError: when a wrapper in `EPISODE_KEEPERS` is in the chain.
    """
    env = _skip_limits(env)
    wrapper = env
    while isinstance(wrapper, gymnasium.Wrapper):
        name = type(wrapper).__name__
        if name in EPISODE_KEEPERS:
            raise usage_error(
                "env",
                f"{name} below fixed_horizon",
                "no wrapper there that counts or resets episodes",
                f"wrap the other way round: {name}(FixedHorizon(env, horizon)); VLMVecEnv needs no Monitor",
            )
        inner = _skip_limits(wrapper.env)
        if inner is not wrapper.env:
            wrapper.env = inner
        wrapper = inner
    return env


def has_fixed_horizon(env: gymnasium.Env) -> bool:
    """Tell whether a `FixedHorizon` is in env's chain of wrappers."""
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, FixedHorizon):
            return True
        env = env.env
    return False


def _skip_limits(env: gymnasium.Env) -> gymnasium.Env:
    while isinstance(env, TimeLimit | FixedHorizon):
        env = env.env
    return env


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Gymnasium's "step after terminated" warning, which we cause on purpose each episode.

    Its own level is used: `warnings.catch_warnings` would forget, at every step, which others were shown.
    """
    level = logger.min_level
    logger.min_level = logger.ERROR
    try:
        yield
    finally:
        logger.min_level = level
