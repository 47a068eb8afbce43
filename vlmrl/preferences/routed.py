"""The routed labeller: a cheap one answers first, and what it is unsure of goes to a better one.

Source: ROVED (2603.28053) and Hybrid Preferences (2410.19133) as ideas; the margin and the budget are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from vlmrl.errors import usage_error
from vlmrl.preferences.protocol import Answer, Labeller, Pair, Question


@dataclass(frozen=True)
class RoutedConfig:
    """What is escalated."""

    margin: float = 0.2
    """|P(first) - 1/2| below this is unsure; 0 escalates abstentions only, above 1/2 everything."""
    budget: int | None = None
    """Pairs escalated at most, over all calls; the least sure go first. None is without end."""

    def __post_init__(self) -> None:
        if not 0 <= self.margin <= 1:
            raise usage_error("margin", self.margin, "a number from 0 to 1", "0.2 is the default")
        if self.budget is not None and self.budget < 0:
            raise usage_error("budget", self.budget, "0 or more pairs", "leave it out for no limit")


@dataclass(frozen=True)
class RoutedReport:
    """What a routed labeller did so far."""

    asked: int
    """Pairs it was asked."""
    unsure: int
    """Pairs of which the first labeller was unsure, or abstained."""
    escalated: int
    """Pairs that the second labeller was asked."""
    abstained: int
    """Of these, pairs that it abstained from."""

    @property
    def share(self) -> float:
        """Share of pairs that were escalated, 0..1."""
        return self.escalated / self.asked if self.asked else 0.0


class RoutedLabeller:
    """Ask `first`, and ask `second` where `first` abstains or is unsure.

    An escalated pair's answer is the second's, its cost, tokens and seconds those of both, and its parameters hold what
    the first said. Where the second abstains, the pair is abstained from. What the budget leaves over keeps the first's.
    """

    name = "routed"

    def __init__(self, first: Labeller, second: Labeller, config: RoutedConfig | None = None) -> None:
        self.first, self.second = first, second
        self.config = config or RoutedConfig()
        self.model = " > ".join(f"{x.name} {x.model}".strip() for x in (first, second))
        self.parameters: dict[str, Any] = {
            **asdict(self.config), "first": first.parameters, "second": second.parameters,
        }  # fmt: skip
        self.report = RoutedReport(0, 0, 0, 0)

    def answer(self, pairs: Sequence[Pair], question: Question) -> list[Answer]:
        """Return an answer for each pair, in order.

        Raises: what a labeller raises; `answers`, if it carries some, are then those of all pairs, in order, None for
            pairs that were escalated and not answered.
        """
        cheap = self._ask_first(pairs, question)
        unsure = [i for i, answer in enumerate(cheap) if self._is_unsure(answer)]
        unsure.sort(key=lambda i: _sureness(cheap[i]))  # stable: ties stay in order
        left = len(unsure) if self.config.budget is None else self.config.budget - self.report.escalated
        chosen = sorted(unsure[: max(left, 0)])
        answers: list[Answer | None] = list(cheap)
        for i in chosen:
            answers[i] = None
        better: list[Answer | None] = []
        try:
            better = list(self.second.answer([pairs[i] for i in chosen], question)) if chosen else []
        except BaseException as error:
            carried = getattr(error, "answers", None)
            better = list(carried)[: len(chosen)] if isinstance(carried, Sequence) else []
            self._merge(answers, cheap, chosen, better)
            error.answers = answers  # type: ignore[attr-defined]
            raise
        finally:
            self._count(len(pairs), len(unsure), better)
        if len(better) != len(chosen):
            got = f"{len(better)} answers of {self.second.name}"
            raise usage_error("labeller", got, f"{len(chosen)}, one for each pair", "mend the labeller")
        self._merge(answers, cheap, chosen, better)
        return [answer for answer in answers if answer is not None]

    def _ask_first(self, pairs: Sequence[Pair], question: Question) -> list[Answer]:
        try:
            return self.first.answer(pairs, question)
        except BaseException as error:
            carried = getattr(error, "answers", None)
            if isinstance(carried, Sequence):  # what it was unsure of would have been asked again
                sure = [None if a is None or self._is_unsure(a) else a for a in carried]
                error.answers = sure  # type: ignore[attr-defined]
            raise

    def _is_unsure(self, answer: Answer) -> bool:
        return answer.label is None or abs(answer.label - 0.5) < self.config.margin

    def _count(self, asked: int, unsure: int, better: list[Answer | None]) -> None:
        before, got = self.report, [answer for answer in better if answer is not None]
        self.report = RoutedReport(
            before.asked + asked, before.unsure + unsure, before.escalated + len(got),
            before.abstained + sum(answer.label is None for answer in got),
        )  # fmt: skip

    def _merge(
        self,
        answers: list[Answer | None],
        cheap: list[Answer],
        chosen: list[int],
        better: list[Answer | None],
    ) -> None:
        """Put the second labeller's answers in place, with what both cost."""
        for i, answer in zip(chosen, better, strict=False):
            if answer is not None:
                said = {"labeller": cheap[i].labeller, "label": cheap[i].label}
                answers[i] = replace(
                    answer, parameters={**answer.parameters, "escalated_from": said},
                    seconds=cheap[i].seconds + answer.seconds, tokens=cheap[i].tokens + answer.tokens,
                    cost=cheap[i].cost + answer.cost,
                )  # fmt: skip


def _sureness(answer: Answer) -> float:
    return -1.0 if answer.label is None else abs(answer.label - 0.5)
