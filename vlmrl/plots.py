"""Line plots as inline SVG, drawn by a few pure functions: no library, no script, no external file."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 520, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 16, 40
MAX_POINTS = 240
"""More points than these are averaged in groups: nobody sees more of them on a page."""


@dataclass(frozen=True)
class Curve:
    """A line of a plot."""

    label: str
    """What it shows, for the legend and for screen readers."""
    points: tuple[tuple[float, float], ...]
    """(x, y) with rising x; points that are not finite are left out."""
    tone: str = "a"
    """Colour class of the page's style sheet: a, b or c."""


LARGEST = 1e100
"""Values beyond are left out as infinite ones are: their differences would overflow."""


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about `count` round numbers (1, 2, 2.5 or 5 times a power of ten) from `low` to `high`."""
    raw = (high - low) / max(count, 1)
    if not 1e-300 < raw < 1e300:  # also refuses NaN; beyond, powers of ten under- or overflow
        return [low]
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def short_number(value: float) -> str:
    """Return `value` as an axis shows it: 250k, 1.5M, 0.25."""
    for limit, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.4g}{sign}"
    return f"{value:.4g}".replace("-", "−")


def thin(points: Sequence[tuple[float, float]], limit: int = MAX_POINTS) -> list[tuple[float, float]]:
    """Return the finite points, averaged in groups of neighbours so that at most `limit` are left."""
    finite = [(x, y) for x, y in points if abs(x) < LARGEST and abs(y) < LARGEST]  # also leaves out NaN
    size = math.ceil(len(finite) / limit) if finite else 1
    groups = [finite[start : start + size] for start in range(0, len(finite), size)]
    return [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups]


def smooth(points: Sequence[tuple[float, float]], share: float = 0.06) -> list[tuple[float, float]]:
    """Return `points` with each y replaced by the mean of its neighbours, `share` of all points in all."""
    reach = round(share * len(points) / 2)
    smoothed = []
    for index, (x, _) in enumerate(points):
        near = min(reach, index, len(points) - 1 - index)  # symmetric: no lag, and the ends stay put
        window = points[index - near : index + near + 1]
        smoothed.append((x, sum(y for _, y in window) / len(window)))
    return smoothed


def line_plot(
    curves: Sequence[Curve],
    *,
    title: str,
    x_label: str = "environment steps",
    y_range: tuple[float, float] | None = None,
    percent: bool = False,
) -> str:
    """Return an SVG element with axes, the curves smoothed over their faint originals, and their last values.

    y_range: fixed limits of the y axis; None takes those of the points. percent: y in 0..1, shown in %.
    """
    thinned = [(curve, thin(curve.points)) for curve in curves]
    everything = [point for _, points in thinned for point in points]
    if not everything:
        return f'<p class="empty">No values of {html.escape(title.lower())} were recorded.</p>'
    x_low, x_high = min(0.0, min(x for x, _ in everything)), max(x for x, _ in everything)
    y_low, y_high = y_range or _padded(min(y for _, y in everything), max(y for _, y in everything))
    x_span, y_span = (x_high - x_low) or 1.0, (y_high - y_low) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + (WIDTH - LEFT - RIGHT) * (x - x_low) / x_span,
            HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (min(max(y, y_low), y_high) - y_low) / y_span,
        )

    label = html.escape(title, quote=True)
    parts = [f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">']
    parts += _axes(place, nice_ticks(x_low, x_high), nice_ticks(y_low, y_high, 4), x_label, percent)
    for curve, points in thinned:
        parts += _curve(curve, points, place, percent, filled=len(curves) == 1 and y_low == 0)
    return "".join([*parts, "</svg>"])


def _padded(low: float, high: float) -> tuple[float, float]:
    pad = 0.08 * (high - low) or 0.1 * max(abs(high), 0.1)
    return low - pad, high + pad


def _value(y: float, percent: bool) -> str:
    return f"{y:.0%}" if percent else short_number(y)


def _axes(place, x_ticks, y_ticks, x_label: str, percent: bool) -> list[str]:  # type: ignore[no-untyped-def]
    parts = []
    for tick in y_ticks:
        _, y = place(0, tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        text = _value(tick, percent)
        parts.append(f'<text class="tick" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    floor = HEIGHT - BOTTOM
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{floor}" y2="{floor}"/>')
    for tick in x_ticks:
        x, _ = place(tick, 0)
        anchor = "end" if x > WIDTH - RIGHT - 12 else "middle"
        label = short_number(tick)
        parts.append(f'<text class="tick" x="{x:.1f}" y="{floor + 17}" text-anchor="{anchor}">{label}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    label = html.escape(x_label)
    parts.append(f'<text class="label" x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{label}</text>')
    return parts


def _curve(curve: Curve, points, place, percent: bool, filled: bool) -> list[str]:  # type: ignore[no-untyped-def]
    if not points:
        return []
    smoothed = smooth(points)
    placed = [place(x, y) for x, y in smoothed]
    line = _path(placed)
    floor = HEIGHT - BOTTOM
    parts = []
    if filled:  # only from zero: an area says that its height means something
        area = f"{line}L{placed[-1][0]:.1f},{floor}L{placed[0][0]:.1f},{floor}Z"
        parts.append(f'<path class="area {curve.tone}" d="{area}"/>')
    if smoothed != points:
        parts.append(f'<path class="raw {curve.tone}" d="{_path([place(x, y) for x, y in points])}"/>')
    parts.append(f'<path class="line {curve.tone}" d="{line}"/>')
    x, y = placed[-1]
    last = _value(points[-1][1], percent)
    below = y < TOP + 24
    parts.append(f'<circle class="dot {curve.tone}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>')
    label_y = y + 20 if below else y - 10
    parts.append(f'<text class="last" x="{x:.1f}" y="{label_y:.1f}" text-anchor="end">{last}</text>')
    for (px, py), (x_value, y_value) in zip(placed, points, strict=True):
        # Invisible, wide enough for a pointer: the browser shows the title, no script needed.
        tip = html.escape(f"{curve.label}: {_value(y_value, percent)} at {x_value:,.0f}")
        parts.append(f'<circle class="hit" cx="{px:.1f}" cy="{py:.1f}" r="7"><title>{tip}</title></circle>')
    return parts


def _path(placed: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in placed)
