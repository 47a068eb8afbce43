"""The open_clip door: embed frames and sentences with any of its models, fast on a CPU too."""

from __future__ import annotations

import contextlib
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from vlmrl.encoders import speed
from vlmrl.encoders.sources import LoadedClip
from vlmrl.encoders.words import WordCheck, fingerprint, load_words
from vlmrl.errors import EmbeddingError, usage_error
from vlmrl.frames import Fit, Interpolation, check_frames, fit_frames

Precision = Literal["auto", "float32"]


class ClipEncoder:
    """Embed uint8 frames and sentences as float32 unit vectors of one space.

    Attributes:
        name: what `load_encoder` was asked for.
        embedding_dim: D.
        image_size: side of the square the image tower takes, in pixels.
        context_length: tokens the text tower reads, start and end included.
        fit: how a frame becomes a square: "squash", "pad" or "crop".
        mean, std: the model's own normalisation, per channel, of values in [0, 1].
        interpolation: the model's own, "bicubic" or "bilinear".
        precision: what the image tower computes in: "float32", "bfloat16" (CPU) or "float16" (GPU).
        words: the check of what its training said (`vlmrl.encoders.words`), or None; read when first asked for.

    Same frames, same batch size, same machine: the same bits. Another batch size may change the last bits.
    """

    def __init__(
        self,
        loaded: LoadedClip,
        device: torch.device,
        *,
        fit: Fit = "squash",
        batch_size: int = 256,
        precision: Precision = "auto",
    ) -> None:
        if fit not in get_args(Fit):
            raise usage_error("fit", fit, "squash, pad or crop", "squash keeps everything in view")
        if batch_size < 1:
            raise usage_error("batch_size", batch_size, "an integer of at least 1", "256 is a good default")
        if precision not in get_args(Precision):
            raise usage_error("precision", precision, "auto or float32", "auto is fast and checked")
        self.name = loaded.name
        self.embedding_dim = loaded.embedding_dim
        self.device = device
        self.fit: Fit = fit
        self.batch_size = batch_size
        self.tokenizer = loaded.tokenizer
        self._weights = loaded.weights
        self.model = loaded.model.eval().requires_grad_(False)
        preprocess: dict[str, Any] = self.model.visual.preprocess_cfg
        self.image_size = _square(loaded.name, preprocess["size"])
        self.mean = _channels(preprocess["mean"])
        self.std = _channels(preprocess["std"])
        bilinear = preprocess["interpolation"] == "bilinear"  # open_clip reads anything else as bicubic
        self.interpolation: Interpolation = "bilinear" if bilinear else "bicubic"
        self.fill = int(preprocess["fill_color"])
        self.context_length = int(
            getattr(self.model, "context_length", None) or self.tokenizer.context_length
        )
        self._half: torch.dtype | None = None
        self._place()
        if precision == "auto":
            self._half = self._choose_half()
        self.precision = str(self._half or torch.float32).removeprefix("torch.")

    def embed_images(
        self, frames: UInt8[np.ndarray | Tensor, "batch height width 3"]
    ) -> Float[Tensor, "batch dim"]:
        """Return float32 unit vectors (B, D), detached, on `device`, of uint8 frames (B, H, W, 3), B >= 0.

        Raises:
            UsageError: the frames are no uint8 RGB batch of a usable size.
            EmbeddingError: an embedding is not finite.
        """
        checked = check_frames(frames)
        # Written into a plain tensor: what inference mode returns could never take part in training.
        embeddings = torch.empty(len(checked), self.embedding_dim, device=self.device)
        with torch.inference_mode():
            for start in range(0, len(checked), self.batch_size):
                chunk = checked[start : start + self.batch_size].to(self.device)
                embeddings[start : start + len(chunk)] = self._embed_chunk(chunk)
            finite = bool(torch.isfinite(embeddings).all())
        if not finite:
            raise EmbeddingError(f"encoder {self.name}: an image embedding is not finite ({self.precision})")
        return embeddings

    def embed_texts(self, texts: list[str]) -> Float[Tensor, "prompts dim"]:
        """Return float32 unit vectors (K, D), detached, on `device`, of K sentences, computed in float32.

        Raises:
            UsageError: not a list of strings.
        """
        embeddings = torch.empty(len(_checked_texts(texts)), self.embedding_dim, device=self.device)
        with torch.inference_mode():
            for start in range(0, len(texts), self.batch_size):
                tokens = self.tokenizer(texts[start : start + self.batch_size]).to(self.device)
                embeddings[start : start + len(tokens)] = F.normalize(
                    self.model.encode_text(tokens).float(), dim=-1
                )
        return embeddings

    @cached_property
    def words(self) -> WordCheck | None:
        """Return the check of what this encoder's training said; None without a words.json beside its weights.

        Raises:
            UsageError: a words.json that cannot be read.
        """
        return None if self._weights is None else load_words(self._weights.parent, self._weights)

    @cached_property
    def fingerprint(self) -> str | None:
        """Return 12 hexadecimal digits of the SHA-256 of the weights' file; None for what its name says (tags, random)."""
        return None if self._weights is None else fingerprint(self._weights)

    def is_truncated(self, texts: list[str]) -> list[bool]:
        """Say of each sentence whether it has more tokens than `context_length`: its end goes unread."""
        if not _checked_texts(texts):
            return []
        read = self.tokenizer(texts, context_length=self.context_length)
        # A sentence that is cut ends in the end token, one token early. (Tokenizers pad in different ways.)
        longer = self.tokenizer(texts, context_length=self.context_length + 1)
        return (read != longer[:, : self.context_length]).any(dim=1).tolist()

    def _embed_chunk(self, frames: UInt8[Tensor, "batch height width 3"]) -> Float[Tensor, "batch dim"]:
        images = fit_frames(
            frames, self.image_size, self.fit, self.mean, self.std, self.interpolation, fill=self.fill
        )
        half = self._half
        context = torch.autocast(self.device.type, half) if half else contextlib.nullcontext()
        with context:
            features = self.model.encode_image(images)
        return F.normalize(features.float(), dim=-1)

    def _place(self) -> None:
        """Move the model to the device; rewrite a convolutional tower for speed (1.2 to 1.6 times)."""
        if speed.is_convolutional(self.model.visual):
            speed.fold(self.model.visual)
            self.model.visual.to(memory_format=torch.channels_last)
        self.model.to(self.device)

    def _choose_half(self) -> torch.dtype | None:
        """Return the half precision to compute images in, or None where it gains nothing or does not hold.

        On a CPU only convolutions gain, and only with bfloat16 instructions; a ViT gets slower.
        """
        if self.device.type == "cuda":
            half = torch.float16
        elif speed.is_convolutional(self.model.visual) and speed.has_bfloat16():
            half = torch.bfloat16
        else:
            return None
        probe = torch.from_numpy(speed.probe_frames()).to(self.device)
        with torch.inference_mode():
            exact = self._embed_chunk(probe)
            self._half = half
            rounded = self._embed_chunk(probe)
            self._half = None
        return half if speed.agrees(exact, rounded) else None


def _square(name: str, size: int | tuple[int, int]) -> int:
    """Return the one side of a square image size."""
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if sides[0] != sides[1]:
        raise usage_error(
            "encoder", f"{name} with images of {sides}", "a square image size", "take another model"
        )
    return int(sides[0])


def _channels(values: float | tuple[float, ...]) -> tuple[float, ...]:
    """Return one value per channel."""
    return (
        (float(values),) * 3 if isinstance(values, int | float) else tuple(float(value) for value in values)
    )


def _checked_texts(texts: list[str]) -> list[str]:
    """Return the sentences; a lone string would be taken for a list of letters."""
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise usage_error("texts", repr(texts), "a list of strings", "put a single sentence in a list")
    return texts
