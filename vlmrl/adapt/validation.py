"""Validation on held-out frames: the loss, and whether true captions lie above false ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vlmrl import ranks
from vlmrl.adapt.batches import BatchMaker, Inputs, to_images
from vlmrl.adapt.config import LabelConfig
from vlmrl.adapt.loss import soft_sigmoid_loss
from vlmrl.adapt.model import encode_frames, encode_words, similarity_logits
from vlmrl.adapt.pairs import ArrayStore

TRUE, FALSE = 0.75, 0.25
"""Captions of at least this truth count as true, of at most that as false."""
CHUNK = 128
"""Frames that are embedded at once."""
MOST = 1500
"""Held-out frames of each source on disk on which its facts are judged one by one, beside those of the batch."""


def auc(scores: Float[np.ndarray, " n"], true: np.ndarray) -> float | None:
    """Return the probability that a true one's score exceeds a false one's (ties half); None without either."""
    return ranks.auc(scores[true], scores[~true]) if true.any() and not true.all() else None


def captions_auc(scores: Float[np.ndarray, "n k"], truth: Float[np.ndarray, "n k"]) -> float | None:
    """Return the AUC of the frames a caption is true of against those it is false of, averaged over captions.

    Captions that are true of every frame, such as baselines, or of none, tell nothing and are left out.
    """
    found = []
    for column in _telling(truth):
        clear = (truth[:, column] >= TRUE) | (truth[:, column] <= FALSE)
        found.append(auc(scores[clear, column], truth[clear, column] >= TRUE))
    values = [value for value in found if value is not None]
    return float(np.mean(values)) if values else None


def top_is_true(scores: Float[np.ndarray, "n k"], truth: Float[np.ndarray, "n k"]) -> float | None:
    """Return the share of frames whose most similar caption is true (at least 0.5), of those that have a true one.

    Only captions that are true of some frames and false of others stand for choice.
    """
    columns = _telling(truth)
    able = (truth[:, columns] >= TRUE).any(axis=1)
    if not able.any():
        return None
    chosen = scores[able][:, columns].argmax(axis=1)
    return float((truth[able][:, columns][np.arange(len(chosen)), chosen] >= 0.5).mean())


def _telling(truth: Float[np.ndarray, "n k"]) -> np.ndarray:
    return np.flatnonzero((truth >= TRUE).any(axis=0) & (truth <= FALSE).any(axis=0))


@torch.no_grad()
def validate(
    model: Any, inputs: Inputs, maker: BatchMaker, labels: LabelConfig, half: torch.dtype | None
) -> dict[str, float]:
    """Return loss, AUC and top-1 of the held-out batch, and the rank correlation of each source on disk with facts.

    Keys: loss; auc and top1 (means over families, and by family as auc/NAME); spearman/SOURCE, the mean over
    the facts of the correlation of similarity with degree. The model is left in evaluation mode.
    """
    model.eval()
    device = model.logit_scale.device
    frames = torch.cat([encode_frames(model, x.to(device), half) for x in inputs.images.split(CHUNK)])
    words = torch.cat([encode_words(model, t.to(device), half) for t in inputs.tokens.split(CHUNK)])
    logits = similarity_logits(model, frames, words).float().cpu()
    found = {"loss": float(soft_sigmoid_loss(logits, inputs.truth, inputs.same, labels))}
    scores = (frames @ words.T).float().cpu().numpy()
    by_family: dict[str, list[float]] = {"auc": [], "top1": []}
    for name, place in inputs.batch.blocks.items():
        shown = inputs.batch.truth[place]
        kept = (shown >= 0).all(axis=1)  # frames of nothing have no true caption
        for key, measure in (("auc", captions_auc), ("top1", top_is_true)):
            value = measure(scores[place][kept], shown[kept])
            if value is not None:
                found[f"{key}/{name}"] = value
                by_family[key].append(value)
    found |= {key: float(np.mean(values)) for key, values in by_family.items() if values}
    for family in maker.families:
        for store in family.stores:
            if isinstance(store, ArrayStore) and store.known.degrees is not None:
                value = _facts(model, store, family.grammar, maker, half)
                if value is not None:
                    found[f"spearman/{store.name}"] = value
    return found


def _facts(
    model: Any, store: ArrayStore, grammar: Any, maker: BatchMaker, half: torch.dtype | None
) -> float | None:
    """Return the mean, over the facts that vary and are said shortly enough, of similarity's correlation with degree."""
    if not getattr(grammar, "facts", None):
        return None
    device = model.logit_scale.device
    texts = {i: f"{grammar.subjects[0]} {fact.phrases[0]}" for i, fact in enumerate(grammar.facts)}
    texts = {i: text for i, text in texts.items() if maker.fits(text)}
    if not texts:
        return None
    words = encode_words(model, maker.tokenize(list(texts.values())).to(device), half)
    rows = store.rows(True)[:MOST]
    found: list[Tensor] = []
    known: list[np.ndarray] = []
    for start in range(0, len(rows), CHUNK):
        shown, about = store.read(rows[start : start + CHUNK])
        found.append(encode_frames(model, to_images(shown, maker.mean, maker.std).to(device), half))
        known.append(np.asarray(about.degrees))
    cosine, degrees = (torch.cat(found) @ words.T).float().cpu().numpy(), np.concatenate(known)
    each = [
        ranks.spearman(cosine[:, k], degrees[:, i]) for k, i in enumerate(texts) if degrees[:, i].std() > 0.02
    ]
    values = [value for value in each if value is not None]
    return float(np.mean(values)) if values else None
