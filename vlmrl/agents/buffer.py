"""What goes into an update: T steps of N worlds, checked before anything learns from them. NumPy only."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vlmrl.errors import NonFiniteError, usage_error


class Rollout(NamedTuple):
    """Hold T steps of N worlds, as NumPy arrays.

    A row that is not `valid` (the reset step of NEXT_STEP, a world that broke) contributes nothing to loss,
    advantages or statistics, whatever its numbers; its flags still say where an episode ended.
    """

    obs: np.ndarray
    """(T, N, O) float: what the policy saw."""
    actions: np.ndarray
    """(T, N, A) float or (T, N) int: `Sample.raw_actions`, not the clipped ones."""
    log_probs: np.ndarray
    """(T, N) float: `Sample.log_probs`."""
    rewards: np.ndarray
    """(T, N) float, in the task's own units."""
    next_obs: np.ndarray
    """(T, N, O) float: each step's true successor (`final_obs` where an episode ended)."""
    terminated: np.ndarray
    """(T, N) bool: the episode ended and nothing follows."""
    truncated: np.ndarray
    """(T, N) bool: the episode was cut (a time limit) and could have gone on."""
    valid: np.ndarray
    """(T, N) bool: the row counts."""
    values: np.ndarray | None = None
    """(T, N) float: `Sample.values`; computed again where None."""


def check_rollout(rollout: Rollout, num_envs: int, obs_dim: int, action_dim: int, discrete: bool) -> Rollout:
    """Return the rollout as float32, int32 and bool arrays of the shapes that `Rollout` promises.

    Raises: UsageError for another shape; NonFiniteError for a NaN or an infinity in a valid row.
    """
    num_steps = len(rollout.rewards)
    grid: tuple[int, ...] = (num_steps, num_envs)
    shapes = dict.fromkeys(Rollout._fields, grid)
    shapes["obs"] = shapes["next_obs"] = (*grid, obs_dim)
    shapes["actions"] = grid if discrete else (*grid, action_dim)
    dtypes: dict[str, Any] = dict.fromkeys(("terminated", "truncated", "valid"), np.bool_)
    dtypes["actions"] = np.int32 if discrete else np.float32
    arrays: dict[str, Any] = {}
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes inf, and is reported as such
        for name, array in rollout._asdict().items():
            arrays[name] = None if array is None else np.asarray(array, dtypes.get(name, np.float32))
    for name, array in arrays.items():
        if array is not None and (array.shape != shapes[name] or num_steps < 1):
            remedy = "stack T >= 1 steps of all N worlds"
            raise usage_error(f"Rollout.{name}", f"shape {array.shape}", f"shape {shapes[name]}", remedy)
    for name in ("rewards", "obs", "next_obs", "actions", "log_probs", "values"):
        _check_finite(name, arrays[name], arrays["valid"])
    return Rollout(**arrays)


def _check_finite(name: str, array: np.ndarray | None, valid: np.ndarray) -> None:
    """Raise NonFiniteError for the first valid row (T, N) of `array` that holds a NaN or an infinity."""
    if array is None or np.isfinite(array).all():
        return
    numbers = array.reshape(*valid.shape, -1)
    broken = ~np.isfinite(numbers).all(-1) & valid
    if broken.any():
        step, world = (int(i) for i in np.argwhere(broken)[0])
        row = numbers[step, world]
        raise NonFiniteError(name, float(row[~np.isfinite(row)][0]), step, world)
