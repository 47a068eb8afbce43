"""Gymnasium's humanoid, read from the installed package and edited with `MjSpec`.

Joint ranges, masses and gears stay as they are. What changes: the solver (Newton for PGS) and the integrator
(implicitfast for RK4), which step three times faster, the floor, the sky, the colours, and the camera: 3.5 m before the
robot, 10 degrees above, as VLM-RM's (Rocamonde et al. 2023), with a narrower lens so that the body fills the frame.
"""

from __future__ import annotations

from pathlib import Path

import gymnasium
import mujoco
import numpy as np

COLOURS = {
    "torso1": (0.80, 0.82, 0.86), "head": (0.95, 0.78, 0.62), "uwaist": (0.70, 0.72, 0.78), "lwaist": (0.70, 0.72, 0.78),
    "butt": (0.30, 0.33, 0.42),
    "right_thigh1": (0.16, 0.32, 0.66), "left_thigh1": (0.24, 0.46, 0.78),
    "right_shin1": (0.10, 0.22, 0.50), "left_shin1": (0.16, 0.34, 0.62),
    "right_foot": (0.08, 0.08, 0.10), "left_foot": (0.14, 0.14, 0.17),
    "right_uarm1": (0.82, 0.36, 0.14), "left_uarm1": (0.92, 0.52, 0.20),
    "right_larm": (0.92, 0.50, 0.22), "left_larm": (0.98, 0.64, 0.32),
    "right_hand": (0.98, 0.80, 0.62), "left_hand": (0.98, 0.84, 0.70),
}  # fmt: skip


def stock_path() -> Path:
    """Return where the installed Gymnasium keeps humanoid.xml."""
    return Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets" / "humanoid.xml"


def build_spec() -> mujoco.MjSpec:
    """Build the edited humanoid in its scene."""
    spec = mujoco.MjSpec.from_file(str(stock_path()))
    spec.option.solver = mujoco.mjtSolver.mjSOL_NEWTON
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.visual.headlight.ambient = [0.45, 0.45, 0.45]
    spec.visual.headlight.diffuse = [0.45, 0.45, 0.45]
    spec.visual.headlight.specular = [0.0, 0.0, 0.0]
    _dress(spec)
    _add_camera(spec)
    return spec


def _dress(spec: mujoco.MjSpec) -> None:
    """Colour the robot by limb, tile the floor without reflections, open the sky."""
    for texture in spec.textures:
        if texture.type == mujoco.mjtTexture.mjTEXTURE_SKYBOX:
            texture.rgb1, texture.rgb2 = [0.62, 0.76, 0.92], [0.92, 0.95, 0.98]
        elif texture.name == "texplane":
            texture.rgb1, texture.rgb2 = [0.46, 0.44, 0.42], [0.58, 0.56, 0.53]
    for material in spec.materials:
        if material.name == "MatPlane":
            material.reflectance, material.specular, material.texrepeat = 0.0, 0.0, [20, 20]
    spec.geom("floor").rgba = [1, 1, 1, 1]
    for name, colour in COLOURS.items():
        geom = spec.geom(name)
        geom.material = ""
        geom.rgba = [*colour, 1.0]
    for light in spec.lights:
        light.diffuse, light.specular = [0.5, 0.5, 0.5], [0, 0, 0]


def _add_camera(spec: mujoco.MjSpec) -> None:
    """Add the camera: distance 3.5, elevation -10, azimuth 180 as VLM-RM's; look-at (0, 0, 0.9), lens 38 degrees."""
    elevation, distance = np.deg2rad(10.0), 3.5
    back = np.array([np.cos(elevation), 0.0, np.sin(elevation)])
    spec.worldbody.add_camera(
        name="front", pos=np.array([0, 0, 0.9]) + distance * back,
        xyaxes=[0, 1, 0, -np.sin(elevation), 0, np.cos(elevation)], fovy=38.0,
    )  # fmt: skip
