"""Rewards learned from preferences: an ensemble of heads on embeddings, or of small CNNs on pixels.

Source: Christiano et al. 2017; RL-VLM-F (Wang et al. 2024) for the ensemble of three and the CNN. Deviations: heads on
a frozen encoder's embeddings by default, so that all an agent has seen can be relabelled without its pictures; soft
labels; a validation split; the output is standardised over a pool of frames.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from vlmrl.configs import from_plain, to_plain
from vlmrl.encoders import Encoder
from vlmrl.errors import usage_error
from vlmrl.frames import check_frames
from vlmrl.preferences.configs import PixelPreferenceConfig, PreferenceConfig
from vlmrl.preferences.embedding import segment_embeddings
from vlmrl.preferences.encoder_labeller import fingerprint
from vlmrl.preferences.learned import LearnedReward
from vlmrl.preferences.networks import EmbeddingEnsemble, PixelEnsemble
from vlmrl.preferences.protocol import Segment
from vlmrl.preferences.weights import read_reward


class PreferenceReward(LearnedReward):
    """Score frames by an ensemble of heads on an encoder's embeddings, learned from preferences.

    An `EmbeddingReward`: whatever was embedded once can be scored again after each fit, without its pictures.
    """

    kind = "embeddings"
    segment_reads = "embeddings"

    def __init__(
        self,
        encoder: Encoder,
        config: PreferenceConfig | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        """Make a reward that has learned nothing yet; the heads run on `device`, the encoder's by default."""
        super().__init__()
        self.encoder = encoder
        self.config = config or PreferenceConfig()
        self.members, self.fit_config = self.config.heads.members, self.config.fit
        self.device = torch.device(device or str(getattr(encoder, "device", "cpu")))

    def compute_reward(
        self, batch: UInt8[np.ndarray | Tensor, "batch height width 3"]
    ) -> Float[Tensor, " batch"]:
        """Return standardised rewards (B,), float32, detached, of uint8 frames (B, H, W, 3).

        Raises: UsageError before the first `fit`, or for frames that are no uint8 RGB batch.
        """
        self._fitted()
        return self.reward_of_embeddings(self.encoder.embed_images(batch))

    def reward_of_embeddings(
        self, embeddings: Float[np.ndarray | Tensor, "batch dim"]
    ) -> Float[Tensor, " batch"]:
        """Return standardised rewards (B,), float32, detached, of unit vectors (B, D) of this encoder."""
        return self.member_rewards(embeddings).mean(dim=0)

    @classmethod
    def load(
        cls, folder: str | Path, encoder: Encoder, device: str | torch.device | None = None
    ) -> PreferenceReward:
        """Read a saved reward. Raises: UsageError for damaged files, or an encoder it was not learned with."""
        tensors, record = read_reward(Path(folder), cls.kind)
        wanted = (record.get("encoder"), record.get("fingerprint"))
        here = (encoder.name, fingerprint(encoder))
        if wanted[1] != here[1]:
            remedy = f"load it with load_encoder({wanted[0]!r})"
            raise usage_error("encoder", f"{here[0]} ({here[1]})", f"{wanted[0]} ({wanted[1]})", remedy)
        reward = cls(encoder, from_plain(PreferenceConfig, record.get("config", {}), "config"), device)
        empty = np.zeros((1, encoder.embedding_dim), np.float32)
        reward._take(tensors, record, reward._start(empty, torch.Generator()))
        return reward

    def _read(self, segments: list[Segment]) -> list[np.ndarray]:
        return segment_embeddings(self.encoder, segments)

    def _items(self, batch: Any) -> Any:
        dim = self.encoder.embedding_dim
        if batch.ndim < 2 or batch.shape[-1] != dim:
            remedy = "embed frames with this reward's encoder"
            raise usage_error("embeddings", f"shape {tuple(batch.shape)}", f"vectors of {dim}", remedy)
        return batch.float() if isinstance(batch, Tensor) else np.asarray(batch, np.float32)

    def _start(self, frames: np.ndarray, generator: torch.Generator) -> nn.Module:
        ensemble = EmbeddingEnsemble(self.encoder.embedding_dim, self.config.heads, generator)
        ensemble.set_inputs(torch.from_numpy(frames))
        return ensemble.to(self.device)

    def _frame_shape(self) -> tuple[int, ...]:
        return (self.encoder.embedding_dim,)

    def _described(self) -> dict[str, Any]:
        name, dim = self.encoder.name, self.encoder.embedding_dim
        config = to_plain(self.config)
        return {
            "encoder": name,
            "embedding_dim": dim,
            "fingerprint": fingerprint(self.encoder),
            "config": config,
        }


class PixelPreferenceReward(LearnedReward):
    """Score frames by an ensemble of small CNNs on their pixels, learned from preferences, as RL-VLM-F does.

    Frames have to be of one size, that of the first fit. What is relabelled has to be drawn again.
    """

    kind = "pixels"
    segment_reads = "frames"

    def __init__(
        self, config: PixelPreferenceConfig | None = None, device: str | torch.device | None = None
    ) -> None:
        """Make a reward that has learned nothing yet; the networks run on `device`, the CPU by default."""
        super().__init__()
        self.config = config or PixelPreferenceConfig()
        self.members, self.fit_config = self.config.network.members, self.config.fit
        self.device = torch.device(device or "cpu")

    def compute_reward(
        self, batch: UInt8[np.ndarray | Tensor, "batch height width 3"]
    ) -> Float[Tensor, " batch"]:
        """Return standardised rewards (B,), float32, detached, of uint8 frames (B, H, W, 3).

        Raises: UsageError before the first `fit`, for frames that are no uint8 RGB batch, or of another size.
        """
        self._fitted()
        return self.member_rewards(check_frames(batch)).mean(dim=0)

    @classmethod
    def load(cls, folder: str | Path, device: str | torch.device | None = None) -> PixelPreferenceReward:
        """Read a saved reward. Raises: UsageError for damaged files."""
        tensors, record = read_reward(Path(folder), cls.kind)
        reward = cls(from_plain(PixelPreferenceConfig, record.get("config", {}), "config"), device)
        height, width = record.get("frame_size", (0, 0))
        empty = np.zeros((1, height, width, 3), np.uint8)
        reward._take(tensors, record, reward._start(empty, torch.Generator()))
        return reward

    def _read(self, segments: list[Segment]) -> list[np.ndarray]:
        return [self._items(s.frames) for s in segments]

    def _items(self, batch: Any) -> Any:
        if self.ensemble is not None:
            wanted: Any = self.ensemble.frame_shape
            if tuple(batch.shape[-3:]) != tuple(wanted):
                remedy = "render at the size of the first fit"
                raise usage_error("frames", f"shape {tuple(batch.shape)}", f"frames of {wanted}", remedy)
        if batch.dtype not in (np.uint8, torch.uint8):
            remedy = 'convert values in [0, 1] with (frames * 255).round().astype("uint8")'
            raise usage_error("frames", str(batch.dtype), "uint8, a quarter of float32's memory", remedy)
        return batch

    def _start(self, frames: np.ndarray, generator: torch.Generator) -> nn.Module:
        return PixelEnsemble(frames.shape[1], frames.shape[2], self.config.network, generator).to(self.device)

    def _frame_shape(self) -> tuple[int, ...]:
        ensemble: Any = self._fitted()
        return tuple(ensemble.frame_shape)

    def _described(self) -> dict[str, Any]:
        ensemble: Any = self._fitted()
        return {"frame_size": ensemble.frame_shape[:2], "config": to_plain(self.config)}
