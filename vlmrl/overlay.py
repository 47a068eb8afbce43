"""Pure drawing on frames: the goal, the reward curve, the state of affairs; PIL's own font only."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vlmrl.errors import usage_error

BACKGROUND = (15, 18, 25)
RULE = (52, 58, 72)
TEXT = (236, 239, 245)
FAINT = (148, 156, 172)
CURVE = (96, 176, 255)
GOOD = (92, 205, 146)
BAD = (120, 126, 140)
MIN_WIDTH = 384
"""Frames are enlarged by a whole factor until they are about this wide, in pixels."""
PLOT_HEIGHT = 64
MARGIN = 12


def check_frame(frame: np.ndarray) -> None:
    """Refuse what is no uint8 (H, W, 3) frame. Raises: UsageError."""
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        got = f"{getattr(frame, 'dtype', type(frame).__name__)} {getattr(frame, 'shape', '')}"
        raise usage_error("frame", got, "uint8 (H, W, 3)", "convert it to RGB bytes first")


def annotate(
    frame: np.ndarray,
    rewards: Sequence[float],
    *,
    goal: str,
    horizon: int,
    reward_range: tuple[float, float] | None = None,
    success: bool | None = None,
    caption: str = "",
) -> np.ndarray:
    """Return `frame` enlarged, with the goal, the state of affairs and the reward curve so far above it.

    frame: uint8 (H, W, 3). rewards: of the steps so far, the last one belongs to `frame`. All of it stands
    above the picture because a player's controls cover the lower edge.
    Returns uint8 (H', W', 3), even sides; the size depends only on the frame's and on the goal's length.
    """
    check_frame(frame)
    frame = enlarge(frame, MIN_WIDTH)
    width = frame.shape[1]
    lines = _wrap(f'"{plain_text(goal)}"', font(15), width - 2 * MARGIN)
    status = f"step {len(rewards)} of {horizon}"
    status = f"{plain_text(caption)}  |  {status}" if caption else status
    top = MARGIN + 20 * len(lines) + 6
    panel = Image.new("RGB", (width, top + 24 + 24 + PLOT_HEIGHT + MARGIN), BACKGROUND)
    draw = ImageDraw.Draw(panel)
    for number, line in enumerate(lines):
        draw.text((MARGIN, MARGIN + 20 * number), line, font=font(15), fill=TEXT)
    draw.text((MARGIN, top), status, font=font(12), fill=FAINT)
    if success is not None:
        _chip(draw, width - MARGIN, top, success)
    low, high = reward_range or _nice_range(rewards)
    _reward_line(draw, width, top + 24, rewards, f"{low:.3g} to {high:.3g}")
    plot = _plot(rewards, max(horizon, len(rewards)), low, high, width - 2 * MARGIN, PLOT_HEIGHT)
    panel.paste(plot, (MARGIN, top + 48))
    whole = np.concatenate([np.asarray(panel), frame])
    return np.pad(whole, ((0, len(whole) % 2), (0, width % 2), (0, 0)), mode="edge")


def _reward_line(
    draw: ImageDraw.ImageDraw, width: int, y: float, rewards: Sequence[float], axis: str
) -> None:
    value = f"{rewards[-1]:.3f}" if rewards else "-"
    draw.text((MARGIN, y), "reward", font=font(12), fill=FAINT)
    draw.text((MARGIN + 48, y - 2), value, font=font(15), fill=CURVE)
    left = width - MARGIN - draw.textlength(axis, font(12))
    draw.text((left, y), axis, font=font(12), fill=FAINT)


def _chip(draw: ImageDraw.ImageDraw, right: float, y: float, success: bool) -> None:
    text = "at the goal" if success else "not at the goal"
    color = GOOD if success else BAD
    left = right - draw.textlength(text, font(12))
    draw.text((left, y), text, font=font(12), fill=color)
    draw.ellipse((left - 14, y + 3, left - 6, y + 11), fill=color)


def _plot(
    rewards: Sequence[float], steps: int, low: float, high: float, width: int, height: int
) -> Image.Image:
    """Draw the curve at twice the size and shrink it: PIL's lines are not smooth."""
    scale = 2
    image = Image.new("RGB", (width * scale, height * scale), BACKGROUND)
    draw = ImageDraw.Draw(image)
    for share in (0.0, 0.5, 1.0):
        level = round((height * scale - 3) * share) + 1
        draw.line((0, level, width * scale, level), fill=RULE, width=scale // 2)
    inset = 4 * scale
    span = max(high - low, 1e-12)

    def point(index: int, reward: float) -> tuple[float, float]:
        share = min(max((reward - low) / span, 0.0), 1.0)
        x = inset + (width * scale - 2 * inset) * index / max(steps - 1, 1)
        return x, height * scale - inset - (height * scale - 2 * inset) * share

    points = [point(i, r) for i, r in enumerate(rewards) if math.isfinite(r)]
    if len(points) > 1:
        draw.line(points, fill=CURVE, width=2 * scale, joint="curve")
    if points:
        x, y = points[-1]
        radius = 3.5 * scale
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=TEXT)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _nice_range(rewards: Sequence[float]) -> tuple[float, float]:
    finite = [reward for reward in rewards if math.isfinite(reward)] or [0.0]
    low, high = min(finite), max(finite)
    pad = 0.05 * (high - low) or 0.05 * max(abs(high), 1e-3)
    return low - pad, high + pad


def _wrap(text: str, face: Any, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if face.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


_FONTS: dict[int, Any] = {}


def font(size: int) -> Any:
    if size not in _FONTS:
        _FONTS[size] = ImageFont.load_default(size=size)  # comes with PIL: no font file is needed
    return _FONTS[size]


_PLAIN = {"×": "x", "→": "->", "≥": ">=", "–": "-", "—": "-", "’": "'", "“": '"', "”": '"', "ß": "ss"}


def plain_text(text: str) -> str:
    """Return `text` in the letters PIL's own font has: accents dropped, dashes and quotes made plain."""
    for fancy, plain in _PLAIN.items():
        text = text.replace(fancy, plain)
    return "".join(
        c if c.isascii() else "?"
        for c in unicodedata.normalize("NFKD", text)
        if c.isprintable() and not unicodedata.combining(c)
    )


def enlarge(frame: np.ndarray, min_width: int) -> np.ndarray:
    """Return `frame`, uint8 (H, W, 3), enlarged by the whole factor that brings it nearest to `min_width`.

    Pixels are repeated and not smoothed: the picture shows what the encoder saw. Never shrinks.
    """
    factor = max(1, round(min_width / frame.shape[1]))
    factor += factor * frame.shape[1] < min_width * 0.75
    return frame.repeat(factor, axis=0).repeat(factor, axis=1)
