"""Frames of this project's worlds, drawn by the ray tracer or by GL, in their own looks or in others."""

from __future__ import annotations

from collections.abc import Callable

import mujoco
import numpy as np
from PIL import Image

from experiments.embedded.variation import SCENES, base_of_looks, redecorated, vary
from vlmrl_envs.rendering import make_renderer
from vlmrl_envs.rendering.looks import LooksRenderer
from vlmrl_envs.rules import WorldRules

SIZE = 64
CHUNK = 512
"""Looks in memory at once."""
Sampler = Callable[[np.random.Generator, int], np.ndarray]
"""Draws n states (n, S)."""
Maker = Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]
"""Draws frames (n, 64, 64, 3) uint8 and the degrees (n, F) of what can be said of each."""


def shrink(frames: np.ndarray) -> np.ndarray:
    """Squash frames (n, H, W, 3) to 64 x 64, antialiased bicubic as the encoder does."""
    if frames.shape[1:3] == (SIZE, SIZE):
        return frames
    return np.stack(
        [np.asarray(Image.fromarray(f).resize((SIZE, SIZE), Image.Resampling.BICUBIC)) for f in frames]
    )


def sample(draw: Sampler, rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw n states (n, S), at most 2,000 at a time."""
    return np.concatenate([draw(rng, min(2000, n - first)) for first in range(0, n, 2000)])


def in_looks(
    base: mujoco.MjModel,
    camera: str,
    qpos: np.ndarray,
    rng: np.random.Generator,
    split: str = "train",
    size: int = SIZE,
) -> np.ndarray:
    """Draw qpos (n, nq), each with its own camera place, lens, light and colours, as frames (n, 64, 64, 3).

    `base` comes from `variation.base_of_looks`; "held_out" draws cameras and lights that training never sees.
    """
    renderer = LooksRenderer(base, camera, (size, size))
    frames = []
    for part in np.array_split(qpos, max(1, -(-len(qpos) // CHUNK))):
        frames.append(shrink(renderer.render(part, [vary(base, camera, rng, split) for _ in part])))
    renderer.close()
    return np.concatenate(frames)


def world_source(
    rules: WorldRules,
    n: int,
    variants: int = 0,
    size: int = SIZE,
    renderer_name: str = "warp",
    draw: Sampler | None = None,
) -> Maker:
    """Return a source of n frames of a world in its own looks; or each in another, on so many floors, under so many skies.

    States are the world's own, or what `draw` draws.
    """

    def make(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        camera, scene = rules.cameras[0], SCENES[rules.name]
        states = sample(draw or rules.sample_states, rng, n)
        qpos = rules.split(states)[0]
        if variants:
            bases = (base_of_looks(redecorated(rules.build_spec(), scene, rng)) for _ in range(variants))
            parts = np.array_split(qpos, variants)
            drawn = [in_looks(base, camera, part, rng) for base, part in zip(bases, parts, strict=True)]
            return np.concatenate(drawn), rules.fact_degrees(states)
        renderer = make_renderer(renderer_name, rules.model, camera, (size, size))
        frames = shrink(renderer.render(qpos))
        renderer.close()
        return frames, rules.fact_degrees(states)

    return make
