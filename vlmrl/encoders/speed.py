"""Make an image tower fast without changing what it says, and check that it does not."""

from __future__ import annotations

from types import MethodType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

MIN_COSINE = 0.9999  # half precision must keep every probe frame this close to float32 ...
MAX_NOISE = 0.1  # ... and move them by at most this part of their spread, on average


def fold(tower: nn.Module) -> None:
    """Rewrite an open_clip ModifiedResNet in place so that it computes the same with less.

    Batch normalisations go into the convolutions before them. The attention pool, of which open_clip keeps
    one token, computes that one query only. Other towers are left as they are.
    """
    from open_clip.modified_resnet import AttentionPool2d, ModifiedResNet

    if not isinstance(tower, ModifiedResNet):
        return
    fold_batch_norms(tower)
    if isinstance(tower.attnpool, AttentionPool2d):
        tower.attnpool.forward = MethodType(_pool_first, tower.attnpool)


def _pool_first(
    pool: Any, features: Float[Tensor, "batch channels height width"]
) -> Float[Tensor, "batch dim"]:
    """Return what open_clip's `AttentionPool2d.forward` returns: the mean token's attention over all."""
    batch, channels = features.shape[:2]
    tokens = features.flatten(2).transpose(1, 2)
    tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1) + pool.positional_embedding
    query, key, value = (
        layer(part).unflatten(-1, (pool.num_heads, -1)).transpose(1, 2)
        for layer, part in ((pool.q_proj, tokens[:, :1]), (pool.k_proj, tokens), (pool.v_proj, tokens))
    )
    return pool.c_proj(F.scaled_dot_product_attention(query, key, value).reshape(batch, channels))


def agrees(exact: Float[Tensor, "batch dim"], rounded: Float[Tensor, "batch dim"]) -> bool:
    """Say whether rounded unit vectors stand for the exact ones: in direction, and beside their own spread.

    The second test matters for an untrained control: its vectors all but coincide, rounding would turn its
    reward into noise, and the control would fail for the wrong reason.
    """
    spread = (exact - exact.mean(dim=0)).norm(dim=-1).mean()
    noise = (rounded - exact).norm(dim=-1).mean()
    close = F.cosine_similarity(exact, rounded, dim=-1).min() >= MIN_COSINE
    return bool(torch.isfinite(rounded).all() and close and noise <= MAX_NOISE * spread)


def probe_frames(count: int = 16, side: int = 96) -> UInt8[np.ndarray, "count side side 3"]:
    """Return fixed frames of coloured discs and bars over gradients, uint8 (count, side, side, 3)."""
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[0:side, 0:side] / side
    frames = np.empty((count, side, side, 3))
    for frame in frames:
        sky, ground, disc, bar = generator.uniform(0, 255, (4, 3))
        y, x, angle = generator.uniform(0.2, 0.8), generator.uniform(0.2, 0.8), generator.uniform(0, np.pi)
        frame[:] = sky * (1 - rows[..., None]) + ground * rows[..., None]
        across = (columns - x) * np.cos(angle) + (rows - y) * np.sin(angle)
        frame[np.abs(across) < 0.04] = bar
        frame[(columns - x) ** 2 + (rows - y) ** 2 < 0.02] = disc
    return frames.round().astype(np.uint8)


def fold_batch_norms(tower: nn.Module) -> None:
    """Fold every batch normalisation of a ModifiedResNet into the convolution before it, in place."""
    for module in list(tower.modules()):
        for index in ("1", "2", "3"):
            convolution, norm = getattr(module, f"conv{index}", None), getattr(module, f"bn{index}", None)
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, f"conv{index}", fuse_conv_bn_eval(convolution, norm))
                setattr(module, f"bn{index}", nn.Identity())
        shortcut = getattr(module, "downsample", None)
        if isinstance(shortcut, nn.Sequential) and len(shortcut) == 3:
            convolution, norm = shortcut[1], shortcut[2]
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                shortcut[1], shortcut[2] = fuse_conv_bn_eval(convolution, norm), nn.Identity()


def is_convolutional(tower: nn.Module) -> bool:
    """Say whether a tower has more convolutions than a ViT's one patch embedding."""
    return sum(isinstance(module, nn.Conv2d) for module in tower.modules()) > 4


def has_bfloat16() -> bool:
    """Say whether this CPU computes in bfloat16 (AVX-512 BF16 or AMX), rather than emulating it."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
