"""Which states to ask about, and the sums that a round of asking leaves behind."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

SHARPNESS = 4.0
"""The odds of a state to be asked about grow with this power of the networks' disagreement."""


def choose(
    spread: np.ndarray | None, num_candidates: int, count: int, random_share: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Choose `count` of the candidates; return their rows (Q,) and which of them were drawn at random, bool (Q,).

    A `random_share` of them is drawn evenly from all candidates, the rest from what remains, without replacement, with
    odds that grow with the 4th power of `spread` (B,). All are drawn evenly where nothing is known (None) or the
    networks agree to the bit.

    Source: exponential keys of Efraimidis and Spirakis, "Weighted random sampling with a reservoir" (2006).
    """
    order = rng.permutation(num_candidates)
    num_random = math.floor(random_share * count + rng.random())
    if spread is None or not spread.any():
        num_random = count
    num_random = min(num_random, count)
    even, rest = order[:num_random], order[num_random:]
    if count > num_random:
        assert spread is not None
        odds = SHARPNESS * np.log(np.maximum(spread[rest].astype(np.float64), 1e-30))
        keys = odds + rng.gumbel(size=len(rest))
        even = np.concatenate([even, rest[np.argsort(-keys, kind="stable")[: count - num_random]]])
    return even, np.arange(count) < num_random


@dataclass
class Tally:
    """Sums over the states since metrics were last read."""

    states: float = 0.0
    """States visited."""
    asked: float = 0.0
    """Queries."""
    predicted: float = 0.0
    """States of which a prediction was made before anything was asked."""
    prediction: float = 0.0
    """Sum of these predictions."""
    spread: float = 0.0
    """Sum of the networks' disagreement on them."""
    held: float = 0.0
    """Random answers that had been predicted."""
    miss: float = 0.0
    """Sum of their answers less predictions."""
    blind: float = 0.0
    """States of which nothing could be predicted."""
    blind_answers: float = 0.0
    """Random answers among them."""
    blind_sum: float = 0.0
    """Sum of these answers."""
    counted: float = 0.0
    """States that were given a reward."""
    given: float = 0.0
    """Sum of the rewards given."""

    def add(
        self,
        num_states: int,
        num_asked: int,
        predictions: np.ndarray | None,
        spread: np.ndarray | None,
        answers: np.ndarray,
        held: np.ndarray,
        num_candidates: int,
    ) -> None:
        """Count a batch: predictions and spread (B,) of all candidates, answers (R,) to the random rows `held` (R,)."""
        self.states += num_states
        self.asked += num_asked
        if predictions is None or spread is None:
            self.blind += num_candidates
            self.blind_answers += len(answers)
            self.blind_sum += float(answers.sum(dtype=np.float64))
            return
        self.predicted += len(predictions)
        self.prediction += float(predictions.sum(dtype=np.float64))
        self.spread += float(spread.sum(dtype=np.float64))
        self.held += len(held)
        self.miss += float((answers - predictions[held]).sum(dtype=np.float64))

    def true_mean(self, bias: float | None) -> float | None:
        """Return the mean answer over all states, asked or not; None where nothing is known.

        The mean prediction plus the mean error on the random share, which is unbiased whatever the predictions are; where
        no random answer came, the error of the rounds before (`bias`, prediction less answer) stands in.

        Source: the difference estimator of survey sampling (Särndal et al. 1992, section 6.3).
        """
        parts = []
        if self.predicted:
            error = self.miss / self.held if self.held else -(bias or 0.0)
            parts.append((self.predicted, self.prediction / self.predicted + error))
        if self.blind_answers:
            parts.append((self.blind, self.blind_sum / self.blind_answers))
        weight = sum(part[0] for part in parts)
        return sum(part[0] * part[1] for part in parts) / weight if weight else None

    def mean_given(self) -> float | None:
        """Return the mean reward given; None where none was."""
        return self.given / self.counted if self.counted else None
