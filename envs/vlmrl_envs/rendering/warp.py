"""Batched ray tracing by `mujoco_warp`, on the CPU (one context for each core) or on a CUDA device."""

from __future__ import annotations

import contextlib
import io
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mujoco
import numpy as np

from vlmrl_envs.errors import world_error

CPU_BATCH = 32
"""Worlds a context draws at once on a CPU: small, so that short batches waste little."""
CUDA_BATCH = 1024
PLACES = {"body_pos", "body_quat"}
"""Fields of the model that place bodies, those too that hang on the world."""

_START = threading.Lock()


def import_warp():
    """Import warp and mujoco_warp without their banner."""
    import warp

    config: Any = warp.config
    config.quiet = True
    config.log_level = getattr(warp, "LOG_ERROR", 3)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        import mujoco_warp

        warp.init()
    return warp, mujoco_warp


class WarpRenderer:
    """Draw batches of positions of one model through one camera.

    Kernels are compiled on first use (seconds; then cached on disk). On the CPU each context runs in a thread of
    its own, since Warp's CPU kernels are single-threaded; pixels do not depend on the number of threads.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        camera: str,
        size: tuple[int, int],
        device: str = "cpu",
        num_threads: int = 0,
        world_fields: tuple[str, ...] = (),
        batch: int | None = None,
    ) -> None:
        """Make the contexts; `batch` is how many worlds each draws at once, None what suits many."""
        warp, _ = import_warp()
        if not (device == "cpu" or (device.startswith("cuda") and warp.is_cuda_available())):
            raise world_error("render_device", device, "'cpu', or 'cuda[:i]' where a CUDA driver is",
                              "use 'cpu'; `vlmrl doctor` shows the devices")  # fmt: skip
        threads = 1 if device != "cpu" else (num_threads or len(os.sched_getaffinity(0)))
        batch = batch or (CPU_BATCH if device == "cpu" else CUDA_BATCH)
        self._size = size
        self.world_fields = world_fields
        self._contexts = [_Context(model, camera, size, batch, device, world_fields) for _ in range(threads)]
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def render(self, qpos: np.ndarray, fields: dict[str, np.ndarray] | None = None) -> np.ndarray:
        """Draw qpos (B, nq) as uint8 frames (B, H, W, 3); fields (B, ...) of the model that are each row's own."""
        fields = fields or {}
        frames = np.empty((len(qpos), *self._size, 3), np.uint8)
        starts = list(range(0, len(qpos), self._contexts[0].batch))
        if self._pool is None or len(starts) < 2:
            self._contexts[0].draw(qpos, fields, frames, starts)
            return frames
        count = len(self._contexts)
        jobs = [
            self._pool.submit(context.draw, qpos, fields, frames, starts[i::count])
            for i, context in enumerate(self._contexts)
        ]
        for job in jobs:
            job.result()
        return frames

    def close(self) -> None:
        """Stop the threads."""
        if self._pool is not None:
            self._pool.shutdown()


class _Context:
    """One render context: its own data and buffers, drawing `batch` worlds a call."""

    def __init__(
        self,
        model: mujoco.MjModel,
        camera: str,
        size: tuple[int, int],
        batch: int,
        device: str,
        world_fields: tuple[str, ...],
    ) -> None:
        self._warp, self._mjw = import_warp()
        self.batch = batch
        self._device = device
        with _START, self._warp.ScopedDevice(device), contextlib.redirect_stdout(io.StringIO()):
            self._model = self._mjw.put_model(model)
            self._data = self._mjw.make_data(model, nworld=batch)
            self._context = self._mjw.create_render_context(
                model,
                nworld=batch,
                cam_res=(size[1], size[0]),
                render_rgb=True,
                render_depth=False,
                render_seg=False,
                cam_active=[camera],
                use_shadows=False,
                render_skybox=True,
                use_precomputed_rays="cam_fovy" not in world_fields,
            )
            for name in world_fields:
                shared = getattr(self._model, name)
                own = self._warp.zeros((batch, *shared.shape[1:]), dtype=shared.dtype)
                setattr(self._model, name, own)
                own.assign(np.repeat(shared.numpy(), batch, axis=0))
            if PLACES & {*world_fields}:  # else Warp places once and for all what hangs on the world
                self._model.body_weldid = self._warp.ones(model.nbody, dtype=int)
            self._pixels = self._warp.zeros((batch, size[0], size[1]), dtype=self._warp.vec3)
            self._qpos = self._warp.zeros((batch, model.nq), dtype=float)
            self._draw_batch()

    def draw(
        self, qpos: np.ndarray, fields: dict[str, np.ndarray], frames: np.ndarray, starts: list[int]
    ) -> None:
        """Draw qpos[start : start + batch] into frames for every start."""
        with self._warp.ScopedDevice(self._device):
            for start in starts:
                rows = np.minimum(np.arange(start, start + self.batch), len(qpos) - 1)
                self._qpos.assign(qpos[rows].astype(np.float32))
                for name, values in fields.items():
                    getattr(self._model, name).assign(values[rows])
                self._draw_batch()
                drawn = min(self.batch, len(qpos) - start)
                frames[start : start + drawn] = (self._pixels.numpy()[:drawn] * 255.0 + 0.5).clip(0, 255)

    def _draw_batch(self) -> None:
        mjw, model, data = self._mjw, self._model, self._data
        self._warp.copy(data.qpos, self._qpos)
        mjw.kinematics(model, data)
        mjw.com_pos(model, data)
        mjw.camlight(model, data)
        if model.nflex:
            mjw.flex(model, data)
        mjw.refit_bvh(model, data, self._context)
        mjw.render(model, data, self._context)
        mjw.get_rgb(self._context, 0, self._pixels)
