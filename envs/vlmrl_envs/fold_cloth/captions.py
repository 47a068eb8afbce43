"""What can be said of a cloth on a table; written after `success`, from its own reading of the particles."""

from __future__ import annotations

import numpy as np

from vlmrl_envs.captions import Fact, Grammar, ramp

GRAMMAR = Grammar(
    subjects=("the cloth", "a cloth", "a square cloth", "a cloth on a table", "the square cloth", "the cloth is", "a cloth that is"),
    plain=("a cloth", "the cloth", "a cloth on a table", "a square cloth", "a cloth in two colours", "the cloth on the table",
           "a picture of a cloth", "a cloth and a picker", "a cloth seen from above"),
    facts=(
        Fact("folded", ("folded diagonally from top left corner to bottom right corner", "folded diagonally",
                        "folded in half diagonally", "folded along its diagonal", "folded into a triangle",
                        "in the shape of a triangle", "folded corner to corner", "folded in half into a triangle"),
             ("not folded diagonally", "not folded in half"), "shape",
             ("the cloth is folded diagonally from top left corner to bottom right corner", "a cloth folded into a triangle",
              "a triangle of cloth", "the cloth has been folded in half diagonally"),
             (("half folded", 0.5), ("almost folded into a triangle", 0.8))),
        Fact("flat", ("spread out flat", "flat", "lying flat", "laid out flat", "spread out", "lying open on the table",
                      "unfolded", "in the shape of a square"), ("not flat", "not spread out"), "shape",
             ("a flat square cloth", "a cloth laid out flat")),
        Fact("small_fold", ("with one corner turned over", "with its top left corner turned over",
                            "with a small corner folded over", "folded a little at the top left",
                            "with its top left corner folded over a little"), ("with no corner turned over",), "shape"),
        Fact("middle", ("with its top left corner in the middle", "with its top left corner folded to the middle",
                        "with one corner folded to the middle", "with the corner at the middle of the cloth",
                        "folded half way"), (), "shape"),
        Fact("crumpled", ("crumpled up", "crumpled", "bunched up", "in a heap", "crumpled up in a heap"),
             ("not crumpled",), "shape", ("a crumpled cloth",)),
        Fact("lifted", ("with one corner lifted", "with a corner in the air", "lifted off the table at one corner",
                        "with its corner held up in the air", "with one corner off the table"),
             ("lying low on the table",), "height"),
        Fact("to_right", ("with its top left corner folded to the top right", "with its left side folded to the right",
                          "folded over to the right", "with the corner at the top right",
                          "folded from the left to the right"), (), "corner"),
        Fact("to_bottom", ("with its top left corner folded to the bottom left", "with its top folded down",
                           "folded over to the bottom", "with the corner at the bottom left",
                           "folded from the top to the bottom"), (), "corner"),
        Fact("to_opposite", ("with its top left corner at the bottom right corner", "with the corner at the bottom right",
                             "with both corners at the bottom right", "with one corner on the opposite corner",
                             "with its top left corner on the opposite corner"),
             ("with its corners apart",), "corner"),
        Fact("orange", ("showing only its orange half", "all orange", "with only orange to be seen", "orange on top",
                        "with its orange half on top of the blue one"), (), "colour", ("an orange triangle",)),
        Fact("two_colours", ("showing an orange half and a blue half", "half orange and half blue",
                             "with as much blue as orange", "orange at the top left and blue at the bottom right",
                             "blue and orange in equal parts"), (), "colour"),
    ),
    axes=(("folded", "flat", "small_fold", "middle", "crumpled"), ("lifted",), ("orange", "two_colours")),
    kept=(("folded", "orange"), ("flat", "two_colours")),
)  # fmt: skip


def facts(points: np.ndarray, side: float) -> dict[str, np.ndarray]:
    """Return fact -> degree (B,); points (B, G, G, 3) by row (up) and column (right), side of the flat cloth, metres."""
    held, opposite = points[:, -1, 0], points[:, 0, -1]
    left, right = points[:, 0, 0], points[:, -1, -1]
    across = np.linalg.norm(right - left, axis=-1) / (side * np.sqrt(2.0))
    middle = (left + right) / 2
    towards = opposite - middle
    size = np.maximum(np.linalg.norm(towards[:, :2], axis=1), 0.05)
    # where the held corner is along the diagonal: -1 in the flat cloth, 1 on the opposite corner
    share = ((held - middle) * towards)[:, :2].sum(axis=1) / size**2
    beside = np.abs(held[:, 0] * towards[:, 1] - held[:, 1] * towards[:, 0]
                    - middle[:, 0] * towards[:, 1] + middle[:, 1] * towards[:, 0]) / size / side  # fmt: skip
    low, straight = ramp(points[..., 2].max(axis=(1, 2)), 0.25, 0.05), ramp(across, 0.75, 0.95)
    row, column = np.triu_indices(points.shape[1], 1)
    overlap = (
        np.linalg.norm((points[:, row, column] - points[:, column, row])[..., :2], axis=-1).mean(axis=1)
        / side
    )
    near = ramp(beside, 0.35, 0.1)
    moved = np.linalg.norm((held - opposite)[:, :2], axis=1) / side
    spread = np.linalg.norm(points[..., :2].std(axis=(1, 2)), axis=1) / side
    open_ = ramp(share, -0.6, -0.93) * near * ramp(spread, 0.3, 0.4)
    return {
        "folded": (0.35 * ramp(overlap, 0.59, 0.0) + 0.65 * ramp(overlap, 0.25, 0.03) * low) * straight,
        "flat": open_ * low * straight,
        "small_fold": near * ramp(share, -0.95, -0.75) * ramp(share, -0.1, -0.4) * straight,
        "middle": near * ramp(np.abs(share), 0.4, 0.12) * straight,
        "crumpled": np.maximum(ramp(across, 0.9, 0.65), ramp(spread, 0.3, 0.2)),
        "lifted": ramp(points[..., 2].max(axis=(1, 2)), 0.05, 0.2),
        "to_right": _at(held, right, side),
        "to_bottom": _at(held, left, side),
        "to_opposite": ramp(moved, 0.35, 0.08),
        "orange": ramp(overlap, 0.18, 0.04) * low,
        "two_colours": open_ * straight,
    }


def _at(held: np.ndarray, corner: np.ndarray, side: float) -> np.ndarray:
    """Return how near the held corner is to another one over the table (B,)."""
    return ramp(np.linalg.norm((held - corner)[:, :2], axis=1) / side, 0.4, 0.12)
