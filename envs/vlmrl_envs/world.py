"""The World protocol: what `vlmrl` asks of a vectorised env whose frames can be drawn late."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np

from vlmrl_envs.rules import Caption, HoldRule


@runtime_checkable
class World(Protocol):
    """A Gymnasium `VectorEnv` of N worlds whose full physics states can be read, set and drawn.

    `states` are float64 (N, S) rows of the full physics state, never the observation. After each step
    `infos["states_before_reset"]` holds the (N, S) states that the step led to, before any autoreset.
    """

    num_envs: int
    hold: HoldRule

    def get_states(self) -> np.ndarray: ...
    def set_states(self, states: np.ndarray) -> None: ...
    def render_states(
        self, states: np.ndarray, camera: str | None = None, size: tuple[int, int] | None = None
    ) -> np.ndarray: ...
    def success(self, states: np.ndarray) -> np.ndarray: ...
    def similarity(self, states: np.ndarray) -> np.ndarray: ...
    def sample_states(self, rng: np.random.Generator, n: int) -> np.ndarray: ...
    def describe(self, state: np.ndarray) -> list[Caption]: ...


def is_world(envs: Any) -> bool:
    """Tell whether envs (or what it wraps, by `unwrapped`) is a World."""
    return isinstance(getattr(envs, "unwrapped", envs), World)
