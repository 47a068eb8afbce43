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

    A World may also have the methods of `Seeing` and `Resumable`; `vlmrl` uses them where they are there.
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


@runtime_checkable
class Seeing(Protocol):
    """A World that says what its default camera can show of states, without drawing them."""

    def visible_features(self, states: np.ndarray) -> np.ndarray:
        """Return float32 (B, F), equal for states (B, S) whose frames are equal: no velocities, no time."""
        ...

    def in_view(self, states: np.ndarray) -> np.ndarray:
        """Tell, bool (B,), on which states the camera sees what the goal is about."""
        ...


@runtime_checkable
class Resumable(Protocol):
    """A World whose whole life can be stored: what follows `load_snapshot` equals what followed `snapshot`."""

    def snapshot(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return arrays by name, and JSON values (generators' states)."""
        ...

    def load_snapshot(self, arrays: dict[str, np.ndarray], values: dict[str, Any]) -> np.ndarray:
        """Take a snapshot over; return the observations (N, O) of now."""
        ...


def is_world(envs: Any) -> bool:
    """Tell whether envs (or what it wraps, by `unwrapped`) is a World."""
    return isinstance(getattr(envs, "unwrapped", envs), World)
