"""Where a cloth's particles are when one corner of it is brought somewhere: a fold of paper, exactly."""

from __future__ import annotations

import numpy as np

from vlmrl_envs.fold_cloth import model


def folded(corner: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Fold the flat cloth so that its held corner would come to `corner`, turned about the crease by `angle`.

    The crease is the line half way between the corner's place in the flat cloth and the wanted one, at right angles to
    the way. All that lies on the corner's side of it turns about it.

    Args:
        corner: where the held corner goes if the fold is closed (B, 2), metres.
        angle: 0 leaves the cloth flat, pi closes the fold, between it stands up (B,), radians.

    Returns: the particles' places (B, GRID, GRID, 3), metres.
    """
    flat = model.rest()
    start = flat[model.HELD][:2]
    way = corner - start
    length = np.linalg.norm(way, axis=1)
    towards = way / np.maximum(length, 1e-9)[:, None]
    # how far each particle lies on the corner's side of the crease
    behind = (start + way / 2 - flat[None, ..., :2].transpose(1, 2, 0, 3)).transpose(2, 0, 1, 3)
    behind = np.maximum(np.einsum("brck,bk->brc", behind, towards), 0.0) * (length > 1e-6)[:, None, None]
    along = (1.0 - np.cos(angle))[:, None, None] * behind
    up = np.sin(angle)[:, None, None] * behind
    over = flat[None, ..., :2] + along[..., None] * towards[:, None, None]
    height = np.maximum(flat[..., 2], np.where(behind > 0, model.LAYER, 0.0)) + np.maximum(up, 0.0)
    return np.concatenate([over, height[..., None]], axis=-1)
