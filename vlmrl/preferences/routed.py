"""The routed labeller: a cheap one answers first, and what it is unsure of goes to a better one.

Source: ROVED (2603.28053) and Hybrid Preferences (2410.19133) as ideas; the margin and the budget are ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from vlmrl.errors import usage_error
from vlmrl.preferences.asking import answer_groups, collected, is_deterministic
from vlmrl.preferences.protocol import Answer, Group, Labeller, Pair, Question


@dataclass(frozen=True)
class RoutedConfig:
    """What is escalated."""

    margin: float = 0.2
    """|P(first) - 1/2| below this is unsure; 0 escalates abstentions only, above 1/2 everything."""
    budget: int | None = None
    """Pairs escalated at most in this labeller's life; the least sure of a call go first. None is without end."""

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
    """Pairs that the second labeller answered; open ones, which will be asked again, are not counted."""
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
        self.is_deterministic = is_deterministic(first) and is_deterministic(second)
        self.report = RoutedReport(0, 0, 0, 0)

    def carry_on(self, answers: Sequence[Answer]) -> None:
        """Count earlier answers of this labeller against its budget and the second's, for a run that goes on."""
        escalated = [answer for answer in answers if "escalated_from" in answer.parameters]
        self._count(asked=_answered(answers), escalated=_answered(escalated))
        carry_on = getattr(self.second, "carry_on", None)
        if carry_on is not None:
            carry_on(escalated)

    def answer(self, pairs: Sequence[Pair], question: Question) -> list[Answer]:
        """Return an answer for each pair, in order.

        Raises: what a labeller raises; it then carries, as `answers`, what is known of all pairs, in order: None where
            the first did not answer, or was unsure and the second did not.
        """
        return collected(self.stream(pairs, question), len(pairs))

    def stream(self, pairs: Sequence[Pair], question: Question) -> Iterator[Group]:
        """Yield what the first labeller is sure of, then what the second says, as it comes."""
        cheap: dict[int, Answer] = {}
        for group in answer_groups(self.first, pairs, question):
            cheap |= dict(group)
            yield [(place, answer) for place, answer in group if not self._is_unsure(answer)]
        unsure = sorted(i for i, answer in cheap.items() if self._is_unsure(answer))
        by_need = sorted(unsure, key=lambda i: _sureness(cheap[i]))  # stable: equals stay in order
        left = len(unsure) if self.config.budget is None else self.config.budget - self.report.escalated
        chosen = sorted(by_need[: max(left, 0)])
        self._count(asked=len(pairs), unsure=len(unsure))
        yield [(i, cheap[i]) for i in sorted(set(unsure) - set(chosen))]
        if chosen:
            for group in answer_groups(self.second, [pairs[i] for i in chosen], question):
                count = _answered([answer for _, answer in group])
                labels = sum(answer.label is not None for _, answer in group)
                self._count(escalated=count, abstained=count - labels)
                yield [(chosen[i], _both(cheap[chosen[i]], answer)) for i, answer in group]

    def _is_unsure(self, answer: Answer) -> bool:
        return answer.label is None or abs(answer.label - 0.5) < self.config.margin

    def _count(self, **more: int) -> None:
        self.report = replace(
            self.report, **{name: getattr(self.report, name) + n for name, n in more.items()}
        )


def _both(cheap: Answer, better: Answer) -> Answer:
    """Return the second's answer, with what both cost and what the first said."""
    said = {"labeller": cheap.labeller, "label": cheap.label}
    return replace(
        better, parameters={**better.parameters, "escalated_from": said}, seconds=cheap.seconds + better.seconds,
        tokens=cheap.tokens + better.tokens, cost=cheap.cost + better.cost,
    )  # fmt: skip


def _answered(answers: Sequence[Answer]) -> int:
    return sum(not answer.is_open for answer in answers)


def _sureness(answer: Answer) -> float:
    return -1.0 if answer.label is None else abs(answer.label - 0.5)
