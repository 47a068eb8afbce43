"""The one retry layer: Retry-After, exponential waits with jitter, a number of attempts, a deadline."""

from __future__ import annotations

import email.utils
import random
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TypeVar

from vlmrl.preferences.chat.config import RetryConfig
from vlmrl.preferences.chat.errors import GaveUp, Transient

T = TypeVar("T")


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return the seconds that Retry-After asks to wait, as a number or a date; None without one.

    Source: RFC 9110, section 10.2.3.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.replace(".", "", 1).isdigit() and len(text) < 12:
        return float(text)
    try:
        date = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())


class Retry:
    """Calls again what failed in a way that may pass. Shared by threads."""

    def __init__(
        self,
        config: RetryConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        seed: int = 0,
    ) -> None:
        """Wait by `sleep` and measure by `clock`, in seconds; `seed` decides the jitter."""
        self.config, self._clock, self._sleep = config, clock, sleep
        self._random, self._lock = random.Random(seed), threading.Lock()

    def run(self, attempt: Callable[[float], T], stopped: Callable[[], bool] = lambda: False) -> T:
        """Return what `attempt(timeout)` returns, called again after each Transient it raises.

        Waits at least as long as the server asks for, else up to base * 2**n seconds ("full jitter").
        Raises: GaveUp after `attempts`, where a wait would pass the deadline, or once `stopped()`.
        """
        end = self._clock() + self.config.deadline
        number = 0
        while True:
            number += 1
            try:
                return attempt(min(self.config.timeout, max(end - self._clock(), 1e-3)))
            except Transient as error:
                said = f"{number} attempt{'s' * (number > 1)}, the last: {error.reason}"
                if number >= self.config.attempts or stopped():
                    raise GaveUp(said) from None
                wait = self._wait(number, error.retry_after)
                if self._clock() + wait >= end:
                    asked = "" if error.retry_after is None else f", which asks for {error.retry_after:g} s"
                    raise GaveUp(f"{said}{asked}; {self.config.deadline:g} s are the most") from None
                self._sleep(wait)
                if stopped():
                    raise GaveUp(said) from None

    def _wait(self, number: int, asked: float | None) -> float:
        with self._lock:
            share = self._random.random()
        if asked is not None:  # a little more than asked, so that the workers do not all return at once
            return asked + share * min(self.config.base, 1.0)
        return share * min(self.config.cap, self.config.base * 2.0 ** (number - 1))
