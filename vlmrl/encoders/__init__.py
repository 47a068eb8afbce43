"""Encoders: vision-language models that turn frames and sentences into unit vectors of one space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import torch
    from jaxtyping import Float, UInt8

    from vlmrl.encoders.clip import ClipEncoder

__all__ = ["Encoder", "load_encoder"]


@runtime_checkable
class Encoder(Protocol):
    """What a reward needs of a vision-language model; `ClipEncoder` is the one that ships."""

    name: str
    embedding_dim: int

    def embed_images(
        self, frames: UInt8[np.ndarray | torch.Tensor, "batch height width 3"]
    ) -> Float[torch.Tensor, "batch dim"]:
        """Return float32 unit vectors (B, D), detached, of uint8 frames (B, H, W, 3); B may be 0."""
        ...

    def embed_texts(self, texts: list[str]) -> Float[torch.Tensor, "prompts dim"]:
        """Return float32 unit vectors (K, D), detached, of K sentences."""
        ...

    def is_truncated(self, texts: list[str]) -> list[bool]:
        """Say of each sentence whether the model reads only its beginning."""
        ...


def load_encoder(
    name: str = "embedded",
    device: str | torch.device | None = None,
    *,
    fit: Literal["squash", "pad", "crop"] = "squash",
    batch_size: int = 256,
    seed: int | None = None,
    precision: Literal["auto", "float32"] = "auto",
) -> ClipEncoder:
    """Load a vision-language model by name, ready to embed frames and sentences.

    Args:
        name: `embedded` (ships with the package), `local-dir:PATH` (open_clip_config.json and safetensors),
            `MODEL/PRETRAINED` such as `ViT-B-32/laion2b_s34b_b79k` (open_clip's tags, downloaded once), or a
            control: `random`, `random:SEED` (the embedded architecture, untrained), `MODEL/random:SEED`; or
            `as-slow-as:MODEL[:SHARE]`, the embedded one's answers at the cost of a large MODEL (`encoders.slow`).
        device: "cpu", "cuda" or "cuda:N"; None takes the GPU if there is one.
        fit: how a frame becomes a square: stretched, padded or cut to its centre.
        batch_size: frames embedded at once.
        seed: of `random` where its name has none; 0 by default.
        precision: "auto" computes images in half precision where that is fast and was checked to hold.

    Raises:
        UsageError: unknown name, tag, device or fit; weights that are missing, corrupt, foreign or pickled.
    """
    from vlmrl.encoders import slow
    from vlmrl.encoders.clip import ClipEncoder
    from vlmrl.encoders.sources import load_clip
    from vlmrl.runtime import resolve_device

    resolved = resolve_device(device)
    if name.startswith(slow.PREFIX):
        return slow.load_slow(name, resolved, seed or 0)
    loaded = load_clip(name, 0 if seed is None else seed)
    return ClipEncoder(loaded, resolved, fit=fit, batch_size=batch_size, precision=precision)
