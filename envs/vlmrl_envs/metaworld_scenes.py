"""Meta-World's three tasks as pictures and words: where drawer, ball and cube can be, and what can be said of it.

What is drawn of an episode (without the robot) is a few numbers, here called a scene:

    drawer_open   (x of the drawer, how far it is out), metres; 0 is shut, -0.2 wide open
    soccer        (ball x, y, z, goal x, y)
    sweep_into    (cube x, y, z, its turn in radians)

The words were written from Meta-World's own `success` (distances to its targets) and share no code with it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vlmrl_envs.captions import Fact, Grammar, ramp
from vlmrl_envs.errors import world_error

OUT = 0.2
"""How far the drawer comes out, metres."""
HOLE = np.array([0.0, 0.84])
"""The middle of the hole in the table, metres."""
ON_TABLE, PRESSED, IN_HOLE = 0.07, 0.028, 0.02
"""The cube's height on the table, there where the hand pressed it down, and in the hole, metres."""
SHOWN, WIDE = np.array([[-0.35, 0.45], [0.35, 0.97]]), np.array([[-0.7, 0.2], [0.7, 0.98]])
"""Corners, metres: of the table that the camera shows, and of where ball and cube come to lie, most of which it does not."""

_OPEN = (
    "open",
    "pulled open",
    "pulled out",
    "all the way open",
    "wide open",
    "fully open",
    "opened",
    "all the way out",
)
_SHUT = ("closed", "shut", "pushed in", "all the way in", "fully closed", "pushed shut")
_IN_GOAL = (
    "in the goal",
    "inside the goal",
    "in the net",
    "within the goal",
    "kicked into the goal",
    "moved into the goal",
)
_AWAY = (
    "far from the goal",
    "away from the goal",
    "in the middle of the table",
    "out on the table",
    "far away from the goal",
)
_IN_HOLE = ("in the hole", "inside the hole", "swept into the hole", "down in the hole", "moved into the hole",
            "within the hole")  # fmt: skip
GRAMMARS: dict[str, Grammar] = {
    "drawer_open": Grammar(
        subjects=("the drawer", "a drawer", "a green drawer", "the green drawer", "a drawer that is", "the drawer is"),
        plain=("a drawer", "the drawer", "a green drawer", "a drawer on a table", "a green drawer on a wooden table",
               "a picture of a drawer", "the green drawer on the table"),
        facts=(
            Fact("open", _OPEN, ("not open", "not opened"), "slide",
                 ("an open drawer", "the drawer has been opened", "an open green drawer", "the drawer is open"),
                 (("half open", 0.5), ("almost fully open", 0.8), ("slightly open", 0.2))),
            Fact("shut", _SHUT, ("not closed", "not shut"), "slide",
                 ("a closed drawer", "the drawer is closed", "a shut drawer")),
            Fact("half", ("half way open", "half way out", "pulled half way out", "half in and half out"), (), "slide"),
            Fact("left", ("on the left", "on the left side", "standing on the left", "at the left"), (), "side"),
            Fact("right", ("on the right", "on the right side", "standing on the right", "at the right"), (), "side"),
        ),
    ),
    "soccer": Grammar(
        subjects=("the soccer ball", "a soccer ball", "the ball", "a ball", "a soccer ball that is", "the ball is"),
        plain=("a soccer ball and a goal", "a soccer ball", "a ball and a goal", "a ball on a table", "a goal on a table",
               "a soccer ball on a wooden table", "a picture of a soccer ball and a goal"),
        facts=(
            Fact("in", _IN_GOAL, ("not in the goal", "outside the goal", "out of the goal"), "place",
                 ("the soccer ball is in the goal", "a goal with a ball in it", "the ball has been moved into the goal"),
                 (("half way to the goal", 0.4),)),
            Fact("far", _AWAY, ("not far from the goal", "close to the goal"), "place"),
            Fact("before", ("in front of the goal", "right in front of the goal", "just before the goal", "before the goal"),
                 (), "place"),
            Fact("left", ("to the left of the goal", "beside the goal on the left", "on the left of the goal",
                          "past the goal on the left"), (), "side"),
            Fact("right", ("to the right of the goal", "beside the goal on the right", "on the right of the goal",
                           "past the goal on the right"), (), "side"),
        ),
    ),
    "sweep_into": Grammar(
        subjects=("the green cube", "a green cube", "the cube", "a cube", "a cube that is", "the green cube is"),
        plain=("a green cube and a hole", "a green cube", "a cube and a hole in the table", "a cube on a table",
               "a table with a hole", "a green cube on a wooden table", "a picture of a green cube and a hole"),
        facts=(
            Fact("in", _IN_HOLE, ("not in the hole", "out of the hole", "outside the hole"), "place",
                 ("the green cube is in the hole", "a hole with a green cube in it", "the cube has been swept into the hole"),
                 (("half way to the hole", 0.4), ("almost in the hole", 0.8))),
            Fact("near", ("close to the hole", "near the hole", "next to the hole", "beside the hole", "at the hole"),
                 ("far from the hole", "away from the hole", "far away from the hole"), "place",
                 ("a green cube close to the hole",)),
            Fact("before", ("in front of the hole", "before the hole", "on this side of the hole", "on the near side of the hole"),
                 (), "depth"),
            Fact("behind", ("behind the hole", "past the hole", "beyond the hole", "on the far side of the hole"), (), "depth"),
            Fact("left", ("to the left of the hole", "on the left of the hole", "left of the hole",
                          "on the table to the left of the hole"), (), "side"),
            Fact("right", ("to the right of the hole", "on the right of the hole", "right of the hole",
                           "on the table to the right of the hole"), (), "side"),
        ),
    ),
}  # fmt: skip
"""World -> what can be said of it."""


def begin(world: str, rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw n scenes (n, S) as episodes begin."""
    _check(world)
    if world == "drawer_open":
        return np.stack([rng.uniform(-0.1, 0.1, n), np.zeros(n)], axis=1)
    place = _places(rng, n)
    if world == "sweep_into":
        return np.column_stack([place, np.full(n, ON_TABLE), np.zeros(n)])
    return np.column_stack([place, np.full(n, 0.026), _goals(rng, n)])


def _places(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw n places (n, 2) where an episode's ball or cube lies at first, metres."""
    return np.stack([rng.uniform(-0.1, 0.1, n), rng.uniform(0.58, 0.72, n)], axis=1)


def _goals(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw n places (n, 2) of an episode's soccer goal, metres."""
    return np.stack([rng.uniform(-0.1, 0.1, n), rng.uniform(0.8, 0.9, n)], axis=1)


def sample(world: str, rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw n scenes (n, S) of a world: as episodes begin, on the way, at the goal, anywhere on the table."""
    _check(world)
    kind, way = rng.random(n), rng.random(n)
    if world == "drawer_open":
        slide = np.where(
            kind < 0.25, rng.uniform(0.0, 0.01, n), np.where(kind < 0.5, rng.uniform(0.17, OUT, n), way * OUT)
        )
        return np.stack([rng.uniform(-0.1, 0.1, n), -slide], axis=1)
    begins = _places(rng, n)
    anywhere = np.where(
        rng.random((n, 1)) < 0.5,
        rng.uniform(SHOWN[0], SHOWN[1], (n, 2)),
        rng.uniform(WIDE[0], WIDE[1], (n, 2)),
    )
    goal = _goals(rng, n)
    goal = goal if world == "soccer" else np.repeat(HOLE[None], n, axis=0)
    at_goal = goal + rng.uniform(-0.06, 0.06, (n, 2))
    between = begins + way[:, None] * (goal - begins) + rng.normal(0.0, 0.03, (n, 2))
    place = np.select(
        [(kind < 0.2)[:, None], (kind < 0.5)[:, None], (kind < 0.75)[:, None]],
        [begins, at_goal, between],
        anywhere,
    )
    if world == "soccer":
        return np.column_stack([place, rng.uniform(0.02, 0.035, n), goal])
    sunk = np.abs(place - HOLE).max(axis=1) < 0.08
    low, top = np.where(sunk, IN_HOLE, PRESSED), np.where(sunk, IN_HOLE, ON_TABLE)
    height = np.where(rng.random(n) < 0.8, top, rng.uniform(low, ON_TABLE))
    return np.column_stack([place, height, rng.uniform(-np.pi, np.pi, n)])


def fact_degrees(world: str, scenes: np.ndarray) -> np.ndarray:
    """Return the degrees (n, F) of a world's facts in scenes (n, S)."""
    _check(world)
    if world == "drawer_open":
        x, out = scenes[:, 0], -scenes[:, 1]
        found = {"open": ramp(out, 0.0, 0.19), "shut": ramp(out, 0.05, 0.008), "half": ramp(np.abs(out - OUT / 2), 0.06, 0.02),
                 "left": ramp(x, -0.02, -0.06), "right": ramp(x, 0.02, 0.06)}  # fmt: skip
    else:
        aim = scenes[:, 3:5] if world == "soccer" else HOLE
        across, along = (scenes[:, :2] - aim).T
        apart = np.hypot(across, along)
        near = 0.4 * ramp(apart, 0.4, 0.0) + 0.6 * ramp(apart, 0.14, 0.03)
        shown = ((scenes[:, :2] >= SHOWN[0]) & (scenes[:, :2] <= SHOWN[1])).all(
            axis=1
        )  # no picture tells where else
        beside = {"left": shown * ramp(across, -0.06, -0.11), "right": shown * ramp(across, 0.06, 0.11)}
        if world == "soccer":
            before = ramp(np.abs(across), 0.08, 0.04) * ramp(along, -0.05, -0.08) * ramp(along, -0.2, -0.15)
            found = {"in": near, "far": ramp(apart, 0.12, 0.22), "before": before, **beside}
        else:
            found = {"in": near, "near": ramp(apart, 0.25, 0.1), "before": shown * ramp(along, -0.06, -0.11),
                     "behind": shown * ramp(along, 0.05, 0.1), **beside}  # fmt: skip
    return np.stack([found[fact.name] for fact in GRAMMARS[world].facts], axis=1)


def placed(world: str, inner: Any, scenes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return qpos (n, nq) and body positions (n, B, 3) of scenes (n, S), for the model of Meta-World's own env `inner`."""
    _check(world)
    model, n = inner.model, len(scenes)
    qpos, bodies = np.repeat(inner.data.qpos[None], n, axis=0), np.repeat(model.body_pos[None], n, axis=0)
    if world == "drawer_open":
        bodies[:, model.body("drawer").id, 0] = scenes[:, 0]
        qpos[:, 9] = scenes[:, 1]
        return qpos, bodies
    qpos[:, 9:12], qpos[:, 12:] = scenes[:, :3], np.array([1.0, 0.0, 0.0, 0.0])
    if world == "soccer":
        bodies[:, model.body("goal_whole").id, :2] = scenes[:, 3:5]
    else:
        qpos[:, 12], qpos[:, 15] = np.cos(scenes[:, 3] / 2), np.sin(scenes[:, 3] / 2)
    return qpos, bodies


def _check(world: str) -> None:
    if world not in GRAMMARS:
        raise world_error("world", repr(world), f"one of {list(GRAMMARS)}", "pick one of these")
