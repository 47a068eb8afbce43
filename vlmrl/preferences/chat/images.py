"""Segments as pictures for a chat model: few frames, bounded in size, as data URLs."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from vlmrl.errors import usage_error
from vlmrl.overlay import check_frame, enlarge
from vlmrl.preferences.chat.config import ImageConfig
from vlmrl.preferences.protocol import Segment

GAP = 6
"""Pixels between the frames of a strip."""
QUALITIES = (92, 80, 65)
"""JPEG's, tried from the best."""


def segment_images(segment: Segment, config: ImageConfig) -> list[str]:
    """Return the pictures that show `segment` as data URLs, each within the bounds of `config`.

    One for layout "strip", else one for each frame shown. Raises: UsageError if frames are no uint8 (H, W, 3), or
    no picture of 32 pixels is small enough.
    """
    shown = [bounded(frame, config) for frame in spread(segment.frames, config.max_frames)]
    if config.layout == "strip":
        shown = [bounded(strip(shown), config)]
    return [data_url(frame, config) for frame in shown]


def num_images(config: ImageConfig) -> int:
    """Return the most pictures that a segment becomes."""
    return 1 if config.layout == "strip" else config.max_frames


def spread(frames: np.ndarray, count: int) -> list[np.ndarray]:
    """Return at most `count` of `frames` (L, H, W, 3), evenly spread; the last is always among them."""
    if len(frames) == 0:
        raise usage_error("segment", "no frame", "one frame or more", "draw another")
    places = np.linspace(len(frames) - 1, 0, min(count, len(frames)))[::-1]  # one frame alone: the last
    return [frames[round(float(place))] for place in places]


def bounded(frame: np.ndarray, config: ImageConfig) -> np.ndarray:
    """Return `frame`, uint8 (H, W, 3), enlarged by whole factors to `min_side` or shrunk to `max_side`."""
    check_frame(frame)
    height, width = frame.shape[:2]
    if min(height, width) == 0:
        raise usage_error("frame", f"{width}x{height} pixels", "at least one pixel", "render it again")
    if max(height, width) <= config.max_side:
        larger = enlarge(frame, config.min_side) if config.min_side > width else frame
        return larger if max(larger.shape[:2]) <= config.max_side else frame
    scale = config.max_side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0))


def strip(frames: list[np.ndarray]) -> np.ndarray:
    """Return frames of one size side by side, left to right, with a grey gap."""
    if len(frames) == 1:
        return frames[0]
    gap = np.full((frames[0].shape[0], GAP, 3), 128, np.uint8)
    parts = [part for frame in frames for part in (frame, gap)][:-1]
    return np.concatenate(parts, axis=1)


def data_url(frame: np.ndarray, config: ImageConfig) -> str:
    """Return `frame` as a data URL of at most `max_bytes` before base64; JPEG, then smaller, where PNG is too large."""
    image = Image.fromarray(frame)
    while True:
        for kind, quality in (("png", 0), *(("jpeg", q) for q in QUALITIES)):
            if kind == "png" and config.format == "jpeg":
                continue
            buffer = io.BytesIO()
            image.save(buffer, format=kind.upper(), **({"quality": quality} if quality else {}))
            if buffer.tell() <= config.max_bytes:
                return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
        if max(image.size) <= 32:
            expected = "room for a picture of 32 pixels"
            raise usage_error("images.max_bytes", config.max_bytes, expected, "raise it")
        image = image.resize((max(1, image.width // 2), max(1, image.height // 2)), Image.Resampling.LANCZOS)
