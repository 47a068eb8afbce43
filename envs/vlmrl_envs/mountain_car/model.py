"""The mountain car's model: a bead on a quartic hill, made with `MjSpec`.

Gymnasium's hill is 0.45 sin(3x) + 0.55. MuJoCo couples joints by polynomials of up to the fourth degree, so the hill
here is the quartic nearest to it; the car's height and pitch are tied to its x by two such couplings, and gravity
and inertia do the rest. As in Gymnasium, the road ends in a wall just behind the flag.
"""

from __future__ import annotations

import mujoco
import numpy as np

from vlmrl_envs.mountain_car.success import FLAG, LEFT, RIGHT

_GRID = np.linspace(LEFT - 0.05, RIGHT + 0.05, 400)
HEIGHT = np.polynomial.Polynomial.fit(_GRID, 0.45 * np.sin(3 * _GRID) + 0.55, 4).convert()
"""Height of the road over x, metres."""
PITCH = np.polynomial.Polynomial.fit(_GRID, np.arctan(HEIGHT.deriv()(_GRID)), 4).convert()
"""Slope of the road over x, radians: a quartic near to the hill's own slope, for the looks."""
ENGINE = 1.1
"""Largest engine force, newtons on a 0.25 kg car: 0.6 of what the steepest slope asks for, as in Gymnasium."""
MASS = 0.25
SLAB, DEPTH, FLOOR = 0.05, 0.31, -0.9
"""Half the thickness of the road's slabs, half the hill's depth, and where its foot is, metres."""


def build_spec() -> mujoco.MjSpec:
    """Build the hill, the flag, the car and the camera."""
    spec = mujoco.MjSpec()
    spec.modelname = "mountain_car"
    spec.compiler.degree = False
    spec.option.timestep = 0.01
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.visual.headlight.ambient = [0.5, 0.5, 0.5]
    spec.visual.headlight.diffuse = [0.4, 0.4, 0.4]
    spec.visual.headlight.specular = [0.0, 0.0, 0.0]
    spec.add_texture(name="sky", type=mujoco.mjtTexture.mjTEXTURE_SKYBOX, builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
                     rgb1=[0.55, 0.75, 0.95], rgb2=[0.9, 0.95, 1.0], width=64, height=64)  # fmt: skip
    _add_hill(spec)
    _add_flag(spec)
    _add_wall(spec)
    _add_car(spec)
    middle = (LEFT + RIGHT) / 2
    spec.worldbody.add_camera(name="side", pos=[middle, -4.0, 0.55], xyaxes=[1, 0, 0, 0, 0, 1], fovy=30.0)
    spec.worldbody.add_light(pos=[0, -3, 4], dir=[0.2, 0.6, -1], diffuse=[0.4, 0.4, 0.4],
                             type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL)  # fmt: skip
    return spec


def _add_hill(spec: mujoco.MjSpec) -> None:
    """Add the hill as slabs along the road on upright fill (a mesh draws slower); the car rides its equation."""
    x = np.linspace(LEFT - 0.4, RIGHT + 0.4, 33)
    edge = np.clip(x, LEFT - 0.05, RIGHT + 0.05)
    top = HEIGHT(edge) + HEIGHT.deriv()(edge) * (x - edge)
    for x0, x1, z0, z1 in zip(x[:-1], x[1:], top[:-1], top[1:], strict=True):
        angle, length = np.arctan2(z1 - z0, x1 - x0), np.hypot(z1 - z0, x1 - x0)
        down = SLAB * np.array([np.sin(angle), -np.cos(angle)])
        slab = {
            "size": [length / 2 + 0.01, DEPTH, SLAB],
            "pos": [(x0 + x1) / 2 + down[0], DEPTH - 0.12, (z0 + z1) / 2 + down[1]],
            "quat": [np.cos(angle / 2), 0, -np.sin(angle / 2), 0],
        }
        height = min(z0, z1) - FLOOR
        fill = {
            "size": [(x1 - x0) / 2, DEPTH, height / 2],
            "pos": [(x0 + x1) / 2, DEPTH - 0.12, FLOOR + height / 2],
        }
        for shape in (slab, fill):
            spec.worldbody.add_geom(
                type=mujoco.mjtGeom.mjGEOM_BOX, rgba=[0.36, 0.55, 0.3, 1], contype=0, conaffinity=0, **shape
            )


def _add_flag(spec: mujoco.MjSpec) -> None:
    """Add the pole and the yellow flag at the goal."""
    base = float(HEIGHT(FLAG))
    common = {"contype": 0, "conaffinity": 0}
    spec.worldbody.add_geom(name="flagpole", type=mujoco.mjtGeom.mjGEOM_CAPSULE, size=[0.012, 0, 0],
                            fromto=[FLAG, 0.1, base, FLAG, 0.1, base + 0.34], rgba=[0.2, 0.2, 0.2, 1], **common)  # fmt: skip
    spec.worldbody.add_geom(name="flag", type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.075, 0.01, 0.05],
                            pos=[FLAG + 0.085, 0.1, base + 0.29], rgba=[0.97, 0.83, 0.1, 1], **common)  # fmt: skip


def _add_wall(spec: mujoco.MjSpec) -> None:
    """Add the wall at the road's end, where the car's own limit stops it; it is drawn only."""
    half, front, height = 0.03, 0.09, 0.14
    spec.worldbody.add_geom(name="wall", type=mujoco.mjtGeom.mjGEOM_BOX, size=[half, DEPTH, height],
                            pos=[RIGHT + front + half, DEPTH - 0.12, float(HEIGHT(RIGHT)) + height - 2 * SLAB],
                            rgba=[0.62, 0.58, 0.54, 1], contype=0, conaffinity=0)  # fmt: skip


def _add_car(spec: mujoco.MjSpec) -> None:
    """Add the car, its three joints, the couplings that keep it on the road, and its engine."""
    car = spec.worldbody.add_body(name="car")
    hinge, slide = mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE
    car.add_joint(name="x", type=slide, axis=[1, 0, 0], range=[LEFT, RIGHT], limited=True, damping=0.02)
    car.add_joint(name="z", type=slide, axis=[0, 0, 1])
    car.add_joint(name="pitch", type=hinge, axis=[0, -1, 0])
    common = {"contype": 0, "conaffinity": 0}
    car.add_geom(name="body", type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.085, 0.05, 0.03], pos=[0, 0, 0.075],
                 mass=MASS, rgba=[0.8, 0.16, 0.14, 1], **common)  # fmt: skip
    car.add_geom(name="cabin", type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.045, 0.045, 0.022], pos=[-0.01, 0, 0.125],
                 mass=0, rgba=[0.65, 0.1, 0.1, 1], **common)  # fmt: skip
    for name, x in (("rear", -0.05), ("front", 0.05)):
        car.add_geom(name=name, type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=[0.034, 0.055, 0], pos=[x, 0, 0.034],
                     quat=[0.7071068, 0.7071068, 0, 0], mass=0, rgba=[0.08, 0.08, 0.08, 1], **common)  # fmt: skip
    for name, curve in (("z", HEIGHT), ("pitch", PITCH)):
        equality = spec.add_equality(type=mujoco.mjtEq.mjEQ_JOINT, name1=name, name2="x",
                                     objtype=mujoco.mjtObj.mjOBJ_JOINT, solref=[0.02, 1.0])  # fmt: skip
        equality.data[:5] = curve.coef
    actuator = spec.add_actuator(name="engine", target="x", trntype=mujoco.mjtTrn.mjTRN_JOINT,
                                 ctrllimited=True, ctrlrange=[-1, 1])  # fmt: skip
    actuator.gear[0] = ENGINE
