"""The loss: every frame of a batch against every sentence, each pair by its truth."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vlmrl.adapt.config import LabelConfig


def pair_labels(
    truth: Float[Tensor, "frames texts"], same: Float[Tensor, "frames texts"], config: LabelConfig
) -> Float[Tensor, "frames texts"]:
    """Return the labels of pairs by their truth, 0..1; below 0 it marks a frame of nothing, or words in disorder.

    `same` is 1 where the sentence is one of the frame's own family, else 0.
    """
    label = torch.where(same > 0, config.floor + (config.ceiling - config.floor) * truth, config.foreign)
    return torch.where(truth < 0, config.nothing, label)


def pair_weights(
    truth: Float[Tensor, "frames texts"], same: Float[Tensor, "frames texts"], config: LabelConfig
) -> Float[Tensor, "frames texts"]:
    """Return the weights of pairs; `same` is 1 where the sentence is one of the frame's own family, else 0."""
    own = 1.0 + config.truth_weight * truth.clamp(min=0)
    return torch.where(same > 0, own, config.foreign_weight)


def soft_sigmoid_loss(
    logits: Float[Tensor, "frames texts"],
    truth: Float[Tensor, "frames texts"],
    same: Float[Tensor, "frames texts"],
    config: LabelConfig,
    total: Float[Tensor, ""] | None = None,
) -> Float[Tensor, ""]:
    """Return the weighted mean cross-entropy of logits to soft labels.

    `total` is the sum of the weights that the mean is over: give the whole batch's to sum up parts of it.

    Source: SigLIP's pairwise sigmoid loss (Zhai et al. 2023, equation 1). Deviations: the truth of the pair as a
    soft label in place of 1 for a frame's own caption and 0 for every other (captions alone give just these,
    with equal captions counted as one); weights; the mean over pairs and not the sum over them for each frame.
    """
    weight = pair_weights(truth, same, config)
    each = F.binary_cross_entropy_with_logits(logits, pair_labels(truth, same, config), reduction="none")
    return (each * weight).sum() / (weight.sum() if total is None else total)
