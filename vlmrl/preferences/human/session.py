"""Who is shown which pair, what they answered, undo, progress: the logic behind the page."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vlmrl.errors import UsageError, usage_error
from vlmrl.preferences.human.sink import AnswerSink, Given, Shown
from vlmrl.preferences.protocol import Answer, Question, Segment

LEASE = 90.0
"""Seconds that a pair stays with a tab that is not heard of; the page calls every 30."""
PAIRS_KEPT = 4
"""Pairs kept in memory with their frames: those of the tabs that are usually open."""
CHOICES = ("left", "right", "tie", "skip")
PARAMETERS = {"interface": "two looping clips", "sides": "by key"}
"""What a person's answer depends on besides the pair."""


def agreement(given: Sequence[Given]) -> tuple[int, int]:
    """Return (answers that the model so far shares, answers that can be compared): ties and skips cannot."""
    decided = [
        (g.label > 0.5, g.prediction > 0.5)
        for g in given
        if g.label not in (None, 0.5) and g.prediction not in (None, 0.5)
        if g.label is not None and g.prediction is not None
    ]
    return sum(mine == models for mine, models in decided), len(decided)


def is_turned(key: str) -> bool:
    """Return whether the pair `key` is shown with its second segment on the left: as good as a coin.

    A habit of the person for one side then favours neither segment.
    """
    return int(key[-1], 16) % 2 == 1


@dataclass
class _Tab:
    key: str | None = None
    since: float = 0.0
    heard: float = 0.0


class LabelSession:
    """One sink, any number of tabs; no pair is with two tabs, and none is answered twice."""

    def __init__(
        self, sink: AnswerSink, *, person: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Take up the sink where it was left. `person` names who answers; `clock` counts seconds."""
        self._sink, self._person, self._clock = sink, person, clock
        self._lock = threading.RLock()
        self._tabs: dict[str, _Tab] = {}
        self._history: list[tuple[str | None, str]] = [(None, given.key) for given in sink.given()]
        self._closed = False
        self._unreadable: set[str] = set()
        self._read: OrderedDict[str, Shown] = OrderedDict()

    def set_aside(self, key: str) -> None:
        """Leave out the pair `key`, whose frames cannot be read, for this session."""
        with self._lock:
            self._unreadable.add(key)

    def _shown(self, key: str) -> Shown:
        """Return the pair `key`, read once while it is with a tab. Raises: KeyError; UsageError for damaged frames."""
        with self._lock:
            found = self._read.get(key) or self._sink.shown(key)
            self._read[key] = found
            self._read.move_to_end(key)
            while len(self._read) > PAIRS_KEPT:
                self._read.popitem(last=False)
            return found

    def _pending(self) -> list[str]:
        return [key for key in self._sink.pending() if key not in self._unreadable]

    def close(self) -> None:
        """Refuse all that comes later: the sink may be in other hands by then."""
        with self._lock:
            self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise OSError("vlmrl label has ended")

    def state(self, tab: str) -> dict[str, Any]:
        """Return, as JSON values, the pair that `tab` is to answer, or None, and how far things are."""
        with self._lock:
            key = self._current(tab)
            given = self._sink.given()
            pending = self._pending()
            same, of = agreement(given)
            return {
                "pair": self._described(key) if key is not None else None,
                "answered": len(given),
                "skipped": sum(g.label is None for g in given),
                "total": len(given) + len(pending),
                "elsewhere": len(pending) if key is None else 0,
                "can_undo": self._last(tab) is not None,
                "agreement": {"same": same, "of": of},
            }

    def answer(self, tab: str, key: str, choice: str) -> str:
        """Keep what `tab` answered of the pair `key`; return "", or a notice for the person.

        choice: left, right, tie or skip. Raises: UsageError for another; OSError if it could not be kept.
        """
        if choice not in CHOICES:
            raise usage_error("choice", repr(choice), f"one of {', '.join(CHOICES)}", "reload the page")
        with self._lock:
            self._check_open()
            seat = self._tabs.get(tab)
            since = seat.since if seat is not None and seat.key == key else self._clock()
            label = {"tie": 0.5, "skip": None}.get(choice, float((choice == "left") != is_turned(key)))
            reason = {"tie": "tie", "skip": "skipped"}.get(choice, f"preferred the {choice} clip")
            seconds = max(0.0, self._clock() - since)
            answer = Answer(label, "human", reason, self._person, dict(PARAMETERS), seconds)
            kept = key in self._sink.pending() and self._sink.put(key, answer)
            if kept:
                self._history.append((tab, key))
            for other in self._tabs.values():
                other.key = None if other.key == key else other.key
            return "" if kept else "That pair was answered in another tab; here is the next."

    def undo(self, tab: str) -> str:
        """Take back the last answer of `tab`, or of an earlier session, and show its pair again."""
        with self._lock:
            self._check_open()
            place = self._last(tab)
            if place is None:
                return "There is nothing to undo."
            _, key = self._history[place]
            self._sink.take_back(key)
            del self._history[place]
            now = self._clock()
            self._tabs[tab] = _Tab(key, now, now)
            return "Undone."

    def renew(self, tab: str) -> None:
        """Note that `tab` is still open."""
        with self._lock:
            if tab in self._tabs:
                self._tabs[tab].heard = self._clock()

    def frames(self, key: str, side: str) -> Segment:
        """Return the segment on `side` (left or right) of the pair `key`. Raises: KeyError."""
        pair = self._shown(key).pair
        return pair.first if (side == "left") != is_turned(key) else pair.second

    def totals(self) -> dict[str, Any]:
        """Return what the session came to, as JSON values."""
        with self._lock:
            given, pending, unreadable = self._sink.given(), self._pending(), len(self._unreadable)
        same, of = agreement(given)
        labels = [g.label for g in given]
        return {
            "answered": len(given),
            "answered_now": sum(tab is not None for tab, _ in self._history),
            "ties": labels.count(0.5),
            "skipped": labels.count(None),
            "pending": len(pending),
            "unreadable": unreadable,
            "agreement_with_model": same / of if of else None,
        }

    def _last(self, tab: str) -> int | None:
        places = [i for i, (who, _) in enumerate(self._history) if who in (tab, None)]
        return places[-1] if places else None

    def _current(self, tab: str) -> str | None:
        now = self._clock()
        seat = self._tabs.setdefault(tab, _Tab())
        seat.heard = now
        pending = self._pending()
        if seat.key is not None and seat.key in pending:
            return seat.key
        for name, other in list(self._tabs.items()):
            if now - other.heard > LEASE:
                del self._tabs[name]
        taken = {other.key for other in self._tabs.values()}
        seat.key = next((key for key in pending if key not in taken), None)
        seat.since = now
        return seat.key

    def _described(self, key: str) -> dict[str, Any]:
        try:
            question = self._shown(key).question
        except UsageError:  # damaged frames, which the server will meet again and set aside
            question = Question("")
        return {"key": key, "goal": question.goal, "baseline": question.baseline}
