"""The encoder labeller: the difference of two segments' goal-baseline rewards, through a calibrated sigmoid.

Source: the reward of VLM-RM (Definition 1) as a comparison, P(first) = sigmoid((R1 - R2) / temperature), R the mean
over a segment's frames. The temperature is Platt's (1999) slope, without his offset: a pair turned round must get the
answer turned round.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from time import perf_counter
from typing import Any

import numpy as np
import torch

from vlmrl.encoders import Encoder
from vlmrl.errors import usage_error
from vlmrl.preferences.configs import EncoderLabellerConfig
from vlmrl.preferences.embedding import segment_embeddings
from vlmrl.preferences.formulas import sigmoid
from vlmrl.preferences.protocol import Answer, Pair, Question, Segment, segments_of
from vlmrl.rewards.goal_baseline import GoalBaselineReward


class EncoderLabeller:
    """Prefer the segment whose frames show the goal better, by an encoder; works offline with the embedded one.

    Attributes:
        parameters: the config, and a digest of what the encoder says of a sentence, so that other weights under the
            same name have other answers in the store.
    """

    name = "encoder"

    def __init__(self, encoder: Encoder, config: EncoderLabellerConfig | None = None) -> None:
        self.encoder = encoder
        self.config = config or EncoderLabellerConfig()
        self.model = encoder.name
        self.parameters: dict[str, Any] = {**asdict(self.config), "fingerprint": fingerprint(encoder)}
        self._rewards: dict[Question, GoalBaselineReward] = {}

    def answer(self, pairs: Sequence[Pair], question: Question) -> list[Answer]:
        """Return an answer for each pair, in order; all frames are embedded together, each segment once.

        Raises: UsageError for prompts that the encoder cannot tell apart, or frames that it cannot read.
        """
        started = perf_counter()
        labels = self._labels(self.differences(pairs, question))
        seconds = (perf_counter() - started) / max(len(pairs), 1)
        return [
            Answer(label, self.name, model=self.model, parameters=self.parameters, seconds=seconds)
            for label in labels.tolist()
        ]

    def differences(self, pairs: Sequence[Pair], question: Question) -> np.ndarray:
        """Return the first segment's reward less the second's, float64 (P,), each the mean over its frames."""
        rewards = self._segment_rewards(segments_of(pairs), question)
        return np.array([rewards[pair.first.key] - rewards[pair.second.key] for pair in pairs], np.float64)

    def calibrated(
        self, pairs: Sequence[Pair], labels: Sequence[float], question: Question
    ) -> EncoderLabeller:
        """Return this labeller with the temperature that makes known labels (P,) most likely.

        Raises: UsageError as `fit_temperature`.
        """
        temperature = fit_temperature(self.differences(pairs, question), np.asarray(labels, np.float64))
        return EncoderLabeller(self.encoder, replace(self.config, temperature=temperature))

    def _labels(self, differences: np.ndarray) -> np.ndarray:
        config = self.config
        p = sigmoid(differences / config.temperature)
        p = np.where(np.abs(p - 0.5) <= config.tie_band, 0.5, p)
        return p if config.soft else np.where(p == 0.5, 0.5, (p > 0.5).astype(np.float64))

    def _segment_rewards(self, segments: dict[str, Segment], question: Question) -> dict[str, float]:
        reward = self._reward(question)
        use_own = self.config.use_embeddings
        embeddings = segment_embeddings(self.encoder, list(segments.values()), use_own=use_own)
        return _means(reward, dict(zip(segments, embeddings, strict=True)))

    def _reward(self, question: Question) -> GoalBaselineReward:
        if question not in self._rewards:
            # Without a baseline there is no direction to project on: alpha 0, which reads no baseline.
            alpha = self.config.alpha if question.baseline else 0.0
            baseline = question.baseline or question.goal
            self._rewards[question] = GoalBaselineReward(self.encoder, question.goal, baseline, alpha)
        return self._rewards[question]


def fit_temperature(differences: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature at which sigmoid(differences / temperature) makes the labels most likely.

    differences, labels: (P,); labels are P(first) in 0..1, ties 1/2. The likelihood is concave in the slope, whose
    root is found by bisection. Raises: UsageError for fewer than two pairs that differ, or differences that go against
    the labels, for which no temperature is right.

    Source: Platt 1999, with his targets (n y + 1) / (n + 2), so that labels that are never wrong have a finite slope.
    """
    differences, labels = np.asarray(differences, np.float64), np.asarray(labels, np.float64)
    spread = float(np.abs(differences).mean()) if len(differences) else 0.0
    if len(differences) != len(labels) or not np.isfinite(labels).all() or np.sum(labels != 0.5) < 2:
        got = f"{len(differences)} differences, {int(np.sum(labels != 0.5))} preferences"
        raise usage_error("calibration", got, "at least 2 pairs with a preference each", "label more pairs")
    n = len(labels)
    targets = (n * labels + 1) / (n + 2)
    if spread == 0 or slope_gradient(0.0, differences, targets) <= 0:
        remedy = "word the goal as the encoder knows it (`vlmrl preflight`), or take another encoder"
        raise usage_error(
            "calibration", "rewards that do not rise with the labels", "rewards that do", remedy
        )
    low, high = 0.0, 1.0 / spread
    while slope_gradient(high, differences, targets) > 0:
        low, high = high, 2 * high
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if slope_gradient(middle, differences, targets) > 0 else (low, middle)
    return 2 / (low + high)


def slope_gradient(slope: float, differences: np.ndarray, labels: np.ndarray) -> float:
    """Return the derivative of the mean log-likelihood by the slope (1 / temperature); it falls with the slope."""
    p = sigmoid(slope * differences)
    return float(np.mean((labels - p) * differences))


def fingerprint(encoder: Encoder) -> str:
    """Return a short name of an encoder's weights: a digest of what it makes of a sentence, to three decimals."""
    vector = np.round(encoder.embed_texts(["a fingerprint"]).cpu().numpy().astype(np.float64), 3) + 0.0
    return hashlib.sha256(vector.tobytes()).hexdigest()[:12]


def _means(reward: GoalBaselineReward, embeddings: dict[str, np.ndarray]) -> dict[str, float]:
    """Return each segment's mean reward of its embeddings (L, D)."""
    if not embeddings:
        return {}
    lengths = [len(e) for e in embeddings.values()]
    stacked = torch.from_numpy(np.concatenate(list(embeddings.values())).astype(np.float32, copy=False))
    goal = reward.goal_embedding
    rewards = reward.reward_of_embeddings(stacked.to(goal.device)).cpu().numpy().astype(np.float64)
    sums = np.add.reduceat(rewards, np.concatenate([[0], np.cumsum(lengths)[:-1]]))
    return dict(zip(embeddings, (sums / lengths).tolist(), strict=True))
