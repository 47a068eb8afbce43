"""Learning curves as a picture: a panel for each task, a line for each condition."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

WIDTH, HEIGHT, MARGIN, COLUMNS = 260, 170, 34, 4
COLOURS = (
    (31, 90, 170),
    (200, 90, 20),
    (60, 140, 60),
    (150, 60, 150),
    (120, 120, 120),
    (190, 40, 60),
    (20, 150, 160),
    (160, 130, 20),
    (90, 50, 30),
    (240, 130, 170),
)
POINTS = 60
"""Steps at which runs of one condition are compared."""


def band(curves: Sequence[Sequence[Sequence[float | None]]]) -> tuple[np.ndarray, np.ndarray]:
    """Return steps (K,) and success (3, K): lowest, median and highest of the runs' curves of (step, success, ...).

    Success between two points is drawn straight; before a run's first ended episode it is 0.
    """
    last = min(max(float(p[0] or 0) for p in curve) for curve in curves)
    steps = np.linspace(0.0, last, POINTS)
    values = np.stack([
        np.interp(steps, [float(p[0] or 0) for p in curve], [float(p[1] or 0.0) for p in curve]) for curve in curves
    ])  # fmt: skip
    return steps, np.stack([values.min(axis=0), np.median(values, axis=0), values.max(axis=0)])


def panel(pen: ImageDraw.ImageDraw, corner: tuple[int, int], title: str, lines: dict[str, tuple[np.ndarray, np.ndarray]],
          colours: dict[str, tuple[int, int, int]]) -> None:  # fmt: skip
    """Draw one task: title, axes from 0 to 100% and to its most steps, a faint band and a line for each condition."""
    left, top, right, bottom = (
        corner[0] + MARGIN,
        corner[1] + 22,
        corner[0] + WIDTH - 10,
        corner[1] + HEIGHT - 24,
    )
    most = max((steps[-1] for steps, _ in lines.values()), default=1.0) or 1.0
    place = lambda x, y: (left + (right - left) * x / most, bottom - (bottom - top) * y)  # noqa: E731
    pen.text((corner[0] + 4, corner[1] + 4), title, fill="black")
    for share in (0.0, 0.5, 1.0):
        y = place(0, share)[1]
        pen.line([(left, y), (right, y)], fill=(225, 225, 225))
        pen.text((corner[0] + 2, y - 6), f"{share:.0%}", fill=(90, 90, 90))
    pen.text((right - 40, bottom + 6), f"{most / 1000:.0f}k", fill=(90, 90, 90))
    pen.text((left, bottom + 6), "0 steps", fill=(90, 90, 90))
    for name, (steps, (low, _, high)) in lines.items():
        faint = tuple(int(255 - (255 - c) * 0.22) for c in colours[name])
        edge = [place(x, y) for x, y in zip(steps, high, strict=True)]
        edge += [place(x, y) for x, y in zip(steps[::-1], low[::-1], strict=True)]
        pen.polygon(edge, fill=faint)
    for name, (steps, (_, middle, _)) in lines.items():
        pen.line([place(x, y) for x, y in zip(steps, middle, strict=True)], fill=colours[name], width=2)


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the picture of all rows that carry a `curve`; nothing where none does."""
    rows = [row for row in rows if row.get("curve")]
    if not rows:
        return
    tasks, conditions = (list(dict.fromkeys(row[key] for row in rows)) for key in ("task", "condition"))
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(conditions)}
    lanes = -(-len(tasks) // COLUMNS)
    page = Image.new(
        "RGB", (WIDTH * min(COLUMNS, len(tasks)), HEIGHT * lanes + 20 + 14 * len(conditions)), "white"
    )
    pen = ImageDraw.Draw(page)
    for i, task in enumerate(tasks):
        mine = {c: [r["curve"] for r in rows if (r["task"], r["condition"]) == (task, c)] for c in conditions}
        lines = {c: band(curves) for c, curves in mine.items() if curves}
        panel(pen, (i % COLUMNS * WIDTH, i // COLUMNS * HEIGHT), task, lines, colours)
    for i, (name, colour) in enumerate(colours.items()):
        y = HEIGHT * lanes + 8 + 14 * i
        pen.line([(8, y + 6), (30, y + 6)], fill=colour, width=3)
        pen.text(
            (36, y),
            f"{name}: share of recent training episodes that succeed; median, lowest and highest seed",
            fill="black",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    page.quantize(64).save(path, optimize=True)
