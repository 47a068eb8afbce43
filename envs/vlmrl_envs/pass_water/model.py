"""The model of water in an open container: droplets between two upright sheets, seen from the front.

A re-creation of SoftGym's PassWater: the container slides along a table to a red circle, and spills when it is moved
roughly. The droplets are balls that move in the upright plane of the picture (each on two slides, without turning) and
push each other without friction, so they slosh and pour as water does in a flat tank. Two sizes of droplets keep them from
setting like a crystal.
"""

from __future__ import annotations

import mujoco
import numpy as np

from vlmrl_envs.soft import GHOST, add_servo, add_slide, add_table, new_spec

DROPLETS = 100
RADII = (0.028, 0.022)
"""Radii of every other droplet, metres."""
INSIDE, HEIGHT, WALL = 0.44, 0.56, 0.03
"""The container's inner width and height, and its walls' thickness, metres."""
CIRCLE = 0.5
"""Where the red circle is, metres along x."""
REACH = 0.72
"""How far the container's middle can go from the table's middle, metres."""
END = 1.02
"""Where the table ends; nothing falls off it."""
SPEED = 2.5
"""The container's speed at action 1, m/s."""
TIMESTEP, FRAME_SKIP = 0.005, 8
WATER, TABLE, CONTAINER = 1, 2, 4
"""Collision bits: droplets meet each other, the table and the container; the container slides above the table."""


def radius() -> np.ndarray:
    """Return the droplets' radii (DROPLETS,), metres."""
    return np.where(np.arange(DROPLETS) % 2 == 0, *RADII)


def build_spec() -> mujoco.MjSpec:
    """Build the table, the container, the droplets, the red circle and the camera."""
    spec = new_spec("pass_water", TIMESTEP)
    # Newton with the sparse Jacobian of so many droplets ran into its 100 iterations and threw them about at 400 m/s
    # (MuJoCo 4.0.0); with the dense one it took 5, moved them as CG does, and needed twice as long as CG
    spec.option.solver = mujoco.mjtSolver.mjSOL_CG
    spec.option.tolerance = 1e-6
    add_table(spec, (1.3, 0.22, 0.12), (0.6, 0.44, 0.3))
    spec.geom("table").contype, spec.geom("table").conaffinity = TABLE, WATER
    spec.geom("table").friction = [0.6, 0.005, 0.0001]
    spec.geom("table").condim = 3
    for side in (-1, 1):
        spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.05, 0.2, 1.0], pos=[side * (END + 0.05), 0, 1.0],
                                rgba=[0, 0, 0, 0], contype=TABLE, conaffinity=WATER, condim=1)  # fmt: skip
    spec.worldbody.add_geom(name="circle", type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=[0.11, 0.004, 0],
                            pos=[CIRCLE, -0.224, -0.12], quat=[0.7071068, 0.7071068, 0, 0], rgba=[0.9, 0.08, 0.08, 1],
                            **GHOST)  # fmt: skip
    _add_container(spec)
    for i, size in enumerate(radius()):
        drop = spec.worldbody.add_body(name=f"drop{i}")
        add_slide(drop, f"drop{i}_x", (1, 0, 0), None, 0.002)
        add_slide(drop, f"drop{i}_z", (0, 0, 1), None, 0.002)
        drop.add_geom(name=f"drop{i}", type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[size, 0, 0], mass=0.01, condim=1,
                      friction=[0, 0, 0], solref=[0.012, 1.0], contype=WATER, conaffinity=WATER | TABLE | CONTAINER,
                      rgba=[0.1, 0.35, 0.95, 1])  # fmt: skip
    spec.worldbody.add_camera(name="front", pos=[0, -3.2, 0.36], xyaxes=[1, 0, 0, 0, 0, 1], fovy=38.0)
    return spec


def _add_container(spec: mujoco.MjSpec) -> None:
    """Add the container: a floor, two walls and a back on one driven slide; its front is open to the eye."""
    body = spec.worldbody.add_body(name="container")
    add_slide(body, "container", (1, 0, 0), (-REACH, REACH), 1.0)
    half, depth = INSIDE / 2, 0.12
    solid = {
        "contype": CONTAINER,
        "conaffinity": WATER,
        "condim": 1,
        "solref": [0.012, 1.0],
        "rgba": [0.25, 0.27, 0.3, 1],
    }
    box = mujoco.mjtGeom.mjGEOM_BOX
    body.add_geom(
        name="base", type=box, size=[half + WALL, depth, WALL / 2], pos=[0, 0, WALL / 2], mass=1.0, **solid
    )
    for side, name in ((-1, "left"), (1, "right")):
        body.add_geom(name=name, type=box, size=[WALL / 2, depth, HEIGHT / 2], mass=0.5,
                      pos=[side * (half + WALL / 2), 0, WALL + HEIGHT / 2], **solid)  # fmt: skip
    body.add_geom(name="back", type=box, size=[half, 0.005, HEIGHT / 2], pos=[0, depth, WALL + HEIGHT / 2], mass=0.0,
                  rgba=[0.72, 0.85, 0.94, 1], **GHOST)  # fmt: skip
    add_servo(spec, "container", SPEED, gain=120.0, force=100.0)


def droplets(qpos: np.ndarray) -> np.ndarray:
    """Return where the droplets are, (B, DROPLETS, 2) as (x, z), metres, of qpos (B, nq)."""
    return qpos[:, 1:].reshape(len(qpos), DROPLETS, 2)


def inside(qpos: np.ndarray) -> np.ndarray:
    """Tell which droplets are in the container, bool (B, DROPLETS): between its walls, and not above its rim."""
    places, middle = droplets(qpos), qpos[:, :1]
    within = np.abs(places[..., 0] - middle) < INSIDE / 2 + WALL / 2
    return within & (places[..., 1] > 0) & (places[..., 1] < WALL + HEIGHT + RADII[0])
