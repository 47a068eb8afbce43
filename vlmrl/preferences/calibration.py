"""How far a learned reward's probabilities can be believed. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vlmrl.errors import usage_error


@dataclass(frozen=True)
class ReliabilityBin:
    """Pairs whose confidence lies between `low` and `high`."""

    low: float
    """Lower edge of confidence, max(P, 1 - P)."""
    high: float
    """Upper edge."""
    count: int
    """Pairs in it."""
    confidence: float
    """Their mean confidence."""
    accuracy: float
    """How often the label agreed with the likelier side; soft labels and ties count by their share."""


@dataclass(frozen=True)
class Calibration:
    """Predictions of pairs set beside their labels."""

    pairs: int
    """Pairs that were compared."""
    accuracy: float | None
    """Share of pairs with a preference (label not 1/2) that were predicted rightly; None without such pairs."""
    loss: float | None
    """Mean cross-entropy, in nats; ln 2 = 0.693 knows nothing."""
    ece: float | None
    """Expected calibration error, 0..0.5: mean distance of confidence from accuracy over the bins."""
    bins: tuple[ReliabilityBin, ...]
    """Reliability by confidence, from 0.5 to 1; bins without pairs are left out."""


def calibrate(p: np.ndarray, labels: np.ndarray, num_bins: int = 10) -> Calibration:
    """Set P(first preferred) (P,) beside labels (P,), in equal bins of confidence.

    Raises: UsageError for arrays of unequal length, or no bin.

    Source: Guo et al. 2017, equation 3 (ECE), for two classes; a soft label agrees by its share.
    """
    p, labels = np.asarray(p, np.float64), np.asarray(labels, np.float64)
    if p.shape != labels.shape or p.ndim != 1 or num_bins < 1:
        got = f"shapes {p.shape} and {labels.shape}, {num_bins} bins"
        raise usage_error("calibration", got, "two arrays (P,) and at least 1 bin", "give each pair a label")
    if len(p) == 0:
        return Calibration(0, None, None, None, ())
    confidence = np.maximum(p, 1 - p)
    agreed = np.where(p >= 0.5, labels, 1 - labels)
    edges = np.linspace(0.5, 1, num_bins + 1)
    places = np.clip(np.searchsorted(edges, confidence, side="right") - 1, 0, num_bins - 1)
    bins = tuple(
        ReliabilityBin(
            float(edges[i]), float(edges[i + 1]), int(here.sum()), float(confidence[here].mean()),
            float(agreed[here].mean()),
        )
        for i in range(num_bins)
        if (here := places == i).any()
    )  # fmt: skip
    ece = sum(b.count * abs(b.accuracy - b.confidence) for b in bins) / len(p)
    clear = labels != 0.5
    # A prediction of exactly 1/2 decides nothing: half a hit.
    right = np.where(p == 0.5, 0.5, (p > 0.5) == (labels > 0.5))[clear]
    safe = np.clip(p, 1e-12, 1 - 1e-12)
    loss = -(labels * np.log(safe) + (1 - labels) * np.log(1 - safe)).mean()
    return Calibration(len(p), float(right.mean()) if clear.any() else None, float(loss), float(ece), bins)


@dataclass(frozen=True)
class GapBin:
    """Pairs whose progress differs by between `low` and `high`."""

    low: float
    """Least gap."""
    high: float
    """Greatest gap."""
    count: int
    """Pairs with a label in it."""
    accuracy: float
    """How often the label was on the side of more progress; 1/2 for a tie."""


def accuracy_by_gap(gaps: np.ndarray, labels: np.ndarray, num_bins: int = 10) -> tuple[GapBin, ...]:
    """Return how often labels (P,) were right by how far the first segment's progress exceeds the second's (P,).

    Bins hold equally many pairs. Pairs of equal progress have no right answer and are left out, as are abstentions
    (NaN). A soft label counts for the side that it leans to.
    Raises: UsageError for arrays of unequal length, or no bin.

    Source: RL-VLM-F's figure of label accuracy by progress gap, in ten bins.
    """
    gaps, labels = np.asarray(gaps, np.float64), np.asarray(labels, np.float64)
    if gaps.shape != labels.shape or gaps.ndim != 1 or num_bins < 1:
        got = f"shapes {gaps.shape} and {labels.shape}, {num_bins} bins"
        raise usage_error("accuracy", got, "two arrays (P,) and at least 1 bin", "give each pair a label")
    used = (gaps != 0) & np.isfinite(labels)
    gaps, labels = gaps[used], labels[used]
    right = np.where(labels == 0.5, 0.5, (labels > 0.5) == (gaps > 0))
    parts = np.array_split(np.argsort(np.abs(gaps), kind="stable"), num_bins)
    return tuple(
        GapBin(float(np.abs(gaps[p]).min()), float(np.abs(gaps[p]).max()), len(p), float(right[p].mean()))
        for p in parts
        if len(p)
    )
