"""What a stage came to: labels against the world's own progress, and what the reward learned from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vlmrl.preferences.chat.answers import HEARD
from vlmrl.preferences.protocol import Answer, Pair
from vlmrl.preferences.rows import REUSED

if TYPE_CHECKING:
    from vlmrl.preferences.learned import LearnedReward


KINDS = {
    "unparseable": "unparseable", "cut off": "unparseable", "refusal": "refused", "same picture": "look_alike",
}  # fmt: skip
"""Kinds of a chat model's abstentions, and where they are counted; any other is one that was said."""


@dataclass(frozen=True)
class StageReport:
    """Figures of all answers so far and of the last fit; None where they are not known."""

    labels: float | None = None
    """Answers that can be learned from."""
    abstained: float | None = None
    """Answers that say nothing, of all kinds."""
    ties: float | None = None
    """Labels of 1/2."""
    label_accuracy: float | None = None
    """Share of labels on the side of more progress, where the world tells it; ties count half."""
    label_accuracy_wide: float | None = None
    """The same among pairs whose progress differs by more than the median."""
    training_accuracy: float | None = None
    """Share of the pairs learned from that the reward predicts rightly."""
    validation_accuracy: float | None = None
    """Share of the held-out pairs that it predicts rightly: its agreement with the labeller."""
    validation_loss: float | None = None
    """Cross-entropy on these, in nats; 0.693 knows nothing."""
    ece: float | None = None
    """Expected calibration error on these, 0..0.5."""
    disagreement: float | None = None
    """Standard deviation of P(first) over the ensemble's members."""
    tokens: float | None = None
    """Tokens that the answers took."""
    cost: float | None = None
    """Money that they took."""
    ask_seconds: float | None = None
    """Seconds that the last stage's asking took, drawing and storing included."""
    fit_seconds: float | None = None
    """Seconds that the last fit took."""
    evidence: float | None = None
    """By how many standard errors the reward predicts unseen labels better than a coin; below 2.33 they teach nothing."""
    is_flat: float | None = None
    """1 where the labels teach nothing and the reward is one constant, else 0."""
    unsure: float | None = None
    """Abstentions that were said: by a model that is unsure, by a person who skips."""
    unparseable: float | None = None
    """Abstentions since a model's reply was no answer, or was cut off."""
    refused: float | None = None
    """Abstentions since a model refused."""
    look_alike: float | None = None
    """Abstentions since two pictures were the same at the size a model gets; it was not asked."""
    network_failures: float | None = None
    """How often a question got no reply, however often it was repeated: no abstentions."""
    unanswered: float | None = None
    """Pairs that are open because of that, and are asked again."""
    reused: float | None = None
    """Answers, of all those above, that were taken over from other runs and cost nothing."""
    unparseable_rate: float | None = None
    """Share of a chat model's replies to pairs that were no answer, or were cut off; of others None, as what follows."""
    first_share: float | None = None
    """Share of "the first image" among its single verdicts for one of both; 0.5 without position bias."""
    flip_rate: float | None = None
    """Share of pairs decided in both orders whose two verdicts disagree."""
    calls: float | None = None
    """Requests to it, repeated ones and those without a reply among them."""


def account(
    answered: Sequence[tuple[Pair, Answer]],
    reward: LearnedReward,
    ask_seconds: float,
    fit_seconds: float,
    failures: Sequence[Answer] = (),
    unanswered: int = 0,
) -> StageReport:
    """Return the report of a stage, of all answers so far and the reward fitted to them.

    failures: each time that a question got no reply. unanswered: pairs that are open because of that.
    """
    answers = [answer for _, answer in answered]
    labels = [answer.label for answer in answers if answer.label is not None]
    accuracy, wide = label_accuracy(answered)
    fit = reward.report
    held_out = fit.validation_result if fit else None
    return StageReport(
        labels=len(labels), abstained=len(answered) - len(labels), ties=labels.count(0.5),
        label_accuracy=accuracy, label_accuracy_wide=wide,
        training_accuracy=fit.training_result.accuracy if fit else None,
        validation_accuracy=held_out.accuracy if held_out else None,
        validation_loss=held_out.loss if held_out else None, ece=held_out.ece if held_out else None,
        disagreement=fit.disagreement if fit else None,
        tokens=sum(answer.tokens for answer in [*answers, *failures]),
        cost=sum(answer.cost for answer in [*answers, *failures]),
        ask_seconds=ask_seconds, fit_seconds=fit_seconds,
        evidence=fit.evidence if fit else None, is_flat=float(reward.is_flat),
        **abstentions(answers), network_failures=len(failures), unanswered=unanswered,
        reused=sum(REUSED in answer.parameters for answer in answers), **chat_figures(answers, failures),
    )  # fmt: skip


def abstentions(answers: Sequence[Answer]) -> dict[str, float]:
    """Return how many answers without a label there are of each kind."""
    kinds = Counter(
        KINDS.get(answer.parameters.get(HEARD, {}).get("kind", ""), "unsure")
        for answer in answers
        if answer.label is None
    )
    return {name: float(kinds[name]) for name in ("unsure", *dict.fromkeys(KINDS.values()))}


def chat_figures(answers: Sequence[Answer], failures: Sequence[Answer] = ()) -> dict[str, float | None]:
    """Return position bias, unparseable share and requests of a chat model's answers, as they were kept; {} without any.

    So they are the same after a run was stopped and taken up, whichever sitting asked.
    """
    by_chat = [answer for answer in [*answers, *failures] if HEARD in answer.parameters]
    if not by_chat:
        return {}
    heard = [answer.parameters[HEARD] for answer in by_chat]
    replied = [answer.parameters[HEARD] for answer in by_chat if not answer.is_open]
    paid = [answer for answer in by_chat if REUSED not in answer.parameters]
    asked = [one for one in replied if one["orders"]]
    sided = [p > 0.5 for one in heard for p in one["orders"] if p not in (None, 0.5)]
    both = [one["orders"] for one in heard if len(one["orders"]) == 2 and None not in one["orders"]]
    flips = [np.sign(first - 0.5) != np.sign(0.5 - turned) for first, turned in both]
    bad = sum(KINDS.get(one["kind"]) == "unparseable" for one in asked)
    return {
        "unparseable_rate": bad / len(asked) if asked else None,
        "first_share": float(np.mean(sided)) if sided else None,
        "flip_rate": float(np.mean(flips)) if flips else None,
        "calls": float(sum(a.parameters[HEARD]["calls"] for a in paid)),
    }


def label_accuracy(answered: Sequence[tuple[Pair, Answer]]) -> tuple[float | None, float | None]:
    """Return the share of labels on the side of more progress: of all, and of pairs with a gap above the median.

    Abstentions and pairs of equal or unknown progress are left out; a soft label counts for the side it leans to, a tie
    half. Source: RL-VLM-F's figure of label accuracy by progress gap, at two points.
    """
    gaps, labels = [], []
    for pair, answer in answered:
        first, second = pair.first.progress, pair.second.progress
        if answer.label is not None and first is not None and second is not None:
            gaps.append(float(np.mean(first) - np.mean(second)))
            labels.append(answer.label)
    gap, label = np.array(gaps), np.array(labels)
    gap, label = gap[gap != 0], label[gap != 0]
    if not len(gap):
        return None, None
    right = np.where(label == 0.5, 0.5, (label > 0.5) == (gap > 0))
    wide = np.abs(gap) > np.median(np.abs(gap))
    return float(right.mean()), float(right[wide].mean()) if wide.any() else None
