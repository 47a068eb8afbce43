"""Frames of Meta-World's three tasks, by the package itself, drawn as `vlmrl_envs.metaworld` draws them."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from experiments.embedded import splits
from experiments.embedded.drawing import SIZE, Maker
from experiments.embedded.variation import vary
from vlmrl_envs import metaworld, metaworld_scenes
from vlmrl_envs.rendering.warp import WarpRenderer

WORLDS = tuple(metaworld_scenes.GRAMMARS)
LOOKS = ("cam_pos", "cam_quat", "cam_fovy", "light_dir", "light_diffuse", "geom_rgba")
"""What differs from frame to frame in other looks; the headlight cannot, materials do not: the words name their colours."""


def is_installed() -> bool:
    """Tell whether the package is there."""
    return importlib.util.find_spec("metaworld") is not None


def source(world: str, n: int, varied: bool = False) -> Maker:
    """Return a source of n frames of a world by its own camera, or each from another place under other lights and colours."""

    def make(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        scenes = metaworld_scenes.sample(world, rng, n)
        return picture(world, scenes, rng if varied else None), metaworld_scenes.fact_degrees(world, scenes)

    return make


def picture(
    world: str, scenes: np.ndarray, rng: np.random.Generator | None = None, split: str = "train"
) -> np.ndarray:
    """Draw scenes (n, S) of a world as frames (n, 64, 64, 3); with an rng each in a look of its own, see `variation.vary`."""
    task, n = world.replace("_", "-"), len(scenes)
    inner = metaworld.load(task)
    inner.seed(0)
    inner.reset()
    model, camera = metaworld.drawn_of(inner, task, "task")
    qpos, bodies = metaworld_scenes.placed(world, inner, scenes)
    fields = {"body_pos": bodies, "body_quat": np.repeat(model.body_quat[None], n, axis=0)}
    if rng is not None:
        fields |= _looks(model, camera, n, rng, split)
    renderer = WarpRenderer(model, camera, (SIZE, SIZE), world_fields=tuple(fields))
    try:
        return renderer.render(qpos, fields)
    finally:
        renderer.close()


def _looks(model: Any, camera: str, n: int, rng: np.random.Generator, split: str) -> dict[str, np.ndarray]:
    """Return what n looks are made of, by field (n, ...).

    A look is a copy of the whole model, meshes and all, and goes at once; rows kept between them would pin its memory.
    Cameras are nearer or farther from what they look at, which is not the world's origin.
    """
    found = {name: np.empty((n, *getattr(model, name).shape)) for name in LOOKS}
    index = model.camera(camera).id
    for i in range(n):
        look = vary(model, camera, rng, split)
        away = (metaworld.EYE - metaworld.AIM) * splits.distance(rng, split)
        look.cam_pos[index] = metaworld.AIM + away + rng.normal(0.0, 0.015, 3)
        for name, rows in found.items():
            rows[i] = getattr(look, name)
    return found
