"""Failure cases as one sheet: for each goal, its states that rank lowest and the others that rank highest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

TILE, LABEL = 64, 190
"""Sides in pixels of a frame, and of the column with words."""


def worst(scores: np.ndarray, success: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of the goal states that score lowest and of the others that score highest, `count` at most of each."""
    order = np.argsort(scores, kind="stable")
    return order[success[order]][:count], order[~success[order]][::-1][:count]


def sheet(rows: Sequence[tuple[str, np.ndarray, np.ndarray]], count: int) -> Image.Image:
    """Return a picture with a line for each (label, missed frames, mistaken frames), uint8 (K, 64, 64, 3) each."""
    width = LABEL + (2 * count) * (TILE + 2) + 12
    page = Image.new("RGB", (width, 18 + len(rows) * (TILE + 4)), "white")
    pen = ImageDraw.Draw(page)
    pen.text((LABEL, 3), "goal states that rank lowest", fill="black")
    pen.text((LABEL + count * (TILE + 2) + 12, 3), "other states that rank highest", fill="black")
    for i, (label, missed, mistaken) in enumerate(rows):
        y = 18 + i * (TILE + 4)
        pen.multiline_text((4, y + 4), _wrapped(label), fill="black")
        for k, frame in enumerate(missed[:count]):
            page.paste(Image.fromarray(frame), (LABEL + k * (TILE + 2), y))
        for k, frame in enumerate(mistaken[:count]):
            page.paste(Image.fromarray(frame), (LABEL + 12 + (count + k) * (TILE + 2), y))
    return page


def write_sheet(path: Path, found: Sequence[tuple[dict[str, Any], np.ndarray]], count: int = 6) -> None:
    """Write the sheet of goal rows (`goals.goal_row`), each with its world's frames (B, 64, 64, 3)."""
    rows = []
    for row, frames in found:
        missed, mistaken = worst(row["scores"], row["success"], count)
        rows.append((row["goal"], frames[missed], frames[mistaken]))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet(rows, count).save(path)


def _wrapped(text: str, width: int = 29) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, width)[:4])
