"""Check frames and turn them into what an image tower takes, on tensors, as the PIL path would."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from vlmrl.errors import UsageError, usage_error

Fit = Literal["squash", "pad", "crop"]
Interpolation = Literal["bicubic", "bilinear"]

MIN_SIDE = 8
MAX_SIDE = 16384
CUDA_MAX_SHRINK = 32  # CUDA's antialiasing kernel runs out of shared memory somewhere above
_EXPECTED = "uint8 RGB frames (B, H, W, 3)"


def check_frames(frames: np.ndarray | Tensor, name: str = "frames") -> UInt8[Tensor, "batch height width 3"]:
    """Return frames as a uint8 (B,H,W,3) tensor, 0..255, without a copy where none is needed; B may be 0.

    Raises:
        UsageError: not NumPy or torch, not uint8, not RGB, one side below 8 or above 16384 pixels.
    """
    if not isinstance(frames, np.ndarray | Tensor):
        remedy = (
            "stack them with numpy.stack"
            if isinstance(frames, list | tuple)
            else "convert with numpy.asarray"
        )
        raise usage_error(name, type(frames).__name__, f"{_EXPECTED}, NumPy or torch", remedy)
    shape = tuple(frames.shape)
    if len(shape) != 4 or shape[-1] != 3:
        raise _shape_error(name, frames.dtype, shape)
    if frames.dtype not in (np.uint8, torch.uint8):
        remedy = 'render as uint8, or convert values in [0, 1] with (frames * 255).round().astype("uint8")'
        raise usage_error(name, f"{frames.dtype} {shape}", _EXPECTED, remedy)
    smallest, largest = min(shape[1:3]), max(shape[1:3])
    if smallest < MIN_SIDE or largest > MAX_SIDE:
        fault = "too small" if smallest < MIN_SIDE else "too large"
        sides = f"sides of {MIN_SIDE} to {MAX_SIDE} pixels"
        remedy = "render at the encoder's image size, for example 64 to 224"
        raise usage_error(name, f"{shape[1]}x{shape[2]} pixels ({fault})", sides, remedy)
    if isinstance(frames, Tensor):
        return frames.detach()
    if not frames.flags.writeable or any(stride < 0 for stride in frames.strides):
        frames = frames.copy()  # torch takes neither read-only nor flipped memory
    return torch.from_numpy(frames)


def _shape_error(name: str, dtype: object, shape: tuple[int, ...]) -> UsageError:
    """Return the error for frames that are not (B,H,W,3), with the remedy that fits what they look like."""
    last = shape[-1] if shape else None
    what, remedy = "not an image batch", "stack H x W x 3 images along a first axis"
    if len(shape) == 4 and last == 4:
        what, remedy = "RGBA", "drop the alpha channel: frames[..., :3]"
    elif len(shape) == 4 and last == 1:
        what, remedy = "grey", "repeat the channel: frames.repeat(3, axis=-1)"
    elif len(shape) == 4 and shape[1] == 3:
        what, remedy = "channels first", "move the channels last: frames.transpose(0, 2, 3, 1)"
    elif len(shape) == 3 and last in (3, 4):
        what, remedy = "a single image", "add the batch axis: frames[None]"
    elif len(shape) in (2, 3):
        what, remedy = "grey", "repeat the values in three channels: numpy.stack([frames] * 3, axis=-1)"
    return usage_error(name, f"{dtype} {shape} ({what})", _EXPECTED, remedy)


def fit_frames(
    frames: UInt8[Tensor, "batch height width 3"],
    size: int,
    fit: Fit = "squash",
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    interpolation: Interpolation = "bicubic",
    fill: int = 0,
) -> Float[Tensor, "batch 3 size size"]:
    """Resize frames to `size` x `size`, then (x / 255 - mean) / std, float32, channels last in memory.

    `squash` stretches, `pad` keeps the proportions and fills the rest with `fill` (0..255), `crop` keeps the
    proportions and cuts to the centre. Pixels equal PIL's antialiased resize to within 2 of 255. (Only where
    a squash shrinks height much more than width do sharp edges differ more: there Pillow 13, unlike Pillow 12
    and torch, resizes vertically first; its pull request 9549.)

    Raises:
        UsageError: an unknown `fit` or `interpolation`.

    Source: open_clip `image_transform` with resize_mode "squash", "longest" and "shortest". Deviation: squash
    is the default, because the centre crop (open_clip's usual mode) cuts MountainCar's flag away.
    """
    pixels = resize_frames(frames, size, fit, interpolation, fill)
    spread = torch.tensor(std, dtype=torch.float32, device=pixels.device).view(1, 3, 1, 1)
    centre = torch.tensor(mean, dtype=torch.float32, device=pixels.device).view(1, 3, 1, 1)
    scaled = pixels.to(torch.float32, memory_format=torch.channels_last)
    return scaled.mul_(1.0 / (255.0 * spread)).sub_(centre / spread)


def resize_frames(
    frames: UInt8[Tensor, "batch height width 3"],
    size: int,
    fit: Fit = "squash",
    interpolation: Interpolation = "bicubic",
    fill: int = 0,
) -> UInt8[Tensor, "batch 3 size size"]:
    """Resize frames to `size` x `size` as uint8, channels first, by the rules of `fit_frames`.

    Raises:
        UsageError: an unknown `fit` or `interpolation`.
    """
    if fit not in get_args(Fit):
        raise usage_error("fit", fit, "squash, pad or crop", "squash keeps everything in view")
    if interpolation not in get_args(Interpolation):
        raise usage_error("interpolation", interpolation, "bicubic or bilinear", "bicubic is CLIP's own")
    height, width = resized_sides(frames.shape[1], frames.shape[2], size, fit)
    pixels = _resize(frames.permute(0, 3, 1, 2), height, width, interpolation)
    if fit == "crop":
        top, left = round((height - size) / 2), round((width - size) / 2)
        pixels = pixels[:, :, top : top + size, left : left + size]
    elif fit == "pad":
        top, left = (size - height) // 2, (size - width) // 2
        pixels = F.pad(pixels, (left, size - width - left, top, size - height - top), value=fill)
    return pixels


def resized_sides(height: int, width: int, size: int, fit: Fit) -> tuple[int, int]:
    """Return the (height, width) in pixels that a frame is resized to before padding or cropping.

    Source: `ResizeKeepRatio` of open_clip (pad, rounded) and `Resize` of torchvision (crop, floored).
    """
    if fit == "squash":
        return size, size
    if fit == "pad":
        ratio = max(height, width) / size
        return max(1, round(height / ratio)), max(1, round(width / ratio))
    if height <= width:
        return size, int(size * width / height)
    return int(size * height / width), size


def _resize(
    pixels: UInt8[Tensor, "batch 3 height width"], height: int, width: int, interpolation: Interpolation
) -> UInt8[Tensor, "batch 3 new_height new_width"]:
    """Resize with antialiasing, on uint8 where the CPU has torch's fast kernel for it."""
    if tuple(pixels.shape[2:]) == (height, width) or len(pixels) == 0:
        return pixels.new_empty(0, 3, height, width) if len(pixels) == 0 else pixels
    if pixels.device.type == "cpu" and torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512"):
        return F.interpolate(pixels, size=(height, width), mode=interpolation, antialias=True)
    if (
        pixels.device.type != "cpu"
        and max(pixels.shape[2] / height, pixels.shape[3] / width) > CUDA_MAX_SHRINK
    ):
        return _resize(pixels.cpu(), height, width, interpolation).to(pixels.device)
    return _resize_float(pixels, height, width, interpolation)


def _resize_float(
    pixels: UInt8[Tensor, "batch 3 height width"], height: int, width: int, interpolation: Interpolation
) -> UInt8[Tensor, "batch 3 new_height new_width"]:
    """Resize in float32, rounding between the passes as PIL does (bicubic overshoot is cut twice)."""
    for sides in ((pixels.shape[2], width), (height, width)):
        if tuple(pixels.shape[2:]) != sides:
            resized = F.interpolate(pixels.float(), size=sides, mode=interpolation, antialias=True)
            pixels = resized.round_().clamp_(0, 255).to(torch.uint8)
    return pixels
