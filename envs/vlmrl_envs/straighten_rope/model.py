"""The rope's model: a chain of capsules on a table, seen from above, each end held by a picker.

A re-creation of SoftGym's RopeFlatten as RL-VLM-F uses it: both ends are held from the start on, and pulled about on
the table. The rope lives in the table's plane: each link turns about an upright hinge, and a viscous drag stands for
the table's friction, so that what is not pulled stops at once. It may lie across itself.
"""

from __future__ import annotations

import mujoco
import numpy as np

from vlmrl_envs.soft import GHOST, add_servo, add_slide, add_table, new_spec

LINKS = 20
LENGTH = 1.0
"""The rope's length, metres."""
RADIUS = 0.026
EDGE = 0.62
"""How far from the table's middle a picker can go, along x and along y, metres."""
SPEED = 0.5
"""A picker's speed at action 1, m/s."""
TIMESTEP, FRAME_SKIP = 0.005, 8
DRAG = 1.0
"""The medium's viscosity, Pa s: a link that is let go has stopped after about 10 ms."""
PICKERS = ("first", "last")


def build_spec() -> mujoco.MjSpec:
    """Build the table, the rope, its pickers and the camera."""
    spec = new_spec("straighten_rope", TIMESTEP)
    spec.option.gravity = [0, 0, 0]
    spec.option.viscosity = DRAG
    add_table(spec, (0.9, 0.9, 0.05), (0.74, 0.68, 0.58), top=-RADIUS)
    link = _picker(spec, "first")
    step = LENGTH / LINKS
    for i in range(LINKS):
        link = link.add_body(name=f"link{i}", pos=[step if i else 0, 0, 0])
        link.add_joint(
            name=f"bend{i}", type=mujoco.mjtJoint.mjJNT_HINGE, axis=[0, 0, 1], damping=[1e-3, 0, 0]
        )
        link.add_geom(name=f"link{i}", type=mujoco.mjtGeom.mjGEOM_CAPSULE, fromto=[0, 0, 0, step, 0, 0],
                      size=[RADIUS, 0, 0], mass=0.01, fluid_ellipsoid=1, rgba=[0.08, 0.25, 0.85, 1], **GHOST)  # fmt: skip
    link.add_site(name="tip", pos=[step, 0, 0])
    _picker(spec, "last").add_site(name="last")
    spec.add_equality(
        type=mujoco.mjtEq.mjEQ_CONNECT, name1="tip", name2="last", objtype=mujoco.mjtObj.mjOBJ_SITE
    )
    for picker in PICKERS:
        for axis in "xy":
            add_servo(spec, f"{picker}_{axis}", SPEED, gain=20.0, force=6.0)
    spec.worldbody.add_camera(name="top", pos=[0, 0, 2.0], xyaxes=[1, 0, 0, 0, 1, 0], fovy=38.0)
    return spec


def _picker(spec: mujoco.MjSpec, name: str) -> mujoco.MjsBody:
    """Add a picker: a ball on two slides."""
    body = spec.worldbody.add_body(name=name)
    for axis, direction in (("x", (1, 0, 0)), ("y", (0, 1, 0))):
        add_slide(body, f"{name}_{axis}", direction, (-EDGE, EDGE), 0.5)
    body.add_geom(name=name, type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[0.042, 0, 0], mass=0.1,
                  rgba=[0.13, 0.13, 0.15, 1], **GHOST)  # fmt: skip
    return body


def points(qpos: np.ndarray) -> np.ndarray:
    """Return where the rope's ends and joints are on the table, (B, LINKS + 1, 2), metres, of qpos (B, nq)."""
    heading = np.cumsum(qpos[:, 2 : 2 + LINKS], axis=1)
    steps = LENGTH / LINKS * np.stack([np.cos(heading), np.sin(heading)], axis=-1)
    way = np.concatenate([np.zeros((len(qpos), 1, 2)), np.cumsum(steps, axis=1)], axis=1)
    return qpos[:, None, :2] + way


def laid(heading: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Return qpos (B, nq) of ropes whose links point along heading (B, LINKS), radians, centred at middle (B, 2), metres."""
    bends = np.diff(heading, axis=1, prepend=0.0)
    count = len(heading)
    qpos = np.concatenate([np.zeros((count, 2)), bends, np.zeros((count, 2))], axis=1)
    way = points(qpos)
    first = middle - (way.min(axis=1) + way.max(axis=1)) / 2
    return np.concatenate([first, bends, first + way[:, -1]], axis=1)


def headings(qpos: np.ndarray) -> np.ndarray:
    """Return where the links point, (B, LINKS), radians, not wrapped."""
    return np.asarray(np.cumsum(qpos[:, 2 : 2 + LINKS], axis=1))
