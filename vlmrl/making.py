"""Make the envs of a task: a World of vlmrl as a whole, anything else as Gymnasium makes it."""

from __future__ import annotations

from functools import partial
from typing import Any

from vlmrl.errors import UsageError, usage_error
from vlmrl.runtime import without_display
from vlmrl.tasks import Task, check_env


def make_envs(
    task: Task,
    num_envs: int,
    *,
    horizon: int | None = None,
    renderer: str = "warp",
    render_device: str = "cpu",
) -> Any:
    """Make N worlds of a task, of `horizon` steps (default: the task's), which draw uint8 frames.

    A World of vlmrl steps all its worlds at once; anything else becomes a `SyncVectorEnv` with SAME_STEP autoreset.
    Raises: UsageError for an unknown env, or one that cannot be made or drawn.
    """
    from gymnasium.vector import AutoresetMode, SyncVectorEnv

    check_env(task.env_id)
    without_display()
    horizon = horizon or task.horizon
    worlds = _make_worlds(task, num_envs, horizon, renderer, render_device)
    if worlds is not None:
        return worlds

    makers = [partial(make_env, task, horizon) for _ in range(num_envs)]
    return SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP)


def make_env(task: Task, horizon: int | None = None) -> Any:
    """Make a single env of a task, of `horizon` steps (default: its own), which draws uint8 frames.

    Raises: UsageError if it cannot be made or drawn, or for a camera or size that it does not take.
    """
    import gymnasium

    from vlmrl.horizon import FixedHorizon

    check_env(task.env_id)
    looks = {"camera": task.camera, "render_size": task.render_size}
    options: dict[str, Any] = {name: value for name, value in looks.items() if value is not None}
    if gymnasium.spec(task.env_id).namespace == "vlmrl":  # Meta-World's
        if horizon is not None:
            options["horizon"] = horizon
        return _make(gymnasium.make, task, options)
    for name, value in options.items():
        remedy = "give its own keyword arguments with --env-kwargs"
        raise usage_error(name, f"{value} for {task.env_id}", "a World of vlmrl_envs", remedy)
    env = _make(gymnasium.make, task, {})
    if env.render_mode != "rgb_array":
        got = f"{task.env_id} with render mode {env.render_mode}"
        raise usage_error("env", got, "render mode rgb_array", "choose an env that draws frames")
    return env if horizon is None else FixedHorizon(env, horizon)


def open_task(task: Task, num_envs: int = 16, device: str | None = None) -> Any:
    """Make the task's env to look at: a World with `num_envs` worlds where its id gives one, else a single env.

    device: where a World is rendered, "cpu" or "cuda[:i]". Raises: UsageError if it cannot be made or drawn.
    """
    check_env(task.env_id)
    without_display()
    worlds = _make_worlds(task, num_envs, task.horizon, "warp", device or "cpu")
    return make_env(task) if worlds is None else worlds


def _make_worlds(task: Task, num_envs: int, horizon: int | None, renderer: str, device: str) -> Any:
    """Return a World, or None where the env is none; a World of others gets the task's own arguments only."""
    import gymnasium

    from vlmrl_envs.world import is_world

    spec = gymnasium.spec(task.env_id)
    if spec.vector_entry_point is None:
        return None
    options: dict[str, Any] = {"num_envs": num_envs, "vectorization_mode": "vector_entry_point"}
    if spec.namespace == "vlmrl":
        asked = {"camera": task.camera, "render_size": task.render_size, "horizon": horizon}
        options |= {name: value for name, value in asked.items() if value is not None}
        options |= {"renderer": renderer, "render_device": device}
    try:
        envs = _make(gymnasium.make_vec, task, options)
    except UsageError:
        if spec.namespace == "vlmrl":
            raise
        return None  # a vector env that draws no frames, say; the single env speaks for itself
    if is_world(envs):
        return envs
    envs.close()
    return None


def _make(maker: Any, task: Task, more: dict[str, Any]) -> Any:
    import gymnasium

    try:
        return maker(task.env_id, **{"render_mode": "rgb_array", **task.kwargs, **more})
    except (TypeError, gymnasium.error.Error, ImportError) as error:
        remedy = "check --env-kwargs and what the env needs installed"
        got = f"{task.env_id} with {task.kwargs} ({error})"
        raise usage_error("env", got, "an env that can be made", remedy) from error
