"""Frames of start, random and goal states: from a World, any rgb_array env, or a folder of pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vlmrl.errors import usage_error

BATCH = 32
"""Frames in memory at once."""
MAX_PIXELS = 64_000_000
"""Pictures with more pixels are refused before they are decoded."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
MAX_TRIES = 16
"""Rounds of sampling in search of goal states."""


@dataclass
class Samples:
    """Frames by kind of states, drawn when they are read."""

    batches: dict[str, Iterator[np.ndarray]]
    """By "start", "random" and, where they are known, "goal": uint8 (B, H, W, 3)."""
    start_is_goal: float = 0.0
    """Share of the start states that are goal states, 0..1; 0 where that is unknown."""
    notes: list[str] = field(default_factory=list)
    """What the reader of the verdict should know."""


def sample_world(envs: Any, rng: np.random.Generator, count: int) -> Samples:
    """Draw `count` start, random and goal states of a World; `success` tells which are goal states.

    Goal states found among start and random ones are taken out of these.
    """
    world = envs.unwrapped
    starts = _start_states(envs, world, rng, count)
    randoms = _random_states(envs, world, rng, count)
    goals = _goal_states(world, rng, count)
    is_goal = np.asarray(world.success(starts), bool)
    random_is_goal = np.asarray(world.success(randoms), bool)
    groups = {"start": starts[~is_goal], "random": randoms[~random_is_goal]}
    # Where every start is a goal state, show them all the same: their spread is part of the answer.
    groups["start"] = starts if is_goal.all() else groups["start"]
    groups |= {"goal": goals} if len(goals) else {}
    batches = {name: _draw(world, states) for name, states in groups.items()}
    notes = [] if len(goals) else ["the world's samples hold no goal state"]
    return Samples(batches, float(is_goal.mean()), notes)


def _start_states(envs: Any, world: Any, rng: np.random.Generator, count: int) -> np.ndarray:
    states: list[np.ndarray] = []
    while len(states) * envs.num_envs < count:
        envs.reset(seed=int(rng.integers(2**31)))
        states.append(world.get_states())
    return np.concatenate(states)[:count]


def _random_states(envs: Any, world: Any, rng: np.random.Generator, count: int) -> np.ndarray:
    envs.action_space.seed(int(rng.integers(2**31)))
    envs.reset(seed=int(rng.integers(2**31)))
    states: list[np.ndarray] = []
    for _ in range(getattr(world, "horizon", 200)):
        *_, infos = envs.step(envs.action_space.sample())
        states.append(np.array(infos["states_before_reset"]))
    pool = np.concatenate(states)
    return pool[rng.choice(len(pool), size=min(count, len(pool)), replace=False)]


def _goal_states(world: Any, rng: np.random.Generator, count: int) -> np.ndarray:
    found: list[np.ndarray] = []
    for _ in range(MAX_TRIES):
        states = world.sample_states(rng, max(count, 64))
        found.append(states[np.asarray(world.success(states), bool)])
        if sum(map(len, found)) >= count:
            break
    rules: Any = getattr(world, "rules", None)
    for _ in range(MAX_TRIES // 4 if hasattr(rules, "sample_near_goal") else 0):
        if sum(map(len, found)) >= count:
            break
        states = rules.sample_near_goal(rng, max(count, 64))
        found.append(states[np.asarray(world.success(states), bool)])
    return np.concatenate(found)[:count]


def _draw(world: Any, states: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(states), BATCH):
        yield world.render_states(states[start : start + BATCH])


def sample_env(
    env: Any, rng: np.random.Generator, count: int, goal_frames: str | Path | None = None
) -> Samples:
    """Draw frames of any rgb_array env: `count`/4 resets, `count` random steps, pictures in `goal_frames`."""
    batches = {
        "start": _start_frames(env, rng, max(count // 4, 8)),
        "random": _random_frames(env, rng, count),
    }
    if goal_frames is not None:
        batches["goal"] = read_frames(goal_frames)
    return Samples(batches)


def _start_frames(env: Any, rng: np.random.Generator, count: int) -> Iterator[np.ndarray]:
    for _ in range(count):
        env.reset(seed=int(rng.integers(2**31)))
        yield _frame(env)


def _random_frames(env: Any, rng: np.random.Generator, count: int) -> Iterator[np.ndarray]:
    env.action_space.seed(int(rng.integers(2**31)))
    env.reset(seed=int(rng.integers(2**31)))
    for _ in range(count):
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        yield _frame(env)
        if terminated or truncated:
            env.reset(seed=int(rng.integers(2**31)))


def _frame(env: Any) -> np.ndarray:
    frame = env.render()
    if not isinstance(frame, np.ndarray):
        got = type(frame).__name__
        raise usage_error("frame", got, "an array from render()", "make the env with render_mode='rgb_array'")
    return frame[None]


def read_frames(folder: str | Path) -> Iterator[np.ndarray]:
    """Read the pictures in `folder`, in order of their names, as frames uint8 (1, H, W, 3).

    The folder is checked at once, each picture when it is read, its size before it is decoded.
    Raises: UsageError on a folder without pictures, a picture that is not RGB, too large, or damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise usage_error("goal frames", folder, "a folder that exists", "check the path")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        expected = f"a folder with pictures ({', '.join(SUFFIXES)})"
        raise usage_error("goal frames", folder, expected, "put pictures of the goal there")
    return (_read_frame(path) for path in paths)


def _read_frame(path: Path) -> np.ndarray:
    from PIL import Image

    try:
        # PIL's own limit on pixels raises in `open`, ours is lower; nothing is decoded before both.
        with Image.open(path) as image:
            width, height = image.size
            if width * height > MAX_PIXELS or min(width, height) < 8:
                got = f"{path}, {width}x{height} pixels"
                expected = f"sides of 8 pixels or more, {MAX_PIXELS:,} pixels or fewer"
                raise usage_error("goal frame", got, expected, "resize it")
            if image.mode not in ("RGB", "P"):
                got = f"{path} in mode {image.mode}"
                raise usage_error("goal frame", got, "RGB", "convert it, as the env's frames are RGB")
            return np.array(image.convert("RGB"))[None]  # a copy: PIL's own memory is read-only
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        got = f"{path} ({error})"
        raise usage_error("goal frame", got, "a picture that can be read", "replace or remove it") from error
