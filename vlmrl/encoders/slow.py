"""A small encoder's answers at a large one's cost: what a run with a large model will take, before it is paid for."""

from __future__ import annotations

import time

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from vlmrl.encoders.clip import ClipEncoder
from vlmrl.encoders.sources import LoadedClip, load_clip
from vlmrl.errors import usage_error

PREFIX = "as-slow-as"


class SlowEncoder(ClipEncoder):
    """Embed frames as `embedded` does, and pass them through a large untrained image tower for the time it takes.

    Where the large one is too slow to be waited for, only a share of the frames goes through it; what the others
    would have taken follows from `metrics`. Sentences cost nothing: they are embedded once a run.

    Attributes:
        large: the encoder whose answers are thrown away.
        share: of the frames that it is given, in (0, 1].
        frames, passed: frames embedded so far, and those of them that `large` was given.
        seconds: spent in `large`.
    """

    def __init__(
        self, loaded: LoadedClip, device: torch.device, large: ClipEncoder, share: float = 1.0
    ) -> None:
        if not 0 < share <= 1:
            raise usage_error("share", share, "a number in (0, 1]", "1 passes every frame through")
        super().__init__(loaded, device)
        self.name = f"{PREFIX}:{large.name}:{share:g}"
        self.large, self.share = large, share
        self.frames = self.passed = 0
        self.seconds = 0.0

    def embed_images(
        self, frames: UInt8[np.ndarray | Tensor, "batch height width 3"]
    ) -> Float[Tensor, "batch dim"]:
        """Return what `embedded` returns, float32 unit vectors (B, D), after the large tower's share of the work."""
        found = super().embed_images(frames)
        self.frames += len(found)
        due = min(len(found), int(self.share * self.frames + 1e-9) - self.passed)
        if due:
            started = time.perf_counter()
            chosen = np.linspace(0, len(found) - 1, due).astype(int)  # evenly spread over the batch
            float(self.large.embed_images(frames[chosen])[0, 0])  # reading a number waits for a GPU
            self.seconds += time.perf_counter() - started
            self.passed += due
        return found

    def metrics(self) -> dict[str, float]:
        """Return how many frames there were, how many went through the large tower, and its seconds a frame."""
        each = self.seconds / self.passed if self.passed else float("nan")
        return {"frames": self.frames, "passed": self.passed, "seconds_a_frame": each}


def load_slow(name: str, device: torch.device, seed: int = 0) -> SlowEncoder:
    """Load `as-slow-as:MODEL` or `as-slow-as:MODEL:SHARE`, MODEL an architecture of open_clip's.

    Raises: UsageError for a name of another form, an unknown architecture or a share outside (0, 1].
    """
    _, _, rest = name.partition(":")
    model, _, share = rest.partition(":")
    try:
        portion = float(share) if share else 1.0
    except ValueError:
        portion = float("nan")
    if not model or not 0 < portion <= 1:
        raise usage_error(
            "encoder", name, f"{PREFIX}:MODEL or {PREFIX}:MODEL:SHARE", f'for example "{PREFIX}:ViT-L-14:0.1"'
        )
    large = ClipEncoder(load_clip(f"{model}/random:{seed}"), device, batch_size=32)
    large.name = model
    return SlowEncoder(load_clip("embedded"), device, large, portion)
