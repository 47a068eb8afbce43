"""Frames of Gymnasium's own environments in their own colours, drawn by themselves or by this project's renderers."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from experiments.embedded.drawing import Maker, in_looks, sample, shrink
from experiments.embedded.variation import EXTENT, Scene, base_of_looks, redecorated, vary_looks
from vlmrl_envs.captions import ramp
from vlmrl_envs.cartpole import captions as cartpole_captions
from vlmrl_envs.mountain_car import captions as mountain_captions
from vlmrl_envs.pendulum.rules import Pendulum
from vlmrl_envs.rendering import make_renderer
from vlmrl_envs.rendering.gl import GLRenderer
from vlmrl_envs.rules import WorldRules
from vlmrl_envs.stock import compile_spec, load

STOCK: dict[str, tuple[str, str, tuple[float, float, float], float, float]] = {
    "Humanoid": ("Humanoid-v5", "humanoid.xml", (0.0, 0.0, 2.0), 4.0, 20.0),
    "Ant": ("Ant-v5", "ant.xml", (0.0, 0.0, 0.65), 4.0, 45.0),
    "HalfCheetah": ("HalfCheetah-v5", "half_cheetah.xml", (0.0, 0.0, 0.36), 4.0, 45.0),
    "Hopper": ("Hopper-v5", "hopper.xml", (0.0, 0.0, 1.15), 3.0, 20.0),
    "Walker2d": ("Walker2d-v5", "walker2d_v5.xml", (0.0, 0.0, 1.15), 4.0, 20.0),
    "Reacher": ("Reacher-v5", "reacher.xml", (0.0, 0.0, 0.01), 1.24, 45.0),
}
"""World -> Gymnasium's id and file, and its default camera: what it looks at, metres; its distance; degrees down."""
DRAWS_ITSELF = {
    "CartPole": "CartPole-v1",
    "MountainCar": "MountainCarContinuous-v0",
    "Pendulum": "Pendulum-v1",
}
"""World -> Gymnasium's id, where it draws without GL."""
CARTPOLE_REACH = 2.4
"""The end of Gymnasium's rail, metres."""


def gymnasium_cartpole(n: int) -> Maker:
    """Return a source of n frames of Gymnasium's own CartPole-v1, drawn by itself."""

    def make(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        env = _env("CartPole-v1")
        x = rng.uniform(-2.9, 2.9, n) * rng.uniform(0.2, 1.0, n)
        angle = np.where(rng.random(n) < 0.45, rng.normal(0.0, 0.22, n), rng.uniform(-np.pi, np.pi, n))
        frames = []
        for state in np.stack([x, 0 * x, angle, 0 * x], axis=1):
            env.state = state
            frames.append(shrink(env.render()[None])[0])
        seen = ramp(np.abs(x), 2.75, CARTPOLE_REACH)[:, None]
        return np.stack(frames), cartpole_captions.degrees(x, angle, reach=CARTPOLE_REACH) * seen

    return make


def gymnasium_mountain_car(n: int) -> Maker:
    """Return a source of n frames of Gymnasium's own MountainCarContinuous-v0, drawn by itself."""

    def make(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        env = _env("MountainCarContinuous-v0")
        x = np.where(rng.random(n) < 0.25, rng.uniform(0.4, 0.6, n), rng.uniform(-1.2, 0.6, n))
        frames = []
        for place in x:
            env.state = np.array([place, 0.0])
            frames.append(shrink(env.render()[None])[0])
        return np.stack(frames), mountain_captions.degrees(x)

    return make


def gymnasium_pendulum(n: int) -> Maker:
    """Return a source of n frames of Gymnasium's own Pendulum-v1, drawn by itself, half of them with the motor's arrow."""

    def make(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        env, rules = _env("Pendulum-v1"), Pendulum()
        states = rules.sample_states(rng, n)
        frames = []
        for angle, speed in states[:, 1:]:
            env.state = np.array([angle, speed])
            env.last_u = None if rng.random() < 0.5 else rng.uniform(-2.0, 2.0)
            frames.append(shrink(env.render()[None])[0])
        return np.stack(frames), rules.fact_degrees(states)

    return make


def gymnasium_frames(rules: WorldRules, states: np.ndarray) -> np.ndarray:
    """Draw states (B, S) as Gymnasium shows its own environment, uint8 (B, 64, 64, 3).

    By itself where that needs no GL; else its body, floor, sky and camera by the ray tracer.
    """
    if rules.name in STOCK:
        model = compile_spec(stock_spec(rules.name))
        renderer = make_renderer("warp", model, "gymnasium", (96, 96))
        try:
            return shrink(renderer.render(rules.split(states)[0]))
        finally:
            renderer.close()
    env = _env(DRAWS_ITSELF[rules.name])
    frames = []
    for qpos, qvel in zip(*rules.split(states), strict=True):
        if rules.name == "CartPole":
            env.state = np.array([qpos[0] * CARTPOLE_REACH / cartpole_captions.REACH, 0.0, qpos[1], 0.0])
        else:
            env.state = np.array([qpos[0], qvel[0]])
        frames.append(shrink(env.render()[None])[0])
    env.close()
    return np.stack(frames)


def stock_spec(world: str) -> mujoco.MjSpec:
    """Return Gymnasium's own body with a camera where its default one is."""
    _, file, target, distance, degrees_down = STOCK[world]
    spec, down = load(file), np.deg2rad(degrees_down)
    spec.worldbody.add_camera(
        name="gymnasium", fovy=45.0, pos=np.array(target) + distance * np.array([0, -np.cos(down), np.sin(down)]),
        xyaxes=[1, 0, 0, 0, np.sin(down), np.cos(down)],
    )  # fmt: skip
    spec.stat.extent = EXTENT
    return spec


def stock_body(rules: WorldRules, n: int, renderer_name: str) -> Maker:
    """Return a source of n frames of Gymnasium's own body, floor and sky from its own default camera.

    By GL as it is; by the ray tracer a quarter as it is, the others each from near that camera, in near colours.
    """

    def make(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        states = sample(rules.sample_states, rng, n)
        qpos, plain = rules.split(states)[0], n if renderer_name == "gl" else n // 4
        model, side = compile_spec(stock_spec(rules.name)), (96, 96)
        renderer = (
            GLRenderer(model, "gymnasium", side, haze=True)
            if renderer_name == "gl"
            else make_renderer("warp", model, "gymnasium", side)
        )
        frames = [shrink(renderer.render(qpos[:plain]))]
        renderer.close()
        if plain < n:
            base = base_of_looks(stock_spec(rules.name))
            frames.append(in_looks(base, "gymnasium", qpos[plain:], rng, size=96))
        return np.concatenate(frames), rules.fact_degrees(states)

    return make


def gymnasium_body(rules: WorldRules, n: int, variants: int = 1) -> Maker:
    """Return a source of n frames of a `-v5` environment drawn by Gymnasium itself, shadows and reflections included.

    The first half shows it as it is. The other half is shared by `variants - 1` others: Gymnasium loads its file with
    other limbs, floor, sky and things around, under other lights and colours, and looks from another place.
    """

    def make(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        states = sample(rules.sample_states, rng, n)
        parts = [states]
        if variants > 1:
            parts = [states[: n // 2], *np.array_split(states[n // 2 :], variants - 1)]
        with tempfile.TemporaryDirectory() as folder:
            frames = [_drawn(rules, part, rng if k else None, Path(folder)) for k, part in enumerate(parts)]
        return np.concatenate(frames), rules.fact_degrees(states)

    return make


def _drawn(
    rules: WorldRules, states: np.ndarray, rng: np.random.Generator | None, folder: Path
) -> np.ndarray:
    """Return frames of states drawn by Gymnasium; with an rng, in a look drawn from it."""
    name, file, *_ = STOCK[rules.name]
    options: dict[str, Any] = {"width": 96, "height": 96}
    if rng is not None:
        scene = (
            Scene((0, 1), 1.2) if rules.name != "Reacher" else Scene((0, 0), 0.25)
        )  # it looks along y everywhere
        path = folder / "variant.xml"
        path.write_text(redecorated(load(file), scene, rng).to_xml())
        options["xml_file"] = str(path)
    env = _env(name, **options)
    quality = env.model.vis.quality
    quality.shadowsize, quality.offsamples = (
        512,
        0,
    )  # ten times faster on software GL; the picture is shrunk anyway
    if rng is not None:
        vary_looks(env.model, rng)
    env.render()
    if rng is not None:
        camera = env.mujoco_renderer.viewer.cam
        camera.azimuth += rng.normal(0.0, 10.0)
        camera.elevation += rng.normal(0.0, 6.0)
        camera.distance *= rng.uniform(0.75, 1.1)
    frames = []
    for qpos, qvel in zip(*rules.split(states), strict=True):
        env.set_state(qpos, qvel)
        frames.append(shrink(env.render()[None])[0])
    env.close()
    return np.stack(frames)


def _env(name: str, **options: Any) -> Any:
    """Make one of Gymnasium's environments, bare and reset."""
    import gymnasium

    env: Any = gymnasium.make(name, render_mode="rgb_array", **options).unwrapped
    env.reset(seed=0)
    return env
