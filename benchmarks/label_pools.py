"""Single frames with the world's own progress, for pairs whose right answer is known: of states, or of Meta-World's episodes."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from vlmrl.making import make_env, make_envs
from vlmrl.preferences.segments import PoolConfig, SegmentPool
from vlmrl.tasks import METAWORLD, Task

AT_ONCE, APART = 8, 10
"""Episodes of Meta-World side by side, and steps between two frames that are kept of one."""


class Pools(Protocol):
    """Pools of a task, each with frames of its own."""

    def make(self, count: int, rng: np.random.Generator) -> SegmentPool:
        """Return a pool of `count` segments of one frame."""

    def close(self) -> None:
        """Free the worlds."""


def pools_of(task: Task) -> Pools:
    """Return what makes pools of a task."""
    return EpisodePools(task) if task.name in METAWORLD else StatePools(task)


class StatePools:
    """A World's varied states (`sample_states`), drawn when asked for; progress is its graded reward."""

    def __init__(self, task: Task) -> None:
        self._envs = make_envs(task, 2)

    def make(self, count: int, rng: np.random.Generator) -> SegmentPool:
        """Return a pool of `count` segments of one frame."""
        world: Any = self._envs.unwrapped
        states = world.sample_states(rng, count)
        pool = SegmentPool(PoolConfig(capacity=count), world.render_states)
        progress = world.rules.env_reward(states)[:, None]
        pool.add(np.ones((count, 1), bool), states=states[:, None], progress=progress)
        return pool

    def close(self) -> None:
        """Free the worlds."""
        self._envs.close()


class EpisodePools:
    """Frames of Meta-World's episodes, drawn while these run.

    In each acts the package's scripted policy, blended with random motion by a share that is drawn anew: from aimless to
    expert. Progress is how near the object is to its target: Meta-World's own reward also counts where the hand is, and
    no picture shows the hand.
    """

    def __init__(self, task: Task) -> None:
        self._horizon = task.horizon or 250
        self._envs: list[Any] = [make_env(task, self._horizon).unwrapped for _ in range(AT_ONCE)]
        self._policy = _policy(task.name)

    def make(self, count: int, rng: np.random.Generator) -> SegmentPool:
        """Return a pool of `count` segments of one frame."""
        frames: list[np.ndarray] = []
        near: list[float] = []
        while len(near) < count:
            self._play(rng, frames, near)
        kept = rng.permutation(len(near))[:count]
        pool = SegmentPool(PoolConfig(capacity=count))
        pool.add(
            np.ones((count, 1), bool),
            frames=np.stack(frames)[kept, None],
            progress=np.array(near)[kept, None],
        )
        return pool

    def close(self) -> None:
        """Free the worlds."""
        for env in self._envs:
            env.close()

    def _play(self, rng: np.random.Generator, frames: list[np.ndarray], near: list[float]) -> None:
        """Play an episode in each env and add what is kept of it."""
        seen = [env.reset(seed=int(rng.integers(2**31)))[0] for env in self._envs]
        aimless, drift = rng.random((AT_ONCE, 1)), np.zeros((AT_ONCE, 4))
        for step in range(self._horizon):
            # a hand that goes somewhere, not one that trembles
            drift = 0.9 * drift + rng.normal(0.0, 0.4, drift.shape)
            scripted = np.stack([self._policy.get_action(each) for each in seen])
            actions = np.clip((1 - aimless) * np.clip(scripted, -1, 1) + aimless * drift, -1, 1)
            found = [env.step(action) for env, action in zip(self._envs, actions, strict=True)]
            seen = [each[0] for each in found]
            if step % APART == APART - 1:
                frames += list(self._envs[0].render_together(self._envs))
                near += [each[4]["progress"] for each in found]


def _policy(name: str) -> Any:
    from metaworld import policies

    words = "".join(part.title() for part in name.split("_"))
    return getattr(policies, f"Sawyer{words}V3Policy")()
