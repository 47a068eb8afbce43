"""What the worlds of rope, cloth and water share: a lit table, a camera, and slides that are driven at a speed.

These worlds are re-creations, on MuJoCo, of tasks that SoftGym made and RL-VLM-F used; no line and no asset is theirs.
"""

from __future__ import annotations

from collections.abc import Sequence

import mujoco

Colour = tuple[float, float, float]
GHOST = {"contype": 0, "conaffinity": 0}
"""A geom that touches nothing."""


def new_spec(name: str, timestep: float) -> mujoco.MjSpec:
    """Begin a world: implicitfast, Newton, even light from the camera and a sun, a plain sky."""
    spec = mujoco.MjSpec()
    spec.modelname = name
    spec.compiler.degree = False
    spec.option.timestep = timestep
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.solver = mujoco.mjtSolver.mjSOL_NEWTON
    light = spec.visual.headlight
    light.ambient, light.diffuse, light.specular = [0.5] * 3, [0.35] * 3, [0.0] * 3
    spec.add_texture(name="sky", type=mujoco.mjtTexture.mjTEXTURE_SKYBOX, builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
                     rgb1=[0.72, 0.82, 0.92], rgb2=[0.9, 0.94, 0.97], width=64, height=64)  # fmt: skip
    spec.worldbody.add_light(name="sun", type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, pos=[0, -1, 3], dir=[0.3, 0.4, -1],
                             diffuse=[0.35, 0.35, 0.35], specular=[0, 0, 0])  # fmt: skip
    return spec


def add_table(spec: mujoco.MjSpec, half: Sequence[float], colour: Colour, top: float = 0.0) -> None:
    """Add the table: a slab of half sizes (x, y, z), metres, its upper side at height `top`; it touches nothing."""
    spec.worldbody.add_geom(name="table", type=mujoco.mjtGeom.mjGEOM_BOX, size=list(half),
                            pos=[0, 0, top - half[2]], rgba=[*colour, 1.0], **GHOST)  # fmt: skip


def add_slide(
    body: mujoco.MjsBody, name: str, axis: Sequence[float], limits: tuple[float, float] | None, damping: float
) -> None:
    """Give a body a slide along an axis of the world, damped (N s/m), held within limits (m) if there are any."""
    bounds = {} if limits is None else {"limited": True, "range": list(limits)}
    body.add_joint(
        name=name, type=mujoco.mjtJoint.mjJNT_SLIDE, axis=list(axis), damping=[damping, 0, 0], **bounds
    )


def add_servo(spec: mujoco.MjSpec, joint: str, speed: float, gain: float, force: float) -> None:
    """Drive a slide at `speed` (m/s) times the control, -1..1, by gain (N s/m) times the error, `force` newtons at most."""
    actuator = spec.add_actuator(name=joint, target=joint, trntype=mujoco.mjtTrn.mjTRN_JOINT, ctrllimited=True,
                                 ctrlrange=[-1, 1], forcelimited=True, forcerange=[-force, force])  # fmt: skip
    actuator.gainprm[0] = gain * speed
    actuator.biastype = mujoco.mjtBias.mjBIAS_AFFINE
    actuator.biasprm[2] = -gain
