"""Answered pairs as arrays to learn from: each segment once, abstentions left out and counted, a split by pair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vlmrl.errors import usage_error
from vlmrl.preferences.formulas import unit_number
from vlmrl.preferences.protocol import Answer, Pair, Segment, segments_of


@dataclass(frozen=True)
class LabelledPairs:
    """Segments, pairs of them, and labels."""

    items: np.ndarray
    """(S, L, D) float32 embeddings or (S, L, H, W, 3) uint8 frames; shorter segments are padded with zeros."""
    mask: np.ndarray
    """(S, L) bool: which frames are there."""
    pairs: np.ndarray
    """(P, 2) int: places of first and second segment."""
    labels: np.ndarray
    """(P,) float32: P(first preferred); 1/2 is a tie."""
    is_validation: np.ndarray
    """(P,) bool: held out."""
    abstained: int
    """Answers that were left out because they say nothing."""


def label_pairs(
    answered: Sequence[tuple[Pair, Answer]],
    read: Callable[[list[Segment]], list[np.ndarray]],
    validation: float,
    seed: int = 0,
) -> LabelledPairs:
    """Turn answered pairs into arrays; `read` gives what is learned from of segments, each (L, ...).

    The validation set is drawn by what a pair shows, so that a pair, the pair turned round, and answers of several
    labellers to it are all on one side, and stay there when more pairs come.
    Raises: UsageError if nothing is left to learn from.
    """
    usable = [(pair, answer.label) for pair, answer in answered if answer.label is not None]
    abstained = len(answered) - len(usable)
    if not usable:
        got = f"{len(answered)} answers, {abstained} of them abstentions"
        raise usage_error("answers", got, "at least one label", "ask more pairs, or another labeller")
    segments = segments_of(pair for pair, _ in usable)
    places = {key: place for place, key in enumerate(segments)}
    parts = read(list(segments.values()))
    length = max(len(part) for part in parts)
    items = np.zeros((len(parts), length, *parts[0].shape[1:]), parts[0].dtype)
    mask = np.zeros((len(parts), length), bool)
    for place, part in enumerate(parts):
        if part.shape[1:] != items.shape[2:]:
            got = f"{part.shape[1:]} and {items.shape[2:]}"
            raise usage_error("segments", got, "frames of one size", "render all at one size")
        items[place, : len(part)], mask[place, : len(part)] = part, True
    pairs = np.array([[places[pair.first.key], places[pair.second.key]] for pair, _ in usable])
    labels = np.array([label for _, label in usable], np.float32)
    held_out = split_pairs([pair for pair, _ in usable], validation, seed)
    return LabelledPairs(items, mask, pairs, labels, held_out, abstained)


def split_pairs(pairs: Sequence[Pair], share: float, seed: int = 0) -> np.ndarray:
    """Tell which pairs are held out, bool (P,): about `share` of what they show, and at least one of two or more.

    Raises: UsageError for a share outside [0, 1).
    """
    if not 0 <= share < 1:
        raise usage_error("validation", share, "a share in [0, 1)", "0.15 is the default")
    places = np.array([_place(pair, seed) for pair in pairs])
    held_out = places < share
    if share > 0 and not held_out.any() and len(np.unique(places)) > 1:
        held_out = places == places.min()
    if held_out.all() and len(pairs):
        held_out = places < places.max()
    return held_out


def _place(pair: Pair, seed: int) -> float:
    """Return a number in [0, 1) that depends on the seed and on what a pair shows, not on its order."""
    shown = "".join(sorted((pair.first.key, pair.second.key)))
    return unit_number(f"{seed}:{shown}")
