"""Counts of what a chat model said: bad replies, position bias, what it took; and when to stop."""

from __future__ import annotations

import math
import threading
from collections import Counter, deque
from dataclasses import dataclass, field

from vlmrl.preferences.chat.answers import GAVE_UP, Verdict

WINDOW = 200
"""Requests that the rate of failures looks back on."""
Z = 3.09
"""One-sided 99.9%: asking stops only when the rate is above the threshold for sure."""


@dataclass(frozen=True)
class ChatReport:
    """What a chat labeller has seen so far."""

    pairs: int = 0
    """Pairs asked: with a label, abstained from, or left open."""
    labels: int = 0
    """Pairs with a label, ties among them."""
    ties: int = 0
    """Pairs with label 0.5."""
    abstentions: dict[str, int] = field(default_factory=dict)
    """Pairs without a label, by kind: unsure, unparseable, refusal, cut off, same picture."""
    open: int = 0
    """Pairs that nobody answered, since the network failed for good: no abstentions, they can be asked again."""
    replies: int = 0
    """Questions put to the server, repeated requests not counted."""
    failures: int = 0
    """Questions without a usable reply: unparseable, refused, cut off, given up."""
    repeated: int = 0
    """Requests that were repeated."""
    first_share: float | None = None
    """Share of "Image 1" among the single verdicts for one of both; 0.5 without position bias."""
    flip_rate: float | None = None
    """Share of pairs decided in both orders whose two verdicts disagree."""
    calls: int = 0
    """Requests in all."""
    tokens: int = 0
    """Tokens paid for, at worst."""
    cost: float = 0.0
    """Money paid, at worst."""

    @property
    def failure_rate(self) -> float:
        """Share of questions without a usable reply."""
        return self.failures / self.replies if self.replies else 0.0


def surely_above(failures: int, trials: int, limit: float) -> bool:
    """Return whether a rate of `failures` among `trials` is above `limit` beyond chance (Wilson's lower bound)."""
    if trials == 0:
        return False
    share, z2 = failures / trials, Z * Z
    middle = share + z2 / (2 * trials)
    half = Z * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials * trials))
    return (middle - half) / (1 + z2 / trials) > limit


class Tally:
    """Counts, shared by threads."""

    def __init__(self) -> None:
        """Start at nothing."""
        self._lock = threading.Lock()
        self._recent: deque[bool] = deque(maxlen=WINDOW)
        self._counts: Counter[str] = Counter()
        self._abstentions: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()

    def begin(self) -> None:
        """Forget the recent failures, as asking begins anew; the counts stay."""
        with self._lock:
            self._recent.clear()

    def reply(self, failure: str, limit: float) -> str:
        """Count a reply, `failure` "" or its kind; return why to stop, or ""."""
        with self._lock:
            self._recent.append(bool(failure))
            self._counts["replies"] += 1
            if not failure:
                return ""
            self._counts["failures"] += 1
            self._reasons[failure] += 1
            bad, of = sum(self._recent), len(self._recent)
            if not surely_above(bad, of, limit):
                return ""
            most = ", ".join(f"{count} {kind}" for kind, count in self._reasons.most_common(4))
            return f"{bad} of the last {of} replies were unusable ({most}); max_failure_rate is {limit:g}"

    def verdict(self, label: float | None) -> None:
        """Count the verdict of one order."""
        if label is not None and label != 0.5:
            with self._lock:
                self._counts["first" if label > 0.5 else "second"] += 1

    def repeat(self) -> None:
        """Count a request that is made again."""
        with self._lock:
            self._counts["repeated"] += 1

    def pair(self, verdict: Verdict) -> None:
        """Count what became of a pair."""
        with self._lock:
            self._counts["pairs"] += 1
            self._counts["labels"] += verdict.label is not None
            self._counts["ties"] += verdict.label == 0.5
            if verdict.kind == GAVE_UP:
                self._counts["open"] += 1
            elif verdict.label is None:
                self._abstentions[verdict.kind] += 1
            if verdict.flipped is not None:
                self._counts["both"] += 1
                self._counts["flips"] += verdict.flipped

    def report(self, calls: int, tokens: int, cost: float) -> ChatReport:
        """Return the counts so far."""
        with self._lock:
            counts, abstentions = self._counts.copy(), dict(self._abstentions)
        sided = counts["first"] + counts["second"]
        return ChatReport(
            **{
                name: counts[name]
                for name in ("pairs", "labels", "ties", "open", "replies", "failures", "repeated")
            },
            abstentions=abstentions,
            first_share=counts["first"] / sided if sided else None,
            flip_rate=counts["flips"] / counts["both"] if counts["both"] else None,
            calls=calls,
            tokens=tokens,
            cost=cost,
        )
