"""The settings of a learned reward, without torch, so that a command line can show them at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from vlmrl.errors import usage_error

OnNonFinite = Literal["stop", "skip"]


@dataclass(frozen=True)
class LearnedConfig:
    """Hold the settings of `vlmrl.LearnedReward`; how often it asks is set by `queries` and `query_share` beside it.

    Raises: UsageError for a value outside its range.
    """

    ensemble_size: int = 5
    """Networks E, at least 2: how far they disagree says what is not known."""
    hidden_sizes: tuple[int, ...] = (64, 64)
    """Widths of each network's hidden layers."""
    learning_rate: float = 3e-3
    """Adam's step size."""
    fit_steps: int = 128
    """Gradient steps of a refit, which is made after each rollout; twice as many until the reward is trusted."""
    batch_size: int = 128
    """Answers in a gradient step, drawn for each network on its own, a quarter of them among the newest."""
    conservatism: float = 1.0
    """Standard deviations of the networks taken off their mean: what the agent gets where the model was not asked."""
    random_share: float = 0.2
    """Share of the queries spent on states drawn at random, in (0, 1]: they say, before they are learned from, how
    good the learned reward is. The rest goes where the networks disagree."""
    warm_share: float = 0.5
    """Share of a rollout's states asked at the beginning, until the learned reward is trusted, in (0, 1]."""
    warm_budget: float = 0.25
    """Part of all queries that may be spent in that way, in [0, 1]."""
    trust_error: float = 0.5
    """The learned reward is trusted while its root mean squared error on the random share is no more than this, in
    standard deviations of the answers (0.5: three quarters of the variance explained)."""
    store_size: int = 16_384
    """Answers that are kept to learn from; beyond, answers of the commonest reward levels are dropped first."""
    refit_every: int = 2048
    """States between two refits where the reward is asked step by step (envs that are no World, other agents)."""
    thumbnail: int = 16
    """Side in pixels of the grey pictures that the networks see where there is no state."""
    drift_rounds: int = 12
    """Refits over which learned and true reward are compared, an even number of at least 4."""
    on_non_finite: OnNonFinite = "stop"
    """What a NaN or infinite answer does: stop, with its place, or skip: the state is left out, counted and reported."""

    def __post_init__(self) -> None:
        for name, least in (("ensemble_size", 2), ("fit_steps", 1), ("batch_size", 1), ("refit_every", 1),
                            ("thumbnail", 2), ("store_size", 64), ("drift_rounds", 4)):  # fmt: skip
            self._require(name, getattr(self, name) >= least, f"an integer >= {least}")
        self._require("drift_rounds", self.drift_rounds % 2 == 0, "an even number")
        self._require("hidden_sizes", all(size >= 1 for size in self.hidden_sizes), "widths >= 1")
        for name in ("random_share", "warm_share"):
            self._require(name, 0.0 < getattr(self, name) <= 1.0, "a number in (0, 1]")
        self._require("warm_budget", 0.0 <= self.warm_budget <= 1.0, "a number in [0, 1]")
        self._require("conservatism", 0.0 <= self.conservatism < math.inf, "a finite number >= 0")
        for name in ("learning_rate", "trust_error"):
            self._require(name, 0.0 < getattr(self, name) < math.inf, "a finite number > 0")
        self._require("on_non_finite", self.on_non_finite in ("stop", "skip"), "stop or skip")
        object.__setattr__(self, "hidden_sizes", tuple(self.hidden_sizes))

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise usage_error(
                f"LearnedConfig.{name}", getattr(self, name), expected, f"set {name} accordingly"
            )


def check_budget(queries: int | None, query_share: float | None) -> None:
    """Check how often a model may be asked; None and None means always.

    Raises: UsageError for queries below 1 and for a share outside (0, 1].
    """
    if queries is not None and (isinstance(queries, bool) or queries < 1 or queries != int(queries)):
        raise usage_error("queries", queries, "an integer >= 1", "leave it out to ask about every state")
    if query_share is not None and not 0.0 < query_share <= 1.0:  # NaN too
        raise usage_error("query_share", query_share, "a number in (0, 1]", "0.1 asks about a tenth")
