"""Render the frames that the embedded encoder is trained on, with the degrees of what can be said of each.

    python -m experiments.embedded.data --out data/embedded          # about 8 minutes on two cores
    python -m experiments.embedded.data --out data/embedded --only gl   # the part that needs GL, a process of its own

Every source is a file of frames (n, 64, 64, 3) uint8 and one of degrees (n, F) float16, named by its world.
"""

from __future__ import annotations

import argparse
import copy
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import mujoco
import numpy as np
from PIL import Image

from experiments.embedded import splits
from vlmrl_envs.captions import ramp
from vlmrl_envs.cartpole import captions as cartpole_captions
from vlmrl_envs.cartpole.rules import CartPole
from vlmrl_envs.humanoid import model as humanoid_model
from vlmrl_envs.humanoid.rules import Humanoid
from vlmrl_envs.mountain_car import captions as mountain_captions
from vlmrl_envs.mountain_car.rules import MountainCar
from vlmrl_envs.rendering import make_renderer
from vlmrl_envs.rendering.gl import GLRenderer
from vlmrl_envs.rules import WorldRules

SIZE = 64
Source = tuple[str, Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]]


def vary(
    model: mujoco.MjModel, camera: str, rng: np.random.Generator, split: str = "train"
) -> mujoco.MjModel:
    """Return a copy of a model with another camera place, lens, light and colours; "held_out" for unseen ones."""
    model = copy.copy(model)
    index = model.camera(camera).id
    position = model.cam_pos[index] * splits.distance(rng, split) + rng.normal(0.0, 0.06, 3)
    model.cam_pos[index] = position
    model.cam_fovy[index] *= rng.uniform(0.92, 1.1)
    turn = np.zeros(4)
    mujoco.mju_euler2Quat(turn, rng.normal(0.0, 0.03, 3), "xyz")
    quat = np.zeros(4)
    mujoco.mju_mulQuat(quat, model.cam_quat[index], turn)
    model.cam_quat[index] = quat
    model.vis.headlight.ambient[:] = rng.uniform(0.25, 0.6)
    model.vis.headlight.diffuse[:] = splits.light(rng, split)
    if model.nlight:
        model.light_dir[:] += rng.normal(0.0, 0.25, model.light_dir.shape)
    model.geom_rgba[:, :3] = np.clip(
        model.geom_rgba[:, :3] * rng.uniform(0.75, 1.2, (1, 3)) + rng.normal(0, 0.05, (model.ngeom, 3)), 0, 1
    )
    model.mat_rgba[:, :3] = np.clip(model.mat_rgba[:, :3] * rng.uniform(0.75, 1.2, (1, 3)), 0, 1)
    return model


def world_source(rules: WorldRules, n: int, variants: int = 0, size: int = SIZE) -> Callable:
    """Return a source of n frames of a world, from its own camera or from n / variants frames of each variant."""

    def make(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        camera = rules.cameras[0]
        states = np.concatenate([rules.sample_states(rng, 2000) for _ in range(-(-n // 2000))])[:n]
        models = [vary(rules.model, camera, rng) for _ in range(variants)] or [rules.model]
        frames = []
        for model, part in zip(models, np.array_split(states, len(models)), strict=True):
            renderer = make_renderer("warp", model, camera, (size, size))
            frames.append(shrink(renderer.render(rules.split(part)[0])))
            renderer.close()
        return np.concatenate(frames), rules.fact_degrees(states)

    return make


def shrink(frames: np.ndarray) -> np.ndarray:
    """Squash frames (n, H, W, 3) to 64 x 64, antialiased bicubic as the encoder does."""
    if frames.shape[1:3] == (SIZE, SIZE):
        return frames
    return np.stack(
        [np.asarray(Image.fromarray(f).resize((SIZE, SIZE), Image.Resampling.BICUBIC)) for f in frames]
    )


def gymnasium_cartpole(n: int) -> Callable:
    """Return a source of n frames of Gymnasium's own CartPole-v1, drawn by itself."""

    def make(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        import gymnasium

        env = gymnasium.make("CartPole-v1", render_mode="rgb_array").unwrapped
        env.reset(seed=0)
        x = rng.uniform(-2.9, 2.9, n) * rng.uniform(0.2, 1.0, n)
        angle = np.where(rng.random(n) < 0.45, rng.normal(0.0, 0.22, n), rng.uniform(-np.pi, np.pi, n))
        frames = []
        for state in np.stack([x, 0 * x, angle, 0 * x], axis=1):
            env.state = state
            frames.append(shrink(env.render()[None])[0])
        seen = ramp(np.abs(x), 2.75, 2.4)[:, None]
        return np.stack(frames), cartpole_captions.degrees(x, angle, reach=2.4) * seen

    return make


def gymnasium_mountain_car(n: int) -> Callable:
    """Return a source of n frames of Gymnasium's own MountainCarContinuous-v0, drawn by itself."""

    def make(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        import gymnasium

        env = gymnasium.make("MountainCarContinuous-v0", render_mode="rgb_array").unwrapped
        env.reset(seed=0)
        x = np.where(rng.random(n) < 0.25, rng.uniform(0.4, 0.6, n), rng.uniform(-1.2, 0.6, n))
        frames = []
        for place in x:
            env.state = np.array([place, 0.0])
            frames.append(shrink(env.render()[None])[0])
        return np.stack(frames), mountain_captions.degrees(x)

    return make


def stock_humanoid_model() -> mujoco.MjModel:
    """Return Gymnasium's own humanoid with a camera where Humanoid-v5's default one is: it looks at (0, 0, 2)."""
    spec = mujoco.MjSpec.from_file(str(humanoid_model.stock_path()))
    spec.option.solver = mujoco.mjtSolver.mjSOL_NEWTON
    down = np.deg2rad(20.0)
    spec.worldbody.add_camera(
        name="gymnasium", fovy=45.0, pos=[0, -4 * np.cos(down), 2 + 4 * np.sin(down)], xyaxes=[1, 0, 0, 0, np.sin(down), np.cos(down)],
    )  # fmt: skip
    return spec.compile()


def stock_humanoid(n: int, renderer_name: str, variants: int = 1) -> Callable:
    """Return a source of n frames of Gymnasium's own humanoid in its own colours, from its own default camera."""

    def make(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        rules = Humanoid()
        states = np.concatenate([rules.sample_states(rng, 2000) for _ in range(-(-n // 2000))])[:n]
        frames = []
        for k, part in enumerate(np.array_split(states, variants)):
            model = stock_humanoid_model()
            if k:
                model = vary(model, "gymnasium", rng)
            hazy = renderer_name == "gl"
            renderer = (
                GLRenderer(model, "gymnasium", (96, 96), haze=True)
                if hazy
                else make_renderer("warp", model, "gymnasium", (96, 96))
            )
            frames.append(shrink(renderer.render(rules.split(part)[0])))
            renderer.close()
        return np.concatenate(frames), rules.fact_degrees(states)

    return make


def gymnasium_humanoid(n: int) -> Callable:
    """Return a source of n frames of Humanoid-v5 drawn by Gymnasium itself, shadows and reflections included."""

    def make(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        import gymnasium

        rules = Humanoid()
        states = rules.sample_states(rng, n)
        env = gymnasium.make("Humanoid-v5", render_mode="rgb_array", width=96, height=96).unwrapped
        env.reset(seed=0)
        frames = []
        for qpos, qvel in zip(*rules.split(states), strict=True):
            env.set_state(qpos, qvel)
            frames.append(shrink(env.render()[None])[0])
        return np.stack(frames), rules.fact_degrees(states)

    return make


def gl_world(rules: WorldRules, n: int) -> Callable:
    """Return a source of n frames of a world drawn by the classic GL renderer."""

    def make(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        states = rules.sample_states(rng, n)
        renderer = make_renderer("gl", rules.model, rules.cameras[0], (SIZE, SIZE))
        return renderer.render(rules.split(states)[0]), rules.fact_degrees(states)

    return make


def sources(which: str, scale: float) -> Iterator[Source]:
    """Yield (name, maker) of every source; the name's first word is the world."""
    n = lambda count: max(64, int(count * scale))  # noqa: E731
    if which == "gl":
        yield "humanoid-gl", gl_world(Humanoid(), n(6000))
        yield "humanoid-stock-gl", stock_humanoid(n(12000), "gl")
        yield "cartpole-gl", gl_world(CartPole(), n(3000))
        yield "mountain_car-gl", gl_world(MountainCar(), n(3000))
        yield "humanoid-gymnasium", gymnasium_humanoid(n(6000))
        return
    yield "cartpole-own", world_source(CartPole(), n(20000))
    yield "cartpole-varied", world_source(CartPole(), n(10000), variants=10)
    yield "cartpole-gymnasium", gymnasium_cartpole(n(16000))
    yield "mountain_car-own", world_source(MountainCar(), n(12000))
    yield "mountain_car-varied", world_source(MountainCar(), n(8000), variants=10)
    yield "mountain_car-gymnasium", gymnasium_mountain_car(n(12000))
    yield "humanoid-own", world_source(Humanoid(), n(90000))
    yield "humanoid-own96", world_source(Humanoid(), n(10000), size=96)
    yield "humanoid-varied", world_source(Humanoid(), n(40000), variants=20)
    yield "humanoid-stock", stock_humanoid(n(30000), "warp", variants=5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("data/embedded"))
    parser.add_argument("--only", choices=("warp", "gl"), default="warp")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full number of frames")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--leave-out", nargs="+", default=[], metavar="POSE", help="draw no state that shows these poses"
    )
    args = parser.parse_args()
    splits.grammars(args.leave_out)
    args.out.mkdir(parents=True, exist_ok=True)
    for name, make in sources(args.only, args.scale):
        path = args.out / f"{name}.frames.npy"
        if path.exists():
            continue
        started = time.time()
        frames, degrees = make(np.random.default_rng([args.seed, zlib.crc32(name.encode())]))
        kept = splits.kept(name.split("-")[0], degrees, args.leave_out)
        frames, degrees = frames[kept], degrees[kept]
        np.save(args.out / f"{name}.degrees.npy", degrees.astype(np.float16))
        np.save(path.with_suffix(".part.npy"), frames)
        path.with_suffix(".part.npy").rename(path)
        print(f"{name}: {len(frames)} frames in {time.time() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
