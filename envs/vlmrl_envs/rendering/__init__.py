"""States to frames: `warp` ray-traces anywhere, `gl` is MuJoCo's classic renderer behind the same call."""

from __future__ import annotations

from typing import Protocol

import mujoco
import numpy as np

from vlmrl_envs.errors import world_error

RENDERERS = ("warp", "gl")


class Renderer(Protocol):
    """Draws generalised positions of one model through one camera at one size."""

    def render(self, qpos: np.ndarray) -> np.ndarray:
        """Draw qpos (B, nq) as uint8 frames (B, H, W, 3)."""
        ...

    def close(self) -> None: ...


def make_renderer(
    name: str,
    model: mujoco.MjModel,
    camera: str,
    size: tuple[int, int],
    device: str = "cpu",
    num_threads: int = 0,
) -> Renderer:
    """Make a renderer of a model's camera at size (H, W) pixels.

    Raises: `WorldError` for an unknown renderer, a size outside 8..4096, or a GL that does not start.
    """
    if min(size) < 8 or max(size) > 4096:
        raise world_error("render_size", tuple(size), "height and width in 8..4096", "choose another size")
    if name == "warp":
        from vlmrl_envs.rendering.warp import WarpRenderer

        return WarpRenderer(model, camera, size, device=device, num_threads=num_threads)
    if name == "gl":
        from vlmrl_envs.rendering.gl import GLRenderer

        return GLRenderer(model, camera, size)
    raise world_error("renderer", name, f"one of {list(RENDERERS)}", "warp works everywhere")


def blank_frames(frames: np.ndarray, tolerance: int = 2) -> np.ndarray:
    """Tell which frames (B, H, W, 3) uint8 are black or of one colour, bool (B,).

    A frame is blank where no channel varies by more than `tolerance` of 255 over its pixels.
    """
    flat = frames.reshape(frames.shape[0], -1, frames.shape[-1])
    return (flat.max(axis=1).astype(int) - flat.min(axis=1) <= tolerance).all(axis=-1)
