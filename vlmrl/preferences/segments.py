"""A bounded pool of segments of rollouts: states and embeddings are kept, frames drawn when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from vlmrl.errors import usage_error
from vlmrl.preferences.embedding import segment_embeddings
from vlmrl.preferences.protocol import Segment

CHUNK = 2048
"""Frames drawn at once: 24 MiB at 64 px."""
Keep = Literal["recent", "uniform"]


@dataclass(frozen=True)
class PoolConfig:
    """Which segments of a rollout are kept, and how many."""

    length: int = 1
    """Frames of a segment, L; 1 is RL-VLM-F's."""
    every: int = 1
    """Steps from one frame of a segment to its next."""
    stride: int = 1
    """Steps from the start of one segment to the start of the next."""
    capacity: int = 4096
    """Segments kept at most."""
    per_rollout: int | None = None
    """Segments taken from one rollout at most, drawn uniformly; None takes all."""
    keep: Keep = "recent"
    """What stays when the pool is full: the newest segments, or a uniform sample of all there ever were."""

    def __post_init__(self) -> None:
        for name in ("length", "every", "stride", "capacity"):
            if getattr(self, name) < 1:
                raise usage_error(name, getattr(self, name), "an integer of at least 1", "1 is the least")
        if self.per_rollout is not None and self.per_rollout < 1:
            raise usage_error("per_rollout", self.per_rollout, "at least 1", "leave it out to take all")
        if self.keep not in get_args(Keep):
            raise usage_error("keep", self.keep, "recent or uniform", "recent follows the agent")


def segment_starts(
    ends: np.ndarray, valid: np.ndarray, length: int, every: int = 1, stride: int = 1
) -> np.ndarray:
    """Return (step, world) of each segment's first frame, int (K, 2), of a rollout of T steps and N worlds.

    Segments of `length` frames, `every` steps apart, that begin each `stride` steps. ends (T, N) says that an episode
    ended with this step (which may be a segment's last and none before it); valid (T, N) that the row counts. No
    segment crosses an episode's end or a row that does not count.
    """
    span = (length - 1) * every
    num_steps, num_envs = ends.shape
    starts = np.arange(0, num_steps - span, stride)
    if len(starts) == 0:
        return np.zeros((0, 2), int)
    zero = np.zeros((1, num_envs), int)
    ended = np.concatenate([zero, np.cumsum(ends, axis=0)])
    invalid = np.concatenate([zero, np.cumsum(~valid, axis=0)])
    whole = (ended[starts + span] == ended[starts]) & (invalid[starts + span + 1] == invalid[starts])
    rows = np.argwhere(whole)
    return np.stack([starts[rows[:, 0]], rows[:, 1]], axis=1)


@dataclass
class _Entry:
    """What the pool keeps of one segment."""

    states: np.ndarray | None
    frames: np.ndarray | None
    embeddings: np.ndarray | None
    progress: np.ndarray | None
    key: str | None = None


KEPT = ("states", "frames", "embeddings", "progress")
"""Fields of an entry, in order."""


class SegmentPool:
    """Hold segments of rollouts, at most `config.capacity`, for samplers to pair.

    Args:
        render: draws states (B, S) as uint8 frames (B, H, W, 3), e.g. a World's `render_states`. Without it, or
            without states, frames have to be given and are kept.
        seed: of the draws that `per_rollout` and `keep="uniform"` make.

    A segment's place in the pool holds until the next `add`.
    """

    def __init__(
        self,
        config: PoolConfig | None = None,
        render: Callable[[np.ndarray], np.ndarray] | None = None,
        seed: int = 0,
    ) -> None:
        self.config = config or PoolConfig()
        self.render = render
        self.seen = 0
        """Segments that were ever added."""
        self._seed, self._adds = seed, 0
        self._entries: list[_Entry] = []

    def __len__(self) -> int:
        return len(self._entries)

    def add(
        self,
        ends: np.ndarray,
        *,
        states: np.ndarray | None = None,
        frames: np.ndarray | None = None,
        embeddings: np.ndarray | None = None,
        progress: np.ndarray | None = None,
        valid: np.ndarray | None = None,
    ) -> int:
        """Take segments of a rollout of T steps and N worlds; return how many were taken.

        ends (T, N) bool: the episode ended with this step. states (T, N, S): what each step led to, before a reset.
        frames uint8 (T, N, H, W, 3), embeddings (T, N, D), progress (T, N), valid (T, N) bool as in a `Rollout`.
        Raises: UsageError for neither states that can be drawn nor frames, shapes that do not fit, frames that
            are not uint8, or numbers that are not finite in a row that counts.
        """
        ends = np.asarray(ends, bool)
        if ends.ndim != 2:
            raise usage_error("ends", f"shape {ends.shape}", "shape (T, N)", "give one row for each step")
        valid = np.ones(ends.shape, bool) if valid is None else np.asarray(valid, bool)
        given = {"states": states, "frames": frames, "embeddings": embeddings, "progress": progress}
        self._check(given, ends.shape, valid)
        if states is not None and self.render is not None:
            given["frames"] = None  # drawn again when asked for
        config = self.config
        rng = np.random.default_rng([self._seed, self._adds])  # a count is all there is to save of it
        self._adds += 1
        places = segment_starts(ends, valid, config.length, config.every, config.stride)
        if config.per_rollout is not None and len(places) > config.per_rollout:
            places = places[np.sort(rng.choice(len(places), config.per_rollout, replace=False))]
        for step, world in places:
            rows = slice(step, step + (config.length - 1) * config.every + 1, config.every)
            # Copies: a view would keep the whole rollout in memory.
            kept = {k: None if v is None else v[rows, world].copy() for k, v in given.items()}
            self._keep(_Entry(kept["states"], kept["frames"], kept["embeddings"], kept["progress"]), rng)
        return len(places)

    def draw(self, indices: Iterable[int]) -> list[Segment]:
        """Return the segments at these places, their frames drawn in chunks, each place once."""
        wanted = [int(index) for index in indices]
        late = [i for i in dict.fromkeys(wanted) if self._entries[i].frames is None]
        drawn: dict[int, Segment] = {}
        each = max(1, CHUNK // self.config.length)
        for first in range(0, len(late), each):
            part = late[first : first + each]
            states = np.concatenate([self._entries[i].states for i in part])  # type: ignore[arg-type]
            assert self.render is not None
            frames = np.asarray(self.render(states))
            frames = frames.reshape(len(part), self.config.length, *frames.shape[1:])
            drawn |= {i: self._segment(i, f) for i, f in zip(part, frames, strict=True)}
        for index in wanted:
            if index not in drawn:
                drawn[index] = self._segment(index, self._entries[index].frames)  # type: ignore[arg-type]
        return [drawn[index] for index in wanted]

    def keys(self, indices: Sequence[int] | None = None) -> list[str]:
        """Return the segments' keys (of their frames), drawing what was not drawn before, and keeping no frame."""
        wanted = range(len(self)) if indices is None else indices
        unknown = [i for i in wanted if self._entries[i].key is None]
        each = max(1, CHUNK // self.config.length)
        for first in range(0, len(unknown), each):
            self.draw(unknown[first : first + each])
        return [str(self._entries[i].key) for i in wanted]

    def known_key(self, index: int) -> str | None:
        """Return the key of the segment at this place, or None if it was never drawn."""
        return self._entries[index].key

    def embeddings(self, indices: Sequence[int]) -> np.ndarray:
        """Return embeddings float32 (B, L, D) of the segments at these places.

        Raises: UsageError where the rollout gave none.
        """
        found = [self._entries[i].embeddings for i in indices]
        if any(e is None for e in found):
            remedy = "give `embeddings` to `add`, or call `embed(encoder)` first"
            raise usage_error("pool", "segments without embeddings", "embeddings of each frame", remedy)
        return np.stack(found).astype(np.float32, copy=False)  # type: ignore[arg-type]

    def embed(self, encoder: Any) -> int:
        """Embed the segments that have no embeddings yet, in chunks; return how many these were."""
        lacking = [i for i, entry in enumerate(self._entries) if entry.embeddings is None]
        each = max(1, CHUNK // self.config.length)
        for first in range(0, len(lacking), each):
            part = lacking[first : first + each]
            for i, rows in zip(part, segment_embeddings(encoder, self.draw(part)), strict=True):
                self._entries[i].embeddings = rows
        return len(lacking)

    def batch(self, indices: Sequence[int], reads: str) -> np.ndarray:
        """Return what a model that reads "embeddings" or "frames" needs of these segments: (B, L, ...)."""
        if reads == "embeddings":
            return self.embeddings(indices)
        return np.stack([segment.frames for segment in self.draw(indices)])

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of what is kept, by name; for a pool whose segments were all added with the same arrays."""
        state = {"counters": np.array([self.seen, self._adds], np.int64)}
        for name in KEPT:
            found = [getattr(entry, name) for entry in self._entries]
            if found and found[0] is not None:
                state[name] = np.stack(found)
        return state

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Take over a `state_dict` of a pool of the same config and seed."""
        self.seen, self._adds = (int(value) for value in state["counters"])
        columns = [state.get(name) for name in KEPT]
        count = max((len(column) for column in columns if column is not None), default=0)
        self._entries = [
            _Entry(*(None if column is None else column[i].copy() for column in columns))
            for i in range(count)
        ]

    def _segment(self, index: int, frames: np.ndarray) -> Segment:
        entry = self._entries[index]
        segment = Segment(frames, entry.embeddings, entry.states, entry.progress)
        entry.key = segment.key
        return segment

    def _keep(self, entry: _Entry, rng: np.random.Generator) -> None:
        self.seen += 1
        if len(self._entries) < self.config.capacity:
            self._entries.append(entry)
        elif self.config.keep == "recent":
            self._entries[(self.seen - 1) % self.config.capacity] = entry
        else:  # reservoir sampling: every segment ever seen is equally likely to be here
            place = int(rng.integers(self.seen))
            if place < self.config.capacity:
                self._entries[place] = entry

    def _check(self, given: dict[str, np.ndarray | None], grid: tuple[int, ...], valid: np.ndarray) -> None:
        frames, states = given["frames"], given["states"]
        if frames is None and (states is None or self.render is None):
            got = "no frames" + (" and states" if states is None else ", and states that nothing can draw")
            raise usage_error(
                "rollout", got, "states and `render`, or frames", "pass a World's render_states"
            )
        axes = {"states": 3, "frames": 5, "embeddings": 3, "progress": 2}
        if valid.shape != grid:
            raise usage_error("valid", f"shape {valid.shape}", f"shape {grid}", "one entry for each row")
        for name, array in given.items():
            if array is None:
                continue
            if array.ndim != axes[name] or array.shape[:2] != grid:
                expected = f"{axes[name]} axes, the first two {grid}"
                raise usage_error(name, f"shape {array.shape}", expected, "stack T steps of N worlds")
            if name == "frames":
                if array.dtype != np.uint8 or array.shape[-1] != 3:
                    remedy = "render as uint8; values in [0, 1] are (x * 255).round().astype('uint8')"
                    raise usage_error(name, f"{array.dtype} {array.shape}", "uint8 (T, N, H, W, 3)", remedy)
                continue
            bad = ~np.isfinite(array.reshape(*grid, -1)).all(axis=-1) & valid
            if bad.any():
                step, world = np.argwhere(bad)[0]
                got = f"a number that is not finite at step {step}, world {world}"
                raise usage_error(name, got, "finite numbers where `valid`", "mark such rows as not valid")
