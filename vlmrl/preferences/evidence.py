"""Whether labels teach anything: a reward fitted to some of them has to predict others better than a coin would.

An ensemble fitted to labels without sense still says something of each frame, by chance and by where it began. The agent
gets a standardised reward, so however faint that is, it would be trained on it.

Source: a sign-flip test, by cross-validation where the pairs held out are too few to tell; both are ours. Measured on
made-up embeddings (256 dimensions, four of them real; 60 fits each of 20, 150 and 600 pairs): with random labels 1 of 180
rewards is left, where early stopping alone left 83; with three labels in ten wrong 5, 30 and 56 of 60 are left, and with
right ones, however soft, 179 of 180.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from vlmrl.preferences.configs import FitConfig
from vlmrl.preferences.fitting import fit, pair_logits
from vlmrl.preferences.labelled import LabelledPairs

CLEAR = 2.33
"""Standard errors above chance from which labels teach: random ones get there once in 100 times."""
SURE = 3.09
"""The same where the pairs that are predicted also said when to stop, which flatters."""
FOLDS = 5
"""Parts of the pairs in cross-validation: one is predicted, one says when to stop, three are learned from."""


def beyond_chance(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return by how many standard errors log-odds (P,) side with labels (P,) more than a coin would.

    Labels that have nothing to do with their pairs might as well be turned round, each by itself: their sum then has
    mean 0 and the variance it is divided by. A soft label counts by how far it leans, a tie not at all; 0 of ties alone.
    """
    lean = np.asarray(labels, np.float64) - 0.5
    size = float(np.sqrt(np.sum(lean**2)))
    return float(np.sum(np.sign(logits) * lean)) / size if size else 0.0


def evidence(
    ensemble: nn.Module, start: Callable[[], nn.Module], members: int, data: LabelledPairs, config: FitConfig,
    generator: torch.Generator,
) -> float | None:  # fmt: skip
    """Return how far beyond chance a fitted ensemble, or others `start`ed anew, predict labels they have not seen.

    At least `CLEAR` where labels teach. None where nothing is held out, or too few pairs differ to tell.
    """
    held_out = np.flatnonzero(data.is_validation)
    if not len(held_out):
        return None
    logits = pair_logits(ensemble, members, data, held_out, config.aggregate).mean(dim=0).numpy()
    found = beyond_chance(logits, data.labels[held_out])
    return found if found >= SURE else cross_validated(start, members, data, config, generator)


def cross_validated(
    start: Callable[[], nn.Module],
    members: int,
    data: LabelledPairs,
    config: FitConfig,
    generator: torch.Generator,
) -> float | None:
    """Return `beyond_chance` of all pairs, each predicted by an ensemble that neither learned from it nor stopped by it.

    The same two segments, in either order, are in one part. None for fewer than three different pairs.
    """
    groups = np.unique(np.sort(data.pairs, axis=1), axis=0, return_inverse=True)[1].reshape(-1)
    count = min(FOLDS, int(groups.max()) + 1)
    if count < 3:
        return None
    folds, logits = groups % count, np.zeros(len(groups))
    for fold in range(count):
        rest, unseen = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        stops = folds[rest] == (fold + 1) % count
        part = replace(data, pairs=data.pairs[rest], labels=data.labels[rest], is_validation=stops)
        ensemble = start()
        try:
            fit(ensemble, members, part, config, generator)
        except FloatingPointError:  # this one predicts nothing
            continue
        logits[unseen] = pair_logits(ensemble, members, data, unseen, config.aggregate).mean(dim=0).numpy()
    return beyond_chance(logits, data.labels)
