"""The settings of labelling by an encoder and of learning a reward, without torch, so that a command line can show them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from vlmrl.errors import usage_error

Aggregate = Literal["sum", "mean"]


@dataclass(frozen=True)
class EncoderLabellerConfig:
    """How the encoder's rewards become answers."""

    alpha: float = 0.5
    """Strength of the goal-baseline projection, 0 to 1; without a baseline it is 0."""
    temperature: float = 0.05
    """Difference of rewards that makes P(first) = 0.73; `calibrated` fits it."""
    tie_band: float = 0.0
    """P(first) this near to a half is a tie, 0 to 0.5."""
    soft: bool = True
    """Answer with P(first); otherwise with 0, 1/2 or 1."""
    use_embeddings: bool = True
    """Take the segments' own embeddings where they have some; they must be of this encoder."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise usage_error(
                "temperature", self.temperature, "a finite number above 0", "0.05 is the default"
            )
        if not 0 <= self.tie_band < 0.5:
            raise usage_error("tie_band", self.tie_band, "a number in [0, 0.5)", "0 makes no ties")


@dataclass(frozen=True)
class HeadConfig:
    """An ensemble of small networks on embeddings."""

    members: int = 3
    """Networks, each with its own start and its own order of pairs."""
    hidden: tuple[int, ...] = (128, 128)
    """Units of the hidden layers; none is a linear reward."""

    def __post_init__(self) -> None:
        if self.members < 1:
            raise usage_error("members", self.members, "an integer of at least 1", "3 is RL-VLM-F's")
        if any(units < 1 for units in self.hidden):
            raise usage_error("hidden", self.hidden, "layers of at least 1 unit", "(128, 128) is the default")


@dataclass(frozen=True)
class ConvConfig:
    """An ensemble of small convolutional networks on frames. Source: RL-VLM-F's default image reward."""

    members: int = 3
    """Networks, each with its own start and its own order of pairs."""
    kernels: tuple[int, ...] = (5, 3, 3, 3)
    """Sides of the kernels, unpadded."""
    channels: tuple[int, ...] = (16, 32, 64, 128)
    """Channels of the layers."""
    strides: tuple[int, ...] = (3, 2, 2, 2)
    """Steps of the kernels."""

    def __post_init__(self) -> None:
        if self.members < 1:
            raise usage_error("members", self.members, "an integer of at least 1", "3 is RL-VLM-F's")
        if not self.kernels or not len(self.kernels) == len(self.channels) == len(self.strides):
            got = f"{len(self.kernels)}, {len(self.channels)}, {len(self.strides)} layers"
            raise usage_error("kernels, channels, strides", got, "as many of each", "leave them as they are")


@dataclass(frozen=True)
class FitConfig:
    """How an ensemble is fitted."""

    learning_rate: float = 1e-3
    """Adam's."""
    weight_decay: float = 1e-4
    """Adam's, decoupled."""
    batch_size: int = 64
    """Pairs of a step."""
    max_epochs: int = 100
    """Passes over the pairs at most."""
    patience: int | None = 10
    """Passes without a lower validation loss before it stops; the best pass is kept. None never stops early."""
    stop_accuracy: float | None = None
    """Stop when so many training pairs are predicted rightly, 0..1 (RL-VLM-F: 0.97); None leaves it out."""
    validation: float = 0.15
    """Share of pairs held out, 0 to below 1; with 0 the training loss stops it early."""
    aggregate: Aggregate = "sum"
    """What a segment's return is of its frames' rewards."""
    seed: int = 0
    """Of starts, orders and the split."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "max_epochs"):
            if getattr(self, name) < 1:
                raise usage_error(name, getattr(self, name), "an integer of at least 1", "leave it as it is")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise usage_error("learning_rate", self.learning_rate, "a finite number above 0", "1e-3 is usual")
        if not 0 <= self.validation < 1:
            raise usage_error("validation", self.validation, "a share in [0, 1)", "0.15 is the default")


@dataclass(frozen=True)
class PreferenceConfig:
    """A reward on embeddings."""

    heads: HeadConfig = field(default_factory=HeadConfig)
    """The ensemble."""
    fit: FitConfig = field(default_factory=FitConfig)
    """How it is fitted."""


@dataclass(frozen=True)
class PixelPreferenceConfig:
    """A reward on pixels; the defaults are RL-VLM-F's, but for its validation split and early stopping."""

    network: ConvConfig = field(default_factory=ConvConfig)
    """The ensemble."""
    fit: FitConfig = field(
        default_factory=lambda: FitConfig(
            learning_rate=3e-4, weight_decay=0.0, batch_size=64, max_epochs=10, stop_accuracy=0.97
        )
    )
    """How it is fitted. Source: RL-VLM-F's CNN (Adam 3e-4, batch 64, 5 to 50 epochs by task, 97%)."""
