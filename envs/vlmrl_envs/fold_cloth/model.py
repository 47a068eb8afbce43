"""The cloth's model: a square net of particles tied by elastic threads, drawn as two triangular sheets, seen from above.

A re-creation of SoftGym's diagonal cloth folding as RL-VLM-F uses it: a picker holds the top left corner from the start
on. Each particle has three slides. A 1-D flex ties neighbours with springs; two 2-D flexes, one for each half beside
the fold line, are only drawn. The table is a lower limit on the particles' heights, which costs one constraint each;
the half that is folded over rests a cloth's thickness higher, as if on the other. A drag that is strong on the half that
lies stands for the table's grip; there is no self-collision. (While pulled, one core makes 670 env steps/s; a 9 x 9 flexcomp
with edge equalities and contacts, without self-collision either, made 375 of the same length.)
"""

from __future__ import annotations

import mujoco
import numpy as np

from vlmrl_envs.soft import GHOST, add_servo, add_slide, add_table, new_spec

GRID = 9
"""Particles along a side."""
SIDE = 0.8
"""The cloth's side, metres."""
RADIUS = 0.012
"""Half of the cloth's drawn thickness, metres."""
LAYER = 0.016
"""How much higher the folded half rests, metres."""
MASS, CORNER_MASS = 0.003, 0.03
STIFFNESS, DAMPING = 150.0, 0.03
"""The threads' N/m and N s/m."""
AIR, GRIP = 0.015, 0.6
"""Drag of a particle of the half that is folded, and of the half that lies (along the table), N s/m."""
EDGE, CEILING = 0.62, 0.6
"""How far from the table's middle the picker can go along x and y, and how high, metres."""
SPEED = 0.7
"""The picker's speed at action 1, m/s."""
TIMESTEP, FRAME_SKIP = 0.002, 20
UPPER, LOWER = (0.95, 0.6, 0.14), (0.16, 0.36, 0.74)
"""Colours of the half with the held corner, and of the other."""
HELD = (GRID - 1, 0)
"""Row (upwards in the picture) and column (rightwards) of the held corner: top left. The fold line is row = column."""


def rest() -> np.ndarray:
    """Return the particles' places in the flat cloth (GRID, GRID, 3), by row and column, metres."""
    along = np.linspace(-SIDE / 2, SIDE / 2, GRID)
    x, y = np.meshgrid(along, along)
    return np.stack([x, y, np.where(upper(), LAYER, 0.0)], axis=-1)


def upper() -> np.ndarray:
    """Tell which particles are beyond the fold line, with the held corner, bool (GRID, GRID)."""
    row, column = np.indices((GRID, GRID))
    return row > column


def build_spec() -> mujoco.MjSpec:
    """Build the table, the cloth, its picker and the camera."""
    spec = new_spec("fold_cloth", TIMESTEP)
    spec.option.solver = mujoco.mjtSolver.mjSOL_CG
    add_table(spec, (0.9, 0.9, 0.05), (0.74, 0.7, 0.64), top=-RADIUS)
    _add_particles(spec)
    names = [f"p{i}" for i in range(GRID * GRID)]
    halves = _triangles()
    threads = sorted(
        {tuple(sorted(pair)) for half in halves for a, b, c in half for pair in ((a, b), (b, c), (c, a))}
    )
    _add_flex(spec, "threads", 1, names, [v for pair in threads for v in pair], (0, 0, 0, 0))
    spec.flex("threads").edgestiffness, spec.flex("threads").edgedamping = STIFFNESS, DAMPING
    for name, half, colour in zip(("upper", "lower"), halves, (UPPER, LOWER), strict=True):
        used = sorted({v for triangle in half for v in triangle})
        place = {v: i for i, v in enumerate(used)}
        _add_flex(
            spec, name, 2, [names[v] for v in used], [place[v] for t in half for v in t], (*colour, 1.0)
        )
    for axis in "xyz":
        add_servo(spec, f"p{_index(*HELD)}_{axis}", SPEED, gain=60.0, force=12.0)
    spec.worldbody.add_camera(name="top", pos=[0, 0, 2.2], xyaxes=[1, 0, 0, 0, 1, 0], fovy=36.0)
    return spec


def _index(row: int, column: int) -> int:
    return row * GRID + column


def _add_particles(spec: mujoco.MjSpec) -> None:
    """Add the particles: balls on three slides, with a limit below; the held one within the picker's bounds."""
    flat, folded = rest(), upper()
    for row in range(GRID):
        for column in range(GRID):
            name, held = f"p{_index(row, column)}", (row, column) == HELD
            over, (x, y, z) = bool(folded[row, column]), flat[row, column]
            body = spec.worldbody.add_body(name=name, pos=[x, y, z])
            for axis, direction, middle in (("x", (1, 0, 0), x), ("y", (0, 1, 0), y)):
                bounds = (-EDGE - middle, EDGE - middle) if held else None
                add_slide(body, f"{name}_{axis}", direction, bounds, AIR if over else GRIP)
            add_slide(body, f"{name}_z", (0, 0, 1), (0.0, CEILING if held else 2.0), AIR)
            body.add_geom(name=name, type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[RADIUS / 2, 0, 0],
                          mass=CORNER_MASS if held else MASS, rgba=[*(UPPER if over else LOWER), 1], **GHOST)  # fmt: skip
    held_body = spec.body(f"p{_index(*HELD)}")
    held_body.add_geom(name="picker", type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[0.035, 0, 0], mass=0.0,
                       rgba=[0.13, 0.13, 0.15, 1], **GHOST)  # fmt: skip


def _triangles() -> tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]:
    """Return the triangles beyond the fold line and those on this side of it, as particles' numbers."""
    beyond: list[tuple[int, int, int]] = []
    here: list[tuple[int, int, int]] = []
    for row in range(GRID - 1):
        for column in range(GRID - 1):
            a, b = _index(row, column), _index(row, column + 1)
            c, d = _index(row + 1, column + 1), _index(row + 1, column)
            (here if row <= column else beyond).append((a, b, c))
            (beyond if row >= column else here).append((a, c, d))
    return beyond, here


def _add_flex(
    spec: mujoco.MjSpec,
    name: str,
    dim: int,
    bodies: list[str],
    elements: list[int],
    colour: tuple[float, ...],
) -> None:
    """Add a flex over bodies that touches nothing."""
    flex = spec.add_flex(name=name, dim=dim, radius=RADIUS, rgba=list(colour))
    flex.contype = flex.conaffinity = 0
    flex.vertbody, flex.elem, flex.vert = bodies, elements, [0.0] * (3 * len(bodies))


def places(qpos: np.ndarray) -> np.ndarray:
    """Return where the particles are, (B, GRID, GRID, 3), metres, of qpos (B, nq)."""
    return rest() + qpos.reshape(len(qpos), GRID, GRID, 3)


def positions(points: np.ndarray) -> np.ndarray:
    """Return qpos (B, nq) of particles at points (B, GRID, GRID, 3), lifted to the table where they are below it."""
    away = points - rest()
    away[..., 2] = np.maximum(away[..., 2], 0.0)
    return away.reshape(len(points), -1)
