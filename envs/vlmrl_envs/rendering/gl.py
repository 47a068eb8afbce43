"""MuJoCo's classic OpenGL renderer, set up for software GL (EGL or OSMesa): no shadows, no multisampling."""

from __future__ import annotations

import copy
import os

import mujoco
import numpy as np

from vlmrl_envs.errors import world_error


class GLRenderer:
    """Draw positions of one model through one camera, one frame at a time; haze is off, as `warp` draws none.

    torch's triton must be imported before the first GL context (both carry an LLVM); `vlmrl.runtime` sees to it.
    """

    def __init__(
        self, model: mujoco.MjModel, camera: str, size: tuple[int, int], *, haze: bool = False
    ) -> None:
        self._model = copy.copy(model)
        self._camera = camera
        visual = self._model.vis
        visual.quality.offsamples = 0
        visual.quality.numslices, visual.quality.numstacks, visual.quality.numquads = 10, 6, 1
        visual.global_.offheight = max(visual.global_.offheight, size[0])
        visual.global_.offwidth = max(visual.global_.offwidth, size[1])
        try:
            self._renderer = mujoco.Renderer(self._model, size[0], size[1])
        except Exception as error:
            raise world_error("renderer", f"gl with MUJOCO_GL={os.environ.get('MUJOCO_GL')} ({error})",
                              "a working EGL or OSMesa", "use renderer='warp', or install libegl1 or libosmesa6 "
                              "and set MUJOCO_GL=egl or osmesa") from error  # fmt: skip
        flags = self._renderer.scene.flags
        flags[mujoco.mjtRndFlag.mjRND_SHADOW] = False
        flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        flags[mujoco.mjtRndFlag.mjRND_HAZE] = haze
        self._data = mujoco.MjData(self._model)

    def render(self, qpos: np.ndarray) -> np.ndarray:
        """Draw qpos (B, nq) as uint8 frames (B, H, W, 3)."""
        frames = np.empty((len(qpos), self._renderer.height, self._renderer.width, 3), np.uint8)
        for i, row in enumerate(qpos):
            self._data.qpos[:] = row
            mujoco.mj_kinematics(self._model, self._data)
            mujoco.mj_comPos(self._model, self._data)
            mujoco.mj_camlight(self._model, self._data)
            mujoco.mj_flex(self._model, self._data)
            self._renderer.update_scene(self._data, self._camera)
            frames[i] = self._renderer.render()
        return frames

    def close(self) -> None:
        """Free the GL context."""
        self._renderer.close()
