"""Worlds as a source: frames of their own `sample_states`, and what their words say of them."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vlmrl.adapt.cache import Part, cached_store
from vlmrl.adapt.checks import checked_captions, checked_degrees, checked_states
from vlmrl.adapt.config import WorldSource
from vlmrl.adapt.pairs import Known, Store, fit_square, split_tail
from vlmrl.adapt.stored import world_grammar
from vlmrl.errors import usage_error
from vlmrl.frames import Interpolation, check_frames
from vlmrl.runtime import without_display
from vlmrl.tasks import check_env, slug

CHUNK = 256
"""Frames in memory at once."""
NOMINAL = 20_000
"""What a world that draws every batch anew counts for beside others."""
NEEDED = ("sample_states", "describe", "render_states")
"""The methods that a world must have: of the World protocol, these alone."""
MAX_DRAWS = 100
"""Draws of states, of which some may be held out, until there are enough."""


def world_name(env_id: str) -> str:
    """Return the name of a world's family: its folder in vlmrl_envs, or its id as a slug."""
    from vlmrl_envs import WORLDS

    namespace, _, name = env_id.rpartition("/")
    return WORLDS[name] if namespace == "vlmrl" and name in WORLDS else slug(env_id)


class WorldFrames:
    """A world that draws its own states and says what is true of them.

    A world with a grammar (`grammar` and `fact_degrees(states)`, of its own or of its `rules`; the worlds of
    vlmrl_envs keep theirs in captions.py) is judged sentence by sentence, and states that show what it holds out are
    passed over; any other is judged by what `describe` says.
    """

    def __init__(self, source: WorldSource, size: int, interpolation: Interpolation = "bicubic") -> None:
        """Open the world of `source`, to be drawn at `size` pixels.

        Raises: UsageError if it is unknown, or lacks a method that is needed.
        """
        self.name = world_name(source.env_id)
        self.envs = _open(source)
        self.world = self.envs.unwrapped
        self.size = size
        self.interpolation: Interpolation = interpolation
        owner = self.world if hasattr(self.world, "fact_degrees") else getattr(self.world, "rules", None)
        self.grammar = getattr(owner, "grammar", None) or world_grammar(self.name)
        self._degrees = getattr(owner, "fact_degrees", None) if self.grammar is not None else None
        self.grammar = self.grammar if self._degrees is not None else None
        self._held_keys: set[int] = set()
        """Keys of the states that were drawn anew to be held out."""
        self._warned = False

    count = NOMINAL
    held_out = NOMINAL

    def draw(self, rng: np.random.Generator, n: int, held_out: bool = False) -> tuple[np.ndarray, Known]:
        """Draw n states anew and their frames uint8 (n, S, S, 3).

        Two generators give other states, save in a world that has few: that is warned of, once.
        """
        if n == 0:
            known = (
                Known(captions=[])
                if self.grammar is None
                else Known(degrees=np.zeros((0, len(self.grammar.facts))))
            )
            return np.zeros((0, self.size, self.size, 3), np.uint8), known
        states = self.states(rng, n)
        self._note(states, held_out)
        frames, about = self.look(states)
        return frames, Known(captions=about) if self.grammar is None else Known(degrees=np.array(about))

    def states(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw n states (n, S) that training may see: none shows a composition that the grammar holds out.

        Raises: UsageError if hardly any may be seen, or what the world gives is no states or degrees.
        """
        if self._degrees is None or not hasattr(self.grammar, "held_pairs"):
            return checked_states(self.name, self.world.sample_states(rng, n), n)
        from vlmrl_envs.held_out import training_states

        found: list[np.ndarray] = []
        for _ in range(MAX_DRAWS):
            states = checked_states(self.name, self.world.sample_states(rng, n), n)
            seen = training_states(self.grammar, self._facts(states))
            found.append(states[seen])
            if sum(map(len, found)) >= n:
                return np.concatenate(found)[:n]
        got = f"{self.name}, whose states nearly all show what its grammar holds out"
        raise usage_error("world", got, "states that training may see", "draw others in sample_states")

    def look(self, states: np.ndarray) -> tuple[np.ndarray, Any]:
        """Return frames (n, S, S, 3) of states and, for each, degrees (F,) or truths by caption.

        Raises: UsageError for frames, degrees or captions that nothing could be learnt from.
        """
        drawn = self.world.render_states(states, size=(self.size, self.size))
        check_frames(drawn, f"frames of {self.name}")
        if len(drawn) != len(states):
            got = f"{self.name}, whose render_states gives {len(drawn)} frames of {len(states)} states"
            raise usage_error("world", got, f"{len(states)} frames", "draw one of each state")
        frames = fit_square(drawn, self.size, self.interpolation)
        if self._degrees is not None:
            return frames, self._facts(states).astype(np.float32)
        return frames, [checked_captions(self.name, self.world.describe(state)) for state in states]

    def _facts(self, states: np.ndarray) -> np.ndarray:
        """Return the degrees float64 (n, F) to which the grammar's facts hold in states."""
        assert self._degrees is not None
        facts = getattr(self.grammar, "facts", None)
        return checked_degrees(
            self.name, self._degrees(states), len(states), None if facts is None else len(facts)
        )

    def _note(self, states: np.ndarray, held_out: bool) -> None:
        """Remember the states that are held out, and warn at the first that are trained on as well."""
        if held_out:
            self._held_keys.update(_keys(states))
        elif not self._warned:
            shared = sum(key in self._held_keys for key in _keys(states))
            self._warned = shared > 0
            self._warn(shared, f"a batch's {len(states)}")

    def _warn(self, shared: int, total: str) -> None:
        if shared:
            text = f"{self.name}: {shared} of {total} states are both trained on and held out; expected none"
            remedy = "its sample_states draws too few different ones for a validation on what is new"
            warnings.warn(f"{text}; {remedy}", stacklevel=2)

    def parts(self, seed: int, n: int, held_out: float) -> Iterator[Part]:
        """Yield n frames in chunks, with what is known of them; the last share `held_out` is not to be trained on."""
        rng = np.random.default_rng([seed, zlib.crc32(self.name.encode())])
        keys: list[int] = []
        for start in range(0, n, CHUNK):
            states = self.states(rng, min(CHUNK, n - start))
            keys += _keys(states)
            yield self.look(states)
        rows, out = split_tail(n, held_out)
        trained = set(keys[: len(rows)])
        self._warn(sum(key in trained for key in keys[len(rows) :]), f"{len(out)} held-out")


def _keys(states: np.ndarray) -> list[int]:
    """Return a number for each state, the same for equal ones."""
    return [hash(state.tobytes()) for state in states]


def _open(source: WorldSource) -> Any:
    import gymnasium

    check_env(source.env_id)
    without_display()
    options: dict[str, Any] = dict(source.env_kwargs)
    make: Callable[..., Any] = gymnasium.make
    if gymnasium.spec(source.env_id).vector_entry_point is not None:
        options |= {"num_envs": 1, "vectorization_mode": "vector_entry_point"}
        make = gymnasium.make_vec
    try:
        envs = make(source.env_id, **options)
    except (TypeError, gymnasium.error.Error, ImportError) as error:
        got = f"{source.env_id} with {dict(source.env_kwargs)} ({error})"
        raise usage_error("world", got, "a world that can be made", "check its arguments") from error
    missing = [name for name in NEEDED if not callable(getattr(envs.unwrapped, name, None))]
    if missing:
        envs.close()
        got = f"{source.env_id} without {', '.join(missing)}"
        remedy = "give it sample_states(rng, n), describe(state) and render_states(states, size=(H, W))"
        raise usage_error("world", got, f"an env with {', '.join(NEEDED)}", remedy)
    return envs


def open_world(
    source: WorldSource,
    size: int,
    held_out: float,
    seed: int,
    cache: Path,
    most: int,
    check: Callable[[list[str]], None] = lambda texts: None,
    interpolation: Interpolation = "bicubic",
) -> tuple[Store, Any]:
    """Return a world's frames, drawn into the cache (at most `most`) or anew for each batch, and its grammar.

    `check` refuses captions that the model cannot read; of frames drawn anew they are passed over.
    """
    world = WorldFrames(source, size, interpolation)
    if source.frames == 0:
        return world, world.grammar
    n = min(source.frames, most)
    if n < source.frames:
        text = f"{source.env_id}: {n} frames are drawn, not {source.frames} (raise --cache-gib for more)"
        warnings.warn(text, stacklevel=2)
    if n < 2:
        raise usage_error("world frames", n, "2 or more, or 0 to draw each batch anew", "20000 is usual")
    store = cached_store(
        cache,
        world.name,
        size,
        n,
        lambda: world.parts(seed, n, held_out),
        lambda known: split_tail(len(known), held_out),
        interpolation,
    )
    world.envs.close()
    check(list(dict.fromkeys(text for captions in store.known.captions or () for text in captions)))
    return store, world.grammar
