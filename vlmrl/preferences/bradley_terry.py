"""Bradley-Terry preferences: returns of segments, the loss of labels that may be soft or ties. Pure functions."""

from __future__ import annotations

from typing import get_args

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from vlmrl.errors import usage_error
from vlmrl.preferences.configs import Aggregate


def segment_returns(
    rewards: Float[Tensor, "*batch length"], mask: Bool[Tensor, "*batch length"], aggregate: Aggregate = "sum"
) -> Float[Tensor, "*batch"]:
    """Return segments' returns: the sum (or mean) of the rewards of the frames that `mask` says are there.

    Raises: UsageError for another aggregate.

    Source: Christiano et al. 2017, section 2.2.1 (the sum). The mean is a deviation for segments of unequal length.
    """
    if aggregate not in get_args(Aggregate):
        raise usage_error("aggregate", aggregate, "sum or mean", "sum is Bradley-Terry's")
    total = (rewards * mask).sum(dim=-1)
    return total if aggregate == "sum" else total / mask.sum(dim=-1)


def preference_logits(
    first: Float[Tensor, "*pairs"], second: Float[Tensor, "*pairs"]
) -> Float[Tensor, "*pairs"]:
    """Return the log-odds that the first segment is preferred, of the segments' returns.

    P(first) = exp(R1) / (exp(R1) + exp(R2)) = sigmoid(R1 - R2). Source: Christiano et al. 2017, equation 1.
    """
    return first - second


def bradley_terry_loss(
    first: Float[Tensor, "*pairs"], second: Float[Tensor, "*pairs"], labels: Float[Tensor, "*pairs"]
) -> Float[Tensor, "*pairs"]:
    """Return each pair's cross-entropy, of returns R1, R2 and labels y = P(first preferred) in 0..1; ties are 1/2.

    -(y log P + (1 - y) log(1 - P)), computed on the log-odds, so that sure predictions do not overflow.

    Source: Christiano et al. 2017, the loss after equation 1, with its ties (1/2); soft labels are the same formula.
    """
    return F.binary_cross_entropy_with_logits(preference_logits(first, second), labels, reduction="none")
