"""The oracle labeller: answers from the world's own measure of progress, with noise that can be adjusted.

For tests and tables: it knows what no reward may know. Source of the noise model: Lee et al. 2021 (B-Pref, section 3:
Bradley-Terry temperature, mistakes, equally preferable). Deviation: noise is drawn once for each pair, not each question.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vlmrl.errors import usage_error
from vlmrl.preferences.formulas import sigmoid, unit_number
from vlmrl.preferences.protocol import Answer, Pair, Question, Segment


@dataclass(frozen=True)
class OracleConfig:
    """How good an oracle is."""

    flip: float = 0.0
    """Probability that a preference is turned round, 0..1; 1 is the control of flipped labels, and 0.5 of random ones."""
    tie_band: float = 0.0
    """Differences of mean progress up to this are ties."""
    temperature: float = 0.0
    """Progress that makes a preference sure: P(first) = sigmoid(difference / temperature); 0 is always right."""
    soft: bool = False
    """Answer with P(first) itself and not with a draw from it."""
    seed: int = 0
    """Of flips and draws."""

    def __post_init__(self) -> None:
        if not 0 <= self.flip <= 1:
            raise usage_error("flip", self.flip, "a probability, 0 to 1", "0 makes no mistakes")
        for name in ("tie_band", "temperature"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise usage_error(name, value, "a finite number of at least 0", "0 leaves it out")
        if self.soft and self.temperature == 0:
            raise usage_error("soft", "temperature 0", "a temperature above 0", "set one, or leave soft out")


class OracleLabeller:
    """Prefer the segment of more mean progress; a pair and the pair turned round get answers that agree."""

    name = "oracle"
    model = ""

    def __init__(self, config: OracleConfig | None = None) -> None:
        self.config = config or OracleConfig()
        self.parameters: dict[str, Any] = asdict(self.config)

    def answer(self, pairs: Sequence[Pair], question: Question) -> list[Answer]:
        """Return an answer for each pair, in order; never an abstention.

        Raises: UsageError for a segment whose progress is not known or not finite.
        """
        return [
            Answer(self._label(pair), self.name, model=self.model, parameters=self.parameters)
            for pair in pairs
        ]

    def _label(self, pair: Pair) -> float:
        turned = pair.first.key > pair.second.key  # decided in one order, so that both orders agree
        label = self._decide(pair.turned if turned else pair)
        return 1.0 - label if turned else label

    def _decide(self, pair: Pair) -> float:
        config = self.config
        gap = progress(pair.first) - progress(pair.second)
        if abs(gap) <= config.tie_band:
            return 0.5
        sure = 1.0 if gap > 0 else 0.0
        p = sure if config.temperature == 0 else float(sigmoid(gap / config.temperature))
        p = p * (1 - config.flip) + (1 - p) * config.flip if config.soft else p
        if config.soft:
            return p
        label = float(uniform(pair, config.seed, "draw") < p)
        return 1 - label if uniform(pair, config.seed, "flip") < config.flip else label


def progress(segment: Segment) -> float:
    """Return a segment's mean progress.

    Raises: UsageError where it is not known or not finite.
    """
    if segment.progress is None or not np.isfinite(segment.progress).all():
        got = "none" if segment.progress is None else "a number that is not finite"
        remedy = "give `progress` to the pool's `add` (a World's env_reward or similarity)"
        raise usage_error("segment progress", got, "the world's own progress of each frame", remedy)
    return float(np.mean(segment.progress))


def uniform(pair: Pair, seed: int, purpose: str) -> float:
    """Return a number in [0, 1) that depends on nothing but the pair, the seed and the purpose."""
    return unit_number(f"{purpose}:{seed}:{pair.key}")
