"""Frames of this project's worlds, drawn by the ray tracer or by GL, in their own looks or in others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from experiments.embedded.variation import SCENES, varied_model
from vlmrl_envs.rendering import make_renderer
from vlmrl_envs.rules import WorldRules

SIZE = 64
Maker = Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]
"""Draws frames (n, 64, 64, 3) uint8 and the degrees (n, F) of what can be said of each."""


def shrink(frames: np.ndarray) -> np.ndarray:
    """Squash frames (n, H, W, 3) to 64 x 64, antialiased bicubic as the encoder does."""
    if frames.shape[1:3] == (SIZE, SIZE):
        return frames
    return np.stack(
        [np.asarray(Image.fromarray(f).resize((SIZE, SIZE), Image.Resampling.BICUBIC)) for f in frames]
    )


def sample(rules: WorldRules, rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw n states (n, S), at most 2,000 at a time."""
    return np.concatenate([rules.sample_states(rng, min(2000, n - first)) for first in range(0, n, 2000)])


def world_source(
    rules: WorldRules, n: int, variants: int = 0, size: int = SIZE, renderer_name: str = "warp"
) -> Maker:
    """Return a source of n frames of a world, in its own looks, or n / variants frames of each of so many others."""

    def make(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        camera, scene = rules.cameras[0], SCENES[rules.name]
        states = sample(rules, rng, n)
        frames = []
        for part in np.array_split(states, max(1, variants)):
            model = varied_model(rules.build_spec(), scene, camera, rng) if variants else rules.model
            renderer = make_renderer(renderer_name, model, camera, (size, size))
            frames.append(shrink(renderer.render(rules.split(part)[0])))
            renderer.close()
        return np.concatenate(frames), rules.fact_degrees(states)

    return make
