"""The goal-baseline reward of VLM-RM: how near a frame is to a sentence, along the direction that matters.

Source: Rocamonde et al., "Vision-Language Models are Zero-Shot Reward Models for Reinforcement Learning"
(ICLR 2024), Definition 1.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from vlmrl.encoders import Encoder
from vlmrl.encoders.words import UnknownWordsWarning, complaint, judge_prompts, unknown_words_error
from vlmrl.errors import usage_error
from vlmrl.rewards.protocol import Reads

MIN_DIRECTION = 1e-6  # below this length, goal minus baseline is rounding


def goal_baseline_reward(
    images: Float[np.ndarray | Tensor, "batch dim"],
    goal: Float[np.ndarray | Tensor, " dim"],
    baseline: Float[np.ndarray | Tensor, " dim"],
    alpha: float,
) -> Float[Tensor, " batch"]:
    """Return the rewards (B,), float32, of unit image vectors (B, D) for a goal and a baseline vector (D,).

    R = 1 - 1/2 ||(s - g) P||^2 with P = alpha d d^T / ||d||^2 + (1 - alpha) I and d = g - b. alpha is in
    [0, 1]: at 0 R is 1 - 1/2 ||s - g||^2, for unit vectors the cosine of s and g; at 1 only the part along d
    counts. Goal and baseline may be means of several prompts, which are not unit vectors. R is at most 1 and,
    for vectors no longer than 1, at least -1.

    Raises:
        UsageError: alpha outside [0, 1], shapes that do not fit, goal equal to baseline with alpha above 0.

    Source: VLM-RM Definition 1, in the form of its code; equal to the paper's
    1 - 1/2 ||alpha proj_L s + (1 - alpha) s - g||^2, L being the line through baseline and goal.
    """
    check_alpha(alpha)
    images = torch.as_tensor(images).detach().float()
    goal = torch.as_tensor(goal, dtype=torch.float32, device=images.device).detach()
    baseline = torch.as_tensor(baseline, dtype=torch.float32, device=images.device).detach()
    if images.ndim != 2 or goal.shape != images.shape[1:] or baseline.shape != goal.shape:
        shapes = f"{tuple(images.shape)}, {tuple(goal.shape)}, {tuple(baseline.shape)}"
        remedy = "take all three from one encoder, and means over prompts"
        raise usage_error("images, goal, baseline", shapes, "shapes (B, D), (D,), (D,)", remedy)
    offset = images - goal
    if alpha > 0:
        direction = goal - baseline
        length = torch.linalg.vector_norm(direction)
        if length < MIN_DIRECTION:
            remedy = "word the baseline without the goal, or use alpha=0, which needs no baseline"
            raise usage_error(
                "goal and baseline", "vectors that are equal", f"a direction for alpha={alpha}", remedy
            )
        unit = direction / length
        offset = alpha * (offset @ unit)[:, None] * unit + (1 - alpha) * offset
    return 1 - 0.5 * offset.square().sum(dim=-1)


def check_alpha(alpha: float) -> None:
    """Raise a UsageError unless alpha is a number in [0, 1]."""
    if not 0 <= alpha <= 1:
        raise usage_error("alpha", alpha, "a number in [0, 1]", "0 is plain cosine, 0.5 the default")


class GoalBaselineReward:
    """Score frames by how well they show a goal sentence, against a baseline that says what any frame shows.

    Attributes:
        goal, baseline: the prompts, as lists of one length; their vectors are averaged, not normalised again.
        alpha: how far the space is projected to the line from baseline to goal, 0 (plain cosine) to 1.
        goal_embedding, baseline_embedding: the averaged vectors (D,), float32.

    A prompt that an encoder's word check does not know (`vlmrl.encoders.words`) brings one `UnknownWordsWarning` for
    all of them, or with `strict_words` a UsageError.

    Source: VLM-RM Definition 1 and its prompt lists.
    """

    reads: Reads = "frames"

    def __init__(
        self,
        encoder: Encoder,
        goal: str | Sequence[str],
        baseline: str | Sequence[str],
        alpha: float = 0.5,
        *,
        strict_words: bool = False,
    ) -> None:
        check_alpha(alpha)
        self.encoder = encoder
        self.alpha = float(alpha)
        self.goal = prompts("goal", goal)
        self.baseline = prompts("baseline", baseline)
        if len(self.goal) != len(self.baseline):
            got = f"{len(self.goal)} goals and {len(self.baseline)} baselines"
            raise usage_error("goal and baseline", got, "lists of one length", "give each goal its baseline")
        self._warn_of_truncation()
        self._check_words(strict_words)
        self.goal_embedding = encoder.embed_texts(self.goal).mean(dim=0)
        self.baseline_embedding = encoder.embed_texts(self.baseline).mean(dim=0)
        direction = self.goal_embedding - self.baseline_embedding
        if alpha > 0 and torch.linalg.vector_norm(direction) < MIN_DIRECTION:
            remedy = "word the baseline without the goal, or use alpha=0, which needs no baseline"
            expected = "prompts that the encoder tells apart"
            raise usage_error("goal and baseline", f"{self.goal} and {self.baseline}", expected, remedy)

    def compute_reward(
        self, batch: UInt8[np.ndarray | Tensor, "batch height width 3"]
    ) -> Float[Tensor, " batch"]:
        """Return rewards (B,), float32, on the encoder's device, of uint8 frames (B, H, W, 3).

        Raises:
            UsageError: the frames are no uint8 RGB batch of a usable size.
        """
        return self.reward_of_embeddings(self.encoder.embed_images(batch))

    def reward_of_embeddings(
        self, embeddings: Float[np.ndarray | Tensor, "batch dim"]
    ) -> Float[Tensor, " batch"]:
        """Return rewards (B,), float32, of unit vectors (B, D) that the encoder made of frames."""
        return goal_baseline_reward(embeddings, self.goal_embedding, self.baseline_embedding, self.alpha)

    def _check_words(self, strict: bool) -> None:
        found = judge_prompts(self.encoder, self.goal + self.baseline)
        if found and strict:
            raise unknown_words_error(found)
        if found:
            warnings.warn("; ".join(complaint(v) for v in found), UnknownWordsWarning, stacklevel=3)

    def _warn_of_truncation(self) -> None:
        for prompt, cut in zip(
            self.goal + self.baseline, self.encoder.is_truncated(self.goal + self.baseline), strict=True
        ):
            if cut:
                context = getattr(self.encoder, "context_length", "its number of")
                text = f"prompt {prompt[:60]!r}...: only its first {context} tokens are read; shorten it"
                warnings.warn(text, stacklevel=3)


def prompts(name: str, texts: str | Sequence[str]) -> list[str]:
    """Return one prompt or several as a list of stripped sentences.

    Raises:
        UsageError: no prompt, or an empty one.
    """
    listed: list[Any] = list(texts) if isinstance(texts, list | tuple) else [texts]
    if not listed:
        raise usage_error(
            name, "an empty list", "a sentence or a list of sentences", "say what a frame shows"
        )
    for text in listed:
        if not isinstance(text, str) or not text.strip():
            raise usage_error(name, repr(text), "a sentence that is not empty", "say what a frame shows")
    return [text.strip() for text in listed]
