"""Budgets of calls, tokens and money: the worst case is set aside first, so that no limit is ever passed."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from vlmrl.preferences.chat.config import BudgetConfig
from vlmrl.preferences.chat.errors import BudgetSpent


@dataclass(frozen=True)
class Amount:
    """Something spent or set aside."""

    calls: int = 0
    """Requests."""
    tokens: int = 0
    """Tokens."""
    cost: float = 0.0
    """Money."""

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.calls + other.calls, self.tokens + other.tokens, self.cost + other.cost)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.calls - other.calls, self.tokens - other.tokens, self.cost - other.cost)

    def floor(self) -> Amount:
        """Return it with nothing below zero."""
        return Amount(max(self.calls, 0), max(self.tokens, 0), max(self.cost, 0.0))


def price(config: BudgetConfig, prompt_tokens: int, completion_tokens: int) -> Amount:
    """Return what one request of so many tokens amounts to."""
    cost = (prompt_tokens * config.prompt_price + completion_tokens * config.completion_price) / 1e6
    return Amount(1, prompt_tokens + completion_tokens, cost)


class Ledger:
    """What is spent and what is set aside; shared by threads."""

    def __init__(self, config: BudgetConfig) -> None:
        """Start with nothing spent."""
        self.config = config
        self.spent = Amount()
        self._held, self._open = Amount(), 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def hold(self, worst: Amount) -> Iterator[Hold]:
        """Set `worst` aside for a pair while it is asked; what it did not need is free again afterwards.

        Waits while what others have set aside leaves too little, since they may need less.
        Raises: BudgetSpent if `worst` would pass a limit though nothing is set aside.
        """
        with self._changed:
            while limit := self._passed(worst):
                if not self._open:
                    raise BudgetSpent(limit)
                self._changed.wait()
            self._held, self._open = self._held + worst, self._open + 1
        hold = Hold(self, worst)
        try:
            yield hold
        finally:
            with self._changed:
                self._open -= 1
                # Exactly nothing once the last has left, whatever rounding did to the sums of money.
                self._held = (self._held - hold.left).floor() if self._open else Amount()
                self._changed.notify_all()

    def _passed(self, more: Amount) -> str:
        """Return which limit `more` would pass, or ""; the caller holds the lock."""
        whole = self.spent + self._held + more
        for name, what in (("calls", "calls"), ("tokens", "tokens"), ("cost", "money")):
            limit = getattr(self.config, name)
            if limit is not None and getattr(whole, name) > limit * (1 + 1e-12):
                return (
                    f"budget.{name}: {getattr(self.spent, name):g} of {limit:g} spent; the next request may take "
                    f"{getattr(more, name):g} ({what}); raise budget.{name} to go on, nothing is asked twice"
                )
        return ""

    def _move(self, hold: Hold, worst: Amount, actual: Amount) -> None:
        with self._changed:
            self._held = (self._held - worst).floor()
            hold.left = (hold.left - worst).floor()
            self.spent = self.spent + actual
            hold.spent = hold.spent + actual
            self._changed.notify_all()

    def _cover(self, hold: Hold, worst: Amount) -> None:
        with self._changed:
            missing = (worst - hold.left).floor()
            if missing == Amount():
                return
            if limit := self._passed(missing):  # waiting could be for ever: others may wait for this one
                raise BudgetSpent(limit)
            self._held = self._held + missing
            hold.left = hold.left + missing


class Hold:
    """What is set aside for one pair, and what it has spent of it."""

    def __init__(self, ledger: Ledger, left: Amount) -> None:
        self._ledger = ledger
        self.left, self.spent = left, Amount()

    def cover(self, worst: Amount) -> None:
        """Make sure that a request of `worst` is set aside: a repeated one takes more than was planned.

        Raises: BudgetSpent if it would pass a limit; then it must not be sent.
        """
        self._ledger._cover(self, worst)

    def settle(self, worst: Amount, actual: Amount) -> None:
        """Put `actual` in the place of the `worst` that was set aside for a request."""
        self._ledger._move(self, worst, actual)
