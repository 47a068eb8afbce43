"""Other looks of a world: cameras, lights, colours, thicker limbs, things that no caption mentions, floors and skies.

A variant is drawn in two steps: `redecorated` edits the specification (what has to be compiled), `vary` the model, which
can be another one for every frame. The ray tracer compiles a kernel (seconds) for each set of shapes, number of lights and
depth range it meets. So every variant carries every shape and the same depth range: few kernels serve all worlds.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import mujoco
import numpy as np

from experiments.embedded import splits
from vlmrl_envs.rendering.looks import add_stand_in
from vlmrl_envs.stock import compile_spec

LIMBS = (mujoco.mjtGeom.mjGEOM_CAPSULE, mujoco.mjtGeom.mjGEOM_SPHERE)
SHAPES = (
    mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_SPHERE, mujoco.mjtGeom.mjGEOM_CYLINDER, mujoco.mjtGeom.mjGEOM_CAPSULE,
    mujoco.mjtGeom.mjGEOM_ELLIPSOID,
)  # fmt: skip
EXTENT = 2.0
"""Sets the nearest and farthest depth that is drawn, metres."""


@dataclass(frozen=True)
class Scene:
    """Where things can stand in a world without hiding its body."""

    view: tuple[float, float]
    """The direction in which the camera looks, over the floor; (0, 0) looks straight down."""
    scale: float = 1.0
    """Half the width of what the camera sees, metres."""
    floor: float | None = 0.0
    """Height of the floor, metres; None where there is none, so that things hang in the air."""
    middle: float = 0.7
    """Height of the picture's middle, metres."""


SCENES: dict[str, Scene] = {
    "CartPole": Scene((0, 1), 1.7, -1.2, 0.0), "MountainCar": Scene((0, 1), 1.0, None, 0.6), "Humanoid": Scene((-1, 0), 1.1),
    "Ant": Scene((0, 1), 1.2), "HalfCheetah": Scene((0, 1)), "Hopper": Scene((0, 1)), "Walker2d": Scene((0, 1)),
    "Reacher": Scene((0, 0), 0.25, 0.0, 0.0), "Pendulum": Scene((0, 1), 1.2, -1.35, 0.0),
    "StraightenRope": Scene((0, 0), 0.68), "FoldCloth": Scene((0, 0), 0.7), "PassWater": Scene((0, 1), 1.1, -0.24, 0.36),
}  # fmt: skip
"""World -> where things can stand."""


def vary(
    model: mujoco.MjModel, camera: str, rng: np.random.Generator, split: str = "train"
) -> mujoco.MjModel:
    """Return a copy of a model with another camera place, lens, light and colours; "held_out" for unseen ones."""
    model = copy.copy(model)
    index = model.camera(camera).id
    if model.cam_mode[index] == mujoco.mjtCamLight.mjCAMLIGHT_TRACKCOM:
        _orbit(model, index, rng, split)
    else:
        model.cam_pos[index] = model.cam_pos[index] * splits.distance(rng, split) + rng.normal(
            0.0, 0.06, 3
        ) * min(1.0, float(np.linalg.norm(model.cam_pos[index])) / 3.5)
        turn, quat = np.zeros(4), np.zeros(4)
        mujoco.mju_euler2Quat(turn, rng.normal(0.0, 0.03, 3), "xyz")
        mujoco.mju_mulQuat(quat, model.cam_quat[index], turn)
        model.cam_quat[index] = quat
    model.cam_fovy[index] *= rng.uniform(0.92, 1.1)
    vary_looks(model, rng, split)
    return model


def vary_looks(model: mujoco.MjModel, rng: np.random.Generator, split: str = "train") -> None:
    """Change a model's lights and colours in place."""
    model.vis.headlight.ambient[:] = rng.uniform(0.25, 0.6)
    model.vis.headlight.diffuse[:] = splits.light(rng, split)
    if model.nlight:
        model.light_dir[:] += rng.normal(0.0, 0.25, model.light_dir.shape)
        model.light_diffuse[:] *= rng.uniform(0.4, 1.4) * rng.uniform(0.85, 1.15, 3)
    model.geom_rgba[:, :3] = np.clip(
        model.geom_rgba[:, :3] * rng.uniform(0.75, 1.2, (1, 3)) + rng.normal(0, 0.05, (model.ngeom, 3)), 0, 1
    )
    model.mat_rgba[:, :3] = np.clip(model.mat_rgba[:, :3] * rng.uniform(0.75, 1.2, (1, 3)), 0, 1)


def _orbit(model: mujoco.MjModel, index: int, rng: np.random.Generator, split: str) -> None:
    """Turn a camera that follows a body about that body, a little up or down, nearer or farther, and shift its picture."""
    turn = np.zeros(9)
    quat = np.zeros(4)
    right = model.cam_mat0[index].reshape(3, 3)[:, 0]
    mujoco.mju_axisAngle2Quat(quat, right, -np.deg2rad(rng.normal(0.0, 5.0)))
    mujoco.mju_quat2Mat(turn, quat)
    tilt = turn.reshape(3, 3).copy()
    mujoco.mju_axisAngle2Quat(quat, np.array([0.0, 0.0, 1.0]), np.deg2rad(rng.normal(0.0, 12.0)))
    mujoco.mju_quat2Mat(turn, quat)
    both = turn.reshape(3, 3) @ tilt
    place = both @ model.cam_poscom0[index] * splits.distance(rng, split)
    model.cam_poscom0[index] = place + rng.normal(0.0, 0.06, 3)
    model.cam_mat0[index] = (both @ model.cam_mat0[index].reshape(3, 3)).ravel()


def redecorated(spec: mujoco.MjSpec, scene: Scene, rng: np.random.Generator) -> mujoco.MjSpec:
    """Return the specification, edited in place: other limbs, and perhaps another floor and sky and things around."""
    thicker = rng.uniform(0.85, 1.25)
    for body in spec.bodies:
        if body.name == "world":
            continue
        for geom in body.geoms:
            if geom.type in LIMBS:
                geom.size[0] *= thicker
    if rng.random() < 0.7:
        repaint(spec, rng)
    if rng.random() < 0.7:
        for _ in range(int(rng.integers(1, 6))):
            _add_thing(spec, scene, rng)
    return spec


def base_of_looks(spec: mujoco.MjSpec) -> mujoco.MjModel:
    """Compile a specification, which is edited in place, so that `LooksRenderer` draws its variations."""
    for shape in (*SHAPES, mujoco.mjtGeom.mjGEOM_PLANE):  # out of sight
        spec.worldbody.add_geom(
            type=shape, size=[0.01, 0.01, 0.01], pos=[0, 0, -40.0], contype=0, conaffinity=0
        )
    spec.stat.extent = EXTENT
    add_stand_in(spec)
    return compile_spec(spec)


def repaint(spec: mujoco.MjSpec, rng: np.random.Generator) -> None:
    """Give the sky and the floor other colours and patterns, in place."""
    builtin = mujoco.mjtBuiltin
    for texture in spec.textures:
        bright = rng.uniform(0.1, 0.95)
        first = np.clip(bright + rng.normal(0.0, 0.15, 3), 0, 1)
        if texture.type == mujoco.mjtTexture.mjTEXTURE_SKYBOX:
            texture.builtin = builtin.mjBUILTIN_GRADIENT if rng.random() < 0.7 else builtin.mjBUILTIN_FLAT
            texture.rgb1, texture.rgb2 = first, np.clip(first + rng.normal(0.0, 0.3, 3), 0, 1)
        elif texture.type == mujoco.mjtTexture.mjTEXTURE_2D:
            texture.builtin = builtin.mjBUILTIN_CHECKER if rng.random() < 0.7 else builtin.mjBUILTIN_FLAT
            texture.rgb1, texture.rgb2 = first, np.clip(first + rng.normal(0.0, 0.12, 3), 0, 1)
    for material in spec.materials:
        if tuple(material.texrepeat) != (1.0, 1.0):
            material.texrepeat = np.array(material.texrepeat) * rng.uniform(0.4, 1.6)


def _add_thing(spec: mujoco.MjSpec, scene: Scene, rng: np.random.Generator) -> None:
    """Add a coloured thing without physics: behind the body, or small before and beside it, or hanging behind."""
    view = np.array(scene.view, float)
    shape = SHAPES[rng.integers(len(SHAPES))]
    if not view.any():  # seen from above: the corners of the table
        place = rng.choice([-1.0, 1.0], 2) * rng.uniform(0.75, 1.05, 2) * scene.scale
        size = rng.uniform(0.06, 0.2, 3) * scene.scale
        colour = np.array([*rng.uniform(0.0, 0.6, 1), *rng.uniform(0.1, 0.9, 2)])  # never the target's red
    else:
        before = rng.random() < 0.12
        depth = rng.uniform(-1.0, -0.5) if before else rng.uniform(0.6, 2.5)
        beside = rng.choice([-1, 1]) * rng.uniform(0.7, 1.1) if before else rng.uniform(-1.3, 1.3)
        size = rng.uniform(0.04, 0.1 if before else 0.35, 3) * scene.scale
        place = scene.scale * (depth * view + beside * np.array([-view[1], view[0]]))
        colour = rng.uniform(0.05, 0.95, 3)
    lift = size[1] if shape in (SHAPES[2],) else (size[0] + size[1] if shape == SHAPES[3] else size[2])
    height = (scene.floor or 0.0) + (size[0] if shape == SHAPES[1] else lift)
    if scene.floor is None or (view.any() and rng.random() < 0.15):
        height = scene.middle + scene.scale * rng.uniform(-0.2, 0.9)
        place = place + scene.scale * view * 1.0  # well behind
    spec.worldbody.add_geom(type=shape, size=size, pos=[*place, height], rgba=[*colour, 1.0], contype=0, conaffinity=0,
                            group=0)  # fmt: skip
