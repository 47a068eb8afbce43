"""Render the frames that the embedded encoder is trained on, with the degrees of what can be said of each.

    python -m experiments.embedded.data --out data/embedded          # a source on each core
    python -m experiments.embedded.data --out data/embedded --only gl   # the part that needs GL, by itself

Every source is a file of frames (n, 64, 64, 3) uint8 and one of degrees (n, F) float16, named by its world.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path

import numpy as np

from experiments.embedded import manifest, metaworld, splits, stock
from experiments.embedded.drawing import Maker, world_source
from vlmrl.errors import UsageError
from vlmrl.runtime import cores, limit_threads
from vlmrl_envs.ant.rules import Ant
from vlmrl_envs.cartpole.rules import CartPole
from vlmrl_envs.errors import WorldError
from vlmrl_envs.fold_cloth.rules import FoldCloth
from vlmrl_envs.half_cheetah.rules import HalfCheetah
from vlmrl_envs.hopper.rules import Hopper
from vlmrl_envs.humanoid import sampling
from vlmrl_envs.humanoid.rules import Humanoid
from vlmrl_envs.mountain_car.rules import MountainCar
from vlmrl_envs.pass_water.rules import PassWater
from vlmrl_envs.pendulum.rules import Pendulum
from vlmrl_envs.reacher.rules import Reacher
from vlmrl_envs.rules import WorldRules
from vlmrl_envs.straighten_rope.rules import StraightenRope
from vlmrl_envs.walker2d.rules import Walker2d

WORLDS: dict[str, type[WorldRules]] = {
    "cartpole": CartPole, "mountain_car": MountainCar, "humanoid": Humanoid, "ant": Ant, "half_cheetah": HalfCheetah,
    "hopper": Hopper, "walker2d": Walker2d, "reacher": Reacher, "pendulum": Pendulum,
    "straighten_rope": StraightenRope, "fold_cloth": FoldCloth, "pass_water": PassWater,
}  # fmt: skip
WARP: dict[str, tuple[int, int, int, int]] = {
    #               own  varied  looks  stock body
    "cartpole":     (20000, 12000, 24, 0),
    "mountain_car": (12000, 10000, 20, 0),
    "humanoid":     (90000, 40000, 80, 30000),
    "ant":          (20000, 16000, 32, 6000),
    "half_cheetah": (20000, 16000, 32, 6000),
    "hopper":       (20000, 16000, 32, 6000),
    "walker2d":     (24000, 20000, 40, 8000),
    "reacher":      (14000, 10000, 20, 4000),
    "pendulum":     (10000, 8000, 16, 0),
    "straighten_rope": (14000, 10000, 20, 0),
    "fold_cloth":   (14000, 10000, 20, 0),
    "pass_water":   (14000, 10000, 20, 0),
}  # fmt: skip
"""World -> frames by the ray tracer: in its own looks, in other looks, how many looks, Gymnasium's colours and camera."""
GL: dict[str, tuple[int, int, int]] = {
    #               own   stock body  Gymnasium's own
    "cartpole":     (3000, 0, 16000),
    "mountain_car": (3000, 0, 12000),
    "humanoid":     (6000, 12000, 6000),
    "ant":          (2000, 2000, 2400),
    "half_cheetah": (2000, 2000, 2400),
    "hopper":       (2000, 2000, 2400),
    "walker2d":     (2000, 2000, 2400),
    "reacher":      (1500, 1500, 2400),
    "pendulum":     (1500, 0, 8000),
    "straighten_rope": (1500, 0, 0),
    "fold_cloth":   (1500, 0, 0),
    "pass_water":   (1500, 0, 0),
}  # fmt: skip
"""World -> frames by GL: in its own looks, Gymnasium's colours and camera, and drawn by Gymnasium's environment itself."""
ARMS = (45000, 20000, 40)
"""Frames by the ray tracer of the humanoid's arms on their way: in its own looks, in other looks, how many looks."""
META_WORLD = (10000, 8000)
"""Frames of each of Meta-World's tasks by the ray tracer: in its own looks, in other looks."""
DRAWS_ITSELF = {
    "cartpole": stock.gymnasium_cartpole, "mountain_car": stock.gymnasium_mountain_car, "pendulum": stock.gymnasium_pendulum,
}  # fmt: skip
"""Worlds whose Gymnasium environment draws without GL."""
GYMNASIUM_LOOKS = 13
LONGEST = "humanoid"
"""The world whose sources take longest: they begin first."""


def sources(which: str, scale: float, worlds: Sequence[str] = tuple(WORLDS)) -> Iterator[tuple[str, Maker]]:
    """Yield (name, maker) of every source; the name's first word is the world."""
    n = lambda count: max(64, int(count * scale))  # noqa: E731
    for world in worlds:
        if world in metaworld.WORLDS:
            if which == "warp":
                yield f"{world}-own", metaworld.source(world, n(META_WORLD[0]))
                yield f"{world}-varied", metaworld.source(world, n(META_WORLD[1]), varied=True)
            continue
        make = WORLDS[world]
        own, stock_gl, itself = GL[world]
        if which == "gl":
            yield f"{world}-gl", world_source(make(), n(own), renderer_name="gl")
            if stock_gl:
                yield f"{world}-stock-gl", stock.stock_body(make(), n(stock_gl), "gl")
            if itself and world not in DRAWS_ITSELF:
                yield f"{world}-gymnasium", stock.gymnasium_body(make(), n(itself), GYMNASIUM_LOOKS)
            continue
        count, varied, looks, stock_warp = WARP[world]
        yield f"{world}-own", world_source(make(), n(count))
        yield f"{world}-own96", world_source(make(), n(count // 9), size=96)
        yield f"{world}-varied", world_source(make(), n(varied), variants=looks)
        if stock_warp:
            yield f"{world}-stock", stock.stock_body(make(), n(stock_warp), "warp")
        if world == "humanoid":
            count, varied, looks = ARMS
            arms = partial(sampling.sample_arms, make())
            yield f"{world}-arms", world_source(make(), n(count), draw=arms)
            yield f"{world}-arms-varied", world_source(make(), n(varied), variants=looks, draw=arms)
        if world in DRAWS_ITSELF:
            yield f"{world}-gymnasium", DRAWS_ITSELF[world](n(itself))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("data/embedded"))
    parser.add_argument("--only", choices=("warp", "gl"), default="warp")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full number of frames")
    every = [*WORLDS, *metaworld.WORLDS]
    there = every if metaworld.is_installed() else list(WORLDS)
    parser.add_argument("--worlds", nargs="+", default=there, choices=every, metavar="WORLD")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--leave-out", nargs="+", default=[], metavar="POSE", help="draw no state that shows these poses"
    )
    parser.add_argument("--jobs", type=int, help="sources drawn at once; a core each by default")
    parser.add_argument(
        "--as-they-are", action="store_true", help="take the files that are there, whatever drew them"
    )
    args = parser.parse_args()
    splits.grammars(args.leave_out)
    args.out.mkdir(parents=True, exist_ok=True)
    try:
        draw(args)
    except (UsageError, WorldError) as error:
        sys.exit(f"error: {error}")


def draw(args: argparse.Namespace) -> None:
    """Draw the sources that are not there, as many at once as there are cores.

    Raises: UsageError for one that other code or settings drew.
    """
    wanted = {
        name: manifest.drawn_by(name.split("-")[0], args.seed, args.scale, args.leave_out)
        for name, _ in sources(args.only, args.scale, args.worlds)
    }
    there = (lambda name: frames_of(args.out, name).exists()) if args.as_they_are else (
        lambda name: manifest.is_there(args.out, name, wanted[name])
    )  # fmt: skip
    missing = sorted(
        (name for name in wanted if not there(name)), key=lambda name: name.split("-")[0] != LONGEST
    )
    for name, count, seconds in drawn(missing, args):
        manifest.note(args.out, name, wanted[name])
        part_of(args.out, name).rename(frames_of(args.out, name))
        print(f"{name}: {count} frames in {seconds:.0f} s", flush=True)


def drawn(names: Sequence[str], args: argparse.Namespace) -> Iterator[tuple[str, int, float]]:
    """Draw sources, each in a process of its own unless `args.jobs` is 1; yield name, frames and seconds of each that is done."""
    jobs = min(args.jobs or cores(), len(names))
    if jobs <= 1:
        yield from ((name, *draw_source(name, args)) for name in names)
        return
    threads = max(1, cores() // jobs)
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), limit_threads, (threads,)) as pool:
        running = {pool.submit(draw_source, name, args): name for name in names}
        try:
            for done in as_completed(running):
                yield (running[done], *done.result())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def draw_source(name: str, args: argparse.Namespace) -> tuple[int, float]:
    """Draw one source, its frames into a file that is not yet called done; return how many, and the seconds it took."""
    started = time.time()
    make = dict(sources(args.only, args.scale, args.worlds))[name]
    frames, degrees = make(np.random.default_rng([args.seed, zlib.crc32(name.encode())]))
    kept = splits.kept(name.split("-")[0], degrees, args.leave_out)
    np.save(args.out / f"{name}.degrees.npy", degrees[kept].astype(np.float16))
    np.save(part_of(args.out, name), frames[kept])
    return int(kept.sum()), time.time() - started


def frames_of(folder: Path, name: str) -> Path:
    """Return the file of a source's frames."""
    return folder / f"{name}.frames.npy"


def part_of(folder: Path, name: str) -> Path:
    """Return the file of a source's frames while it is drawn."""
    return folder / f"{name}.frames.part.npy"


if __name__ == "__main__":
    main()
