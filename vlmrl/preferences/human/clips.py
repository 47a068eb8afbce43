"""Segments as filmstrips that a page can loop without a video codec."""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image

from vlmrl.overlay import check_frame
from vlmrl.preferences.protocol import Segment

MAX_FRAMES = 100
"""Frames of a clip; longer segments are thinned evenly, first and last kept."""
MAX_SIDE = 512
"""Longest side of a frame, in pixels."""


def filmstrip(segment: Segment) -> tuple[bytes, dict[str, int]]:
    """Return the frames of `segment` as one PNG, row by row, and its {"frames", "columns", "width", "height"}.

    width and height are a frame's. Raises: UsageError if frames are no uint8 (H, W, 3).
    """
    places = np.linspace(0, len(segment.frames) - 1, min(len(segment.frames), MAX_FRAMES)).round().astype(int)
    frames = [segment.frames[place] for place in places]
    check_frame(frames[0])
    height, width = frames[0].shape[:2]
    scale = min(1.0, MAX_SIDE / max(height, width))
    width, height = max(1, round(width * scale)), max(1, round(height * scale))
    columns = math.ceil(math.sqrt(len(frames)))
    sheet = Image.new("RGB", (columns * width, math.ceil(len(frames) / columns) * height))
    for number, frame in enumerate(frames):
        image = Image.fromarray(frame)
        if scale < 1.0:
            image = image.resize((width, height), Image.Resampling.LANCZOS)
        sheet.paste(image, ((number % columns) * width, (number // columns) * height))
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue(), {"frames": len(frames), "columns": columns, "width": width, "height": height}
