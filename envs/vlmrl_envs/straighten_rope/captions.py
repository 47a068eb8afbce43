"""What can be said of a rope on a table; written after `success`, from its own reading of the rope's points."""

from __future__ import annotations

import numpy as np

from vlmrl_envs.captions import Fact, Grammar, ramp

GRAMMAR = Grammar(
    subjects=("the blue rope", "a blue rope", "the rope", "a rope", "a blue rope on a table", "the blue rope is", "a rope that is"),
    plain=("a blue rope", "the blue rope", "a rope", "a blue rope on a table", "a rope on a table", "the rope on the table",
           "a picture of a blue rope", "a blue rope and two pickers", "a blue rope seen from above"),
    facts=(
        Fact("straight", ("straightened", "straight", "pulled straight", "stretched out straight", "in a straight line",
                          "lying straight", "stretched out in a straight line", "pulled out straight", "stretched out"),
             ("not straight", "not straightened", "far from straight"), "shape",
             ("the blue rope is straightened", "the blue rope is straight", "a straight blue rope", "a straight rope",
              "the rope has been pulled straight"),
             (("half straightened", 0.5), ("almost straight", 0.8))),
        Fact("arc", ("bent into an arc", "bent like a bow", "in an arc", "curved like a bow", "in a gentle curve",
                     "slightly curved"), ("not curved",), "shape", ("a curved blue rope", "a rope bent like a bow")),
        Fact("u", ("bent into a U", "in the shape of a U", "bent double", "like a horseshoe", "in a half circle",
                   "bent half way round"), ("not bent double",), "shape", ("a rope in the shape of a U",)),
        Fact("ring", ("in a ring", "in a circle", "bent into a ring", "in a loop", "curled into a circle",
                      "bent into a circle"), ("not in a ring",), "shape", ("a ring of blue rope",)),
        Fact("wavy", ("in waves", "wavy", "in a wavy line", "like a snake", "in the shape of an S", "lying like a snake"),
             ("not wavy",), "shape", ("a wavy blue rope",)),
        Fact("crumpled", ("crumpled up", "crumpled", "in a heap", "bunched up", "curled up", "in a tangle",
                          "crumpled up in a heap"), ("not crumpled",), "shape",
             ("a crumpled blue rope", "a tangle of blue rope")),
        Fact("apart", ("with its ends far apart", "with its ends wide apart", "with both ends far apart",
                       "with its two ends far from each other", "with a wide gap between its ends"), (), "ends"),
        Fact("together", ("with its ends close together", "with its ends side by side", "with both ends close together",
                          "with its two ends near each other", "with a small gap between its ends"), (), "ends"),
        Fact("across", ("lying from left to right", "lying across the table from left to right", "lying level",
                        "level", "from the left to the right"), (), "direction"),
        Fact("upright", ("lying from top to bottom", "pointing up and down", "lying across the table from top to bottom",
                         "upright", "from the top to the bottom"), (), "direction"),
        Fact("rising", ("lying from the bottom left to the top right", "rising to the right", "slanting up to the right",
                        "slanting to the top right", "from the bottom left to the top right"), (), "direction"),
        Fact("falling", ("lying from the top left to the bottom right", "falling to the right", "slanting down to the right",
                         "slanting to the bottom right", "from the top left to the bottom right"), (), "direction"),
    ),
    axes=(("straight", "arc", "u", "ring", "wavy", "crumpled"), ("across", "upright", "rising", "falling")),
    kept=(("straight", "across"), ("straight", "upright"), ("straight", "rising"), ("straight", "falling")),
)  # fmt: skip


def facts(points: np.ndarray, length: float) -> dict[str, np.ndarray]:
    """Return fact -> degree (B,); points (B, P, 2) and length in metres, the picture's up along y."""
    chord = points[:, -1] - points[:, 0]
    apart = np.linalg.norm(chord, axis=1) / length
    steps = np.diff(points, axis=1)
    heading = np.unwrap(np.arctan2(steps[..., 1], steps[..., 0]), axis=1)
    turned = np.diff(heading, axis=1)
    whole, total = np.abs(heading[:, -1] - heading[:, 0]), np.abs(turned).sum(axis=1)
    even = ramp(whole / np.maximum(total, 1e-9), 0.6, 0.9)  # 1 where it bends to one side only
    centred = points - points.mean(axis=1, keepdims=True)
    reach = np.sqrt((centred**2).sum(axis=2).mean(axis=1)) / (length / np.sqrt(12.0))  # 1 for a straight rope
    straight = 0.35 * ramp(apart, 0.1, 1.0) + 0.65 * ramp(_sagging(points, length), 0.3, 0.03) * ramp(
        apart, 0.7, 0.97
    )
    slant = np.rad2deg(np.arctan2(chord[:, 1], chord[:, 0])) % 180.0
    sided = ramp(apart, 0.25, 0.5) * ramp(reach, 0.35, 0.6)
    return {
        "straight": straight,
        "arc": even * _between(whole, 0.35, 0.8, 2.0, 2.6) * ramp(apart, 0.5, 0.7),
        "u": even * _between(whole, 2.2, 2.8, 3.9, 4.6),
        "ring": ramp(whole, 4.2, 5.4) * ramp(apart, 0.4, 0.2) * even,
        "wavy": ramp(total - whole, 0.8, 2.2)
        * ramp(apart, 0.45, 0.6)
        * ramp(reach, 0.5, 0.65)
        * ramp(apart, 0.99, 0.95),
        "crumpled": ramp(reach, 0.75, 0.45) * (1.0 - even * ramp(total, 9.0, 7.0)),
        "apart": ramp(apart, 0.55, 0.85),
        "together": ramp(apart, 0.45, 0.2),
        "across": sided * _near(slant, 0.0),
        "upright": sided * _near(slant, 90.0),
        "rising": sided * _near(slant, 45.0),
        "falling": sided * _near(slant, 135.0),
    }


def _sagging(points: np.ndarray, length: float) -> np.ndarray:
    """Return how far the rope leaves the line through its middle along its own longest direction, over its length (B,)."""
    centred = points - points.mean(axis=1, keepdims=True)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    return np.abs(np.einsum("bpk,bk->bp", centred, axes[:, 1])).max(axis=1) / length


def _between(value: np.ndarray, zero: float, one: float, still: float, end: float) -> np.ndarray:
    """Return degrees (B,) that rise from `zero` to `one`, stay 1 until `still`, and fall to 0 at `end`."""
    return ramp(value, zero, one) * ramp(value, end, still)


def _near(slant: np.ndarray, wanted: float) -> np.ndarray:
    """Return how near directions (B,) are to a wanted one, degrees; a line and its reverse are the same."""
    off = np.abs((slant - wanted + 90.0) % 180.0 - 90.0)
    return ramp(off, 32.0, 14.0)
