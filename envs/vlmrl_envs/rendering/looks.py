"""Many looks of one world in one pass: cameras, lenses, lights, colours, sizes and props that differ from row to row.

A *look* is an `MjModel` that differs from the base only in the fields of `FIELDS` and in its headlight; copy the base
with `copy.copy` and change them. Building a renderer for each look costs seconds, since Warp compiles headlight and rays into its
kernels; here they are arrays with one row for each world.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import mujoco
import numpy as np

from vlmrl_envs.errors import world_error
from vlmrl_envs.rendering.warp import WarpRenderer

FIELDS = (
    "geom_pos", "geom_quat", "geom_size", "geom_rgba", "mat_rgba", "mat_texid", "mat_texrepeat",
    "cam_pos", "cam_quat", "cam_poscom0", "cam_pos0", "cam_mat0", "cam_fovy", "light_pos", "light_dir", "light_diffuse", "light_ambient", "light_specular",
)  # fmt: skip
"""What may differ between looks; geoms' positions and sizes only of those that nothing collides with."""
TRACKING = (mujoco.mjtCamLight.mjCAMLIGHT_TRACK, mujoco.mjtCamLight.mjCAMLIGHT_TRACKCOM)
STAND_IN = "headlight"
"""The light that shines as the headlight does, in looks that are drawn together."""


def add_stand_in(spec: mujoco.MjSpec) -> None:
    """Add to a model the unlit light that stands in for its headlight; the models of `LooksRenderer` need it."""
    spec.worldbody.add_light(
        name=STAND_IN,
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        castshadow=False,
        ambient=[0, 0, 0],
        diffuse=[0, 0, 0],
        specular=[0, 0, 0],
    )


class LooksRenderer:
    """Draw positions of one world, each in the look that comes with it; pixels are those of the look's own renderer."""

    def __init__(
        self,
        model: mujoco.MjModel,
        camera: str,
        size: tuple[int, int],
        device: str = "cpu",
        num_threads: int = 0,
    ) -> None:
        if mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_LIGHT, STAND_IN) < 0:
            raise world_error("model", "one without a light named 'headlight'", "a model made for looks",
                              "call looks.add_stand_in(spec) before it is compiled")  # fmt: skip
        self._camera, self._light = model.camera(camera).id, model.light(STAND_IN).id
        self._model = copy.copy(model)
        self._model.vis.headlight.active = 0
        self._renderer = WarpRenderer(
            self._model,
            camera,
            size,
            device,
            num_threads,
            world_fields=tuple(f for f in FIELDS if self._size(f)),
        )

    def render(self, qpos: np.ndarray, looks: Sequence[mujoco.MjModel]) -> np.ndarray:
        """Draw qpos (B, nq), row i in looks[i], as uint8 frames (B, H, W, 3)."""
        if len(looks) != len(qpos):
            raise world_error("looks", len(looks), f"one for each of {len(qpos)} positions", "repeat them")
        unique = {id(look): look for look in looks}
        rows = {key: self._fields(look) for key, look in unique.items()}
        fields = {
            name: np.stack([rows[id(look)][name] for look in looks]) for name in self._renderer.world_fields
        }
        return self._renderer.render(qpos, fields)

    def close(self) -> None:
        """Stop the threads."""
        self._renderer.close()

    def _forward(self, look: mujoco.MjModel) -> np.ndarray:
        """Return the direction in which a look's camera looks, which must not turn with its body."""
        if look.cam_mode[self._camera] in TRACKING:
            return -look.cam_mat0[self._camera].reshape(3, 3)[:, 2]
        away = np.zeros(3)
        mujoco.mju_rotVecQuat(away, np.array([0.0, 0.0, -1.0]), look.cam_quat[self._camera])
        return away

    def _size(self, field: str) -> int:
        return getattr(self._model, field).size

    def _fields(self, look: mujoco.MjModel) -> dict[str, np.ndarray]:
        """Return a look's fields, its headlight written into the light that stands in for it."""
        fields = {name: np.array(getattr(look, name)) for name in FIELDS if self._size(name)}
        fields["cam_mat0"] = fields["cam_mat0"].reshape(-1, 3, 3)
        headlight = look.vis.headlight
        if headlight.active:
            fields["light_dir"][self._light] = self._forward(look)
            for name in ("ambient", "diffuse", "specular"):
                fields[f"light_{name}"][self._light] = getattr(headlight, name)
        return fields
