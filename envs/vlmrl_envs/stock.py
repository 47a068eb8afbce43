"""Gymnasium's own bodies, read from the installed package and put into a scene of this project with `MjSpec`.

Joint ranges, masses and gears stay as they are. What changes: the integrator (implicitfast for RK4), which steps up to
four times faster, the floor, the sky, the lights, the colours and the camera.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import mujoco
import numpy as np

Colour = tuple[float, float, float]


def stock_path(file: str) -> Path:
    """Return where the installed Gymnasium keeps a MuJoCo asset."""
    import gymnasium

    return Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets" / file


def load(file: str) -> mujoco.MjSpec:
    """Load one of Gymnasium's bodies, with the solver and integrator of this project and no lights but one."""
    spec = mujoco.MjSpec.from_file(str(stock_path(file)))
    spec.option.solver = mujoco.mjtSolver.mjSOL_NEWTON
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    return spec


def compile_spec(spec: mujoco.MjSpec) -> mujoco.MjModel:
    """Compile without the warning that the half-cheetah's total mass is set in a way that will go away."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*settotalmass.*")
        return spec.compile()


def dress(spec: mujoco.MjSpec, floor: str, tile: float, colours: Mapping[str, Colour]) -> None:
    """Lay a floor of tiles (side `tile`, metres) without reflections, open the sky, light it, colour the named geoms."""
    for texture in list(spec.textures):
        if texture.type == mujoco.mjtTexture.mjTEXTURE_SKYBOX:
            spec.delete(texture)
    spec.add_texture(name="sky", type=mujoco.mjtTexture.mjTEXTURE_SKYBOX, builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
                     rgb1=[0.62, 0.76, 0.92], rgb2=[0.92, 0.95, 0.98], width=64, height=64)  # fmt: skip
    spec.add_texture(name="tiles", type=mujoco.mjtTexture.mjTEXTURE_2D, builtin=mujoco.mjtBuiltin.mjBUILTIN_CHECKER,
                     rgb1=[0.46, 0.44, 0.42], rgb2=[0.58, 0.56, 0.53], width=64, height=64)  # fmt: skip
    material = spec.add_material(name="tiles", texuniform=True, texrepeat=[1 / (2 * tile), 1 / (2 * tile)])
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "tiles"
    ground = spec.geom(floor)
    ground.material, ground.rgba = "tiles", [1, 1, 1, 1]
    for name, colour in colours.items():
        geom = spec.geom(name)
        geom.material, geom.rgba = "", [*colour, 1.0]
    for light in list(spec.lights):
        spec.delete(light)
    spec.visual.headlight.ambient = [0.45, 0.45, 0.45]
    spec.visual.headlight.diffuse = [0.45, 0.45, 0.45]
    spec.visual.headlight.specular = [0.0, 0.0, 0.0]
    spec.worldbody.add_light(name="sun", type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, pos=[0, -1, 4], dir=[0.2, 0.5, -1],
                             diffuse=[0.5, 0.5, 0.5], specular=[0, 0, 0])  # fmt: skip


def add_follower(
    spec: mujoco.MjSpec, body: str, distance: float, elevation: float, fovy: float, down: float = 0.0
) -> None:
    """Add the camera "side": it follows the body's centre of mass from the side, turned like the world.

    Args:
        spec: edited in place.
        body: the trunk; its centre of mass, limbs included, stays in the picture's middle.
        distance: metres from it.
        elevation: degrees above the level.
        fovy: lens, degrees.
        down: how far below the trunk's origin the picture's middle lies in the model's own pose, metres.
    """
    angle = np.deg2rad(elevation)
    back = np.array([0.0, -np.cos(angle), np.sin(angle)])
    spec.body(body).add_camera(
        name="side", mode=mujoco.mjtCamLight.mjCAMLIGHT_TRACKCOM, pos=distance * back - [0.0, 0.0, down],
        xyaxes=[1, 0, 0, 0, np.sin(angle), np.cos(angle)], fovy=fovy,
    )  # fmt: skip
