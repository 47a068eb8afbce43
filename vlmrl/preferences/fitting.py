"""Fit an ensemble to labelled pairs: minibatches of each member's own order, early stopping, a report."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from vlmrl.preferences.bradley_terry import bradley_terry_loss, preference_logits, segment_returns
from vlmrl.preferences.calibration import Calibration, calibrate
from vlmrl.preferences.configs import Aggregate, FitConfig
from vlmrl.preferences.labelled import LabelledPairs
from vlmrl.preferences.networks import rows_at_once


@dataclass(frozen=True)
class FitReport:
    """What was learned from, and how well it was learned."""

    answers: int
    """Answers given, abstentions included."""
    abstained: int
    """Of these, abstentions: not learned from."""
    training: int
    """Pairs trained on."""
    validation: int
    """Pairs held out."""
    ties: int
    """Pairs of either kind whose label is 1/2."""
    epochs: int
    """Passes made."""
    best_epoch: int
    """The pass whose weights were kept; 0 is the start."""
    training_result: Calibration
    """Predictions of the pairs trained on."""
    validation_result: Calibration
    """Predictions of the pairs held out."""
    disagreement: float
    """Standard deviation of P(first) over the members, mean over all pairs."""
    evidence: float | None = None
    """By how many standard errors unseen labels were predicted better than by a coin (`preferences.evidence`)."""


def fit(
    ensemble: nn.Module, members: int, data: LabelledPairs, config: FitConfig, generator: torch.Generator
) -> FitReport:
    """Fit `ensemble`, in place, to labelled pairs and return the report.

    Raises: FloatingPointError if the loss is not finite; the ensemble is then as it was.

    Source: Christiano et al. 2017 (Bradley-Terry, ensemble), RL-VLM-F (Adam, batches, accuracy at which to stop).
    Deviation: a validation split and early stopping, the best pass kept.
    """
    start = copy.deepcopy(ensemble.state_dict())
    training = np.flatnonzero(~data.is_validation)
    held_out = np.flatnonzero(data.is_validation)
    judged = held_out if len(held_out) else training
    optimizer = torch.optim.AdamW(
        ensemble.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    # The start counts as a pass: labels that say nothing leave the reward as it was.
    best_loss, best_epoch, best = _loss(ensemble, members, data, judged, config), 0, start
    epoch = 0
    for epoch in range(1, config.max_epochs + 1):
        finite = _epoch(ensemble, members, data, training, config, optimizer, generator)
        loss = _loss(ensemble, members, data, judged, config) if finite else math.nan
        if not math.isfinite(loss):
            ensemble.load_state_dict(start)
            raise FloatingPointError(f"preference loss: got {loss} in pass {epoch}; lower the learning rate")
        if config.patience is None or loss < best_loss:
            best_loss, best_epoch, best = loss, epoch, copy.deepcopy(ensemble.state_dict())
        elif epoch - best_epoch >= config.patience:
            break
        if config.stop_accuracy is not None:
            result = calibrate(*_predicted(ensemble, members, data, training, config.aggregate))
            if result.accuracy is not None and result.accuracy >= config.stop_accuracy:
                break
    ensemble.load_state_dict(best)
    return _report(ensemble, members, data, config, epoch, best_epoch)


def _epoch(
    ensemble: nn.Module, members: int, data: LabelledPairs, training: np.ndarray, config: FitConfig,
    optimizer: torch.optim.Optimizer, generator: torch.Generator,
) -> bool:  # fmt: skip
    """Pass once over the pairs, each member in its own order; return whether every loss was finite."""
    ensemble.train()
    device = next(ensemble.parameters()).device
    orders = torch.stack([torch.randperm(len(training), generator=generator) for _ in range(members)]).numpy()
    for first in range(0, len(training), config.batch_size):
        chosen = training[orders[:, first : first + config.batch_size]]  # (E, B)
        rewards, mask = _rewards(ensemble, data, data.pairs[chosen], device)
        returns = segment_returns(rewards, mask, config.aggregate)  # (E, B, 2)
        labels = torch.from_numpy(data.labels[chosen]).to(device)
        loss = bradley_terry_loss(returns[..., 0], returns[..., 1], labels).mean(dim=1).sum()
        if not bool(torch.isfinite(loss)):
            return False
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    ensemble.eval()
    return True


def _rewards(
    ensemble: nn.Module, data: LabelledPairs, places: np.ndarray, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return rewards and mask (E, B, 2, L) of the segments at `places` (E, B, 2), each member's its own."""
    items = torch.from_numpy(data.items[places])
    shape = items.shape[:4]
    flat = items.reshape(shape[0], -1, *items.shape[4:]).to(device)
    return ensemble(flat).reshape(shape), torch.from_numpy(data.mask[places]).to(device)


@torch.no_grad()
def score_segments(
    ensemble: nn.Module, members: int, items: np.ndarray, mask: np.ndarray, aggregate: Aggregate
) -> np.ndarray:
    """Return each member's returns, float64 (E, S), of segments (S, L, ...), a bounded number of frames at once."""
    ensemble.eval()
    device = next(ensemble.parameters()).device
    each = rows_at_once(items.shape[1:])
    parts = []
    for first in range(0, len(items), each):
        part = torch.from_numpy(np.ascontiguousarray(items[first : first + each])).to(device)
        flat = part.reshape(-1, *part.shape[2:])
        rewards = ensemble(flat.expand(members, *flat.shape)).reshape(members, *part.shape[:2])
        rows = torch.from_numpy(np.ascontiguousarray(mask[first : first + each])).to(device)
        parts.append(
            segment_returns(rewards.double(), rows.expand(members, *rows.shape), aggregate).cpu().numpy()
        )
    return np.concatenate(parts, axis=1) if parts else np.zeros((members, 0))


def pair_logits(
    ensemble: nn.Module, members: int, data: LabelledPairs, rows: np.ndarray, aggregate: Aggregate
) -> Tensor:
    """Return each member's log-odds, float64 (E, P), of the pairs at `rows`."""
    places, local = np.unique(data.pairs[rows], return_inverse=True)
    returns = score_segments(ensemble, members, data.items[places], data.mask[places], aggregate)
    first, second = local.reshape(-1, 2).T
    return preference_logits(torch.from_numpy(returns[:, first]), torch.from_numpy(returns[:, second]))


def _loss(
    ensemble: nn.Module, members: int, data: LabelledPairs, rows: np.ndarray, config: FitConfig
) -> float:
    logits = pair_logits(ensemble, members, data, rows, config.aggregate)
    labels = torch.from_numpy(data.labels[rows]).double().expand(logits.shape)
    return float(bradley_terry_loss(logits, torch.zeros_like(logits), labels).mean())


def _predicted(
    ensemble: nn.Module, members: int, data: LabelledPairs, rows: np.ndarray, aggregate: Aggregate
) -> tuple[np.ndarray, np.ndarray]:
    """Return (P(first) of the ensemble's mean, labels), each (P,)."""
    p = torch.sigmoid(pair_logits(ensemble, members, data, rows, aggregate)).mean(dim=0).numpy()
    return p, data.labels[rows]


def _report(
    ensemble: nn.Module, members: int, data: LabelledPairs, config: FitConfig, epochs: int, best_epoch: int
) -> FitReport:
    rows = np.arange(len(data.pairs))
    p = torch.sigmoid(pair_logits(ensemble, members, data, rows, config.aggregate)).numpy()
    held_out, mean = data.is_validation, p.mean(axis=0)
    return FitReport(
        answers=len(rows) + data.abstained, abstained=data.abstained,
        training=int((~held_out).sum()), validation=int(held_out.sum()), ties=int((data.labels == 0.5).sum()),
        epochs=epochs, best_epoch=best_epoch,
        training_result=calibrate(mean[~held_out], data.labels[~held_out]),
        validation_result=calibrate(mean[held_out], data.labels[held_out]),
        disagreement=float(p.std(axis=0).mean()),
    )  # fmt: skip
