"""The frames next to the verdicts: for each pose, states of which `success` is true beside near misses.

    python -m experiments.pose_verdicts                 # all poses; results/poses/<pose>.png
    python -m experiments.pose_verdicts --poses lotus --count 3000

Above the frame that the encoder sees from, below the same state from the side; each body is turned to face the camera. True are
the example of the pose, those that hold it least clearly, and others at random; near misses are among the states that miss it
by least. States: those of `sample_states`, and falls and blends around the pose's example. The same seed draws the same sheet.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from PIL import Image, ImageDraw

from experiments.summary import RESULTS
from vlmrl_envs.humanoid import exemplars, success
from vlmrl_envs.humanoid.rules import Humanoid
from vlmrl_envs.rendering import make_renderer

COLUMNS, LABEL, GAP = 6, 13, 10
"""States in a row of each half, height of a line of words, and pixels between the halves."""
VIEWS = ("front", "side")
SPREAD = 300
"""Near misses are taken from so many that miss least, ever more sparsely: the first ones miss by a hair."""


def viewed(rules: Humanoid) -> mujoco.MjModel:
    """Return the model with a second camera that looks from the robot's left."""
    spec = rules.build_spec()
    spec.worldbody.add_camera(name="side", pos=[0.0, 3.2, 1.1], xyaxes=[-1, 0, 0, 0, -0.1, 1], fovy=36.0)
    return spec.compile()


def facing(qpos: np.ndarray) -> np.ndarray:
    """Return qpos (B, nq) in the middle of the floor, each turned about the vertical so that its front, or else the head of
    one that lies, points at the camera."""
    qpos = qpos.copy()
    qpos[:, :2] = 0.0
    for row in qpos:
        axes = np.zeros(9)
        mujoco.mju_quat2Mat(axes, row[3:7])
        front, up = axes.reshape(3, 3)[:, 0], axes.reshape(3, 3)[:, 2]
        way = front if np.hypot(*front[:2]) > 0.3 else up * (1 if front[2] < 0 else -1)
        turn, turned = np.zeros(4), np.zeros(4)
        mujoco.mju_axisAngle2Quat(turn, np.array([0.0, 0.0, 1.0]), -np.arctan2(way[1], way[0]))
        mujoco.mju_mulQuat(turned, turn, row[3:7])
        row[3:7] = turned
    return qpos


def pool(rules: Humanoid, pose: str, rng: np.random.Generator, sampled: np.ndarray) -> np.ndarray:
    """Return states (B, S) to judge by a pose: those sampled, and others around its example, let go for a moment."""
    judge = Humanoid(pose)
    wide = exemplars.near(rules, pose, rng, 150, 20.0)
    return np.concatenate(
        [exemplars.exemplar(rules, pose)[None], judge.sample_near_goal(rng, 150), wide, sampled]
    )


def choose(
    rules: Humanoid, pose: str, states: np.ndarray, rng: np.random.Generator, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of states: at most `count` that hold a pose (the first of all, the least clear, some at random), and about
    as many near misses."""
    margins = success.margins(rules.read_body(rules.split(states)[0]), pose)
    held, least = (margins >= 0).all(axis=0), margins.min(axis=0)
    true = np.flatnonzero(held)
    first = [0] if held[0] else []
    unclear = [i for i in true[np.argsort(least[true])] if i not in first][: count // 2]
    others = rng.permutation([i for i in true if i not in (*first, *unclear)])
    missed = np.flatnonzero(~held)
    missed = missed[np.argsort(np.minimum(margins, 0.0).sum(axis=0)[missed])[::-1]]
    ranks = np.unique(np.geomspace(1, max(1, min(len(missed), SPREAD)), count).round().astype(int)) - 1
    return np.array([*first, *unclear, *others][:count], int), missed[ranks[: len(missed)]].astype(int)


def sheet(frames: Sequence[np.ndarray], halves: Sequence[int], title: str) -> Image.Image:
    """Return a page of frames (views of (B, H, W, 3)), the first `halves[0]` of them as true, the others as near misses."""
    size = frames[0].shape[1]
    rows = [-(-count // COLUMNS) for count in halves]
    high = size * len(frames) + 2
    page = Image.new("RGB", (COLUMNS * (size + 2), LABEL * 3 + sum(rows) * high + GAP), "white")
    pen = ImageDraw.Draw(page)
    pen.text((3, 1), title, fill="black")
    top, first = LABEL, 0
    for name, colour, count, lanes in zip(
        ("success", "near misses"), ((0, 110, 0), (170, 0, 0)), halves, rows, strict=True
    ):
        pen.text((3, top), f"{name}: {count}", fill=colour)
        for k in range(count):
            x, y = k % COLUMNS * (size + 2), top + LABEL + k // COLUMNS * high
            for v, view in enumerate(frames):
                page.paste(Image.fromarray(view[first + k]), (x, y + v * size))
        first, top = first + count, top + LABEL + lanes * high + GAP // 2
    return page


def draw(
    rules: Humanoid,
    renderers: Sequence[Any],
    pose: str,
    sampled: np.ndarray,
    seed: int,
    count: int,
    path: Path,
) -> None:
    """Write the sheet of a pose as a PNG of at most 64 colours."""
    rng = np.random.default_rng(seed)
    states = pool(rules, pose, rng, sampled)
    true, missed = choose(rules, pose, states, rng, count)
    qpos = facing(rules.split(states[np.concatenate([true, missed])])[0])
    page = sheet(
        [renderer.render(qpos) for renderer in renderers], (len(true), len(missed)), pose.replace("_", " ")
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    page.quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write a sheet for each pose."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--poses", nargs="+", default=list(success.KNOWN), choices=success.KNOWN, metavar="POSE"
    )
    parser.add_argument(
        "--count", type=int, default=8000, help="states sampled, of which each pose takes its own"
    )
    parser.add_argument("--shown", type=int, default=12, help="states in each half of a sheet, at most")
    parser.add_argument("--size", type=int, default=160, help="side of a frame in pixels")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--out", type=Path, default=RESULTS / "poses")
    args = parser.parse_args(arguments)
    rules = Humanoid()
    model = viewed(rules)
    renderers = [make_renderer("warp", model, view, (args.size, args.size)) for view in VIEWS]
    sampled = rules.sample_states(np.random.default_rng(args.seed), args.count)
    for pose in args.poses:
        draw(rules, renderers, pose, sampled, args.seed, args.shown, args.out / f"{pose}.png")
        print(args.out / f"{pose}.png", flush=True)
    for renderer in renderers:
        renderer.close()


if __name__ == "__main__":
    main()
