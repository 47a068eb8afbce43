"""Why asking stopped; each error carries the answers given so far, since they have been paid for."""

from __future__ import annotations

from collections.abc import Sequence

from vlmrl.errors import Stopped, UsageError
from vlmrl.preferences.protocol import Answer


class ChatSettingError(UsageError):
    """The server refuses the request itself (400, 401, 403, 404): asking again would not help.

    Attributes: `answers`, one for each pair in order, None where none was given.
    """

    answers: Sequence[Answer | None] = ()


class ChatStopped(Stopped):
    """Asking stopped before the last pair; nothing is lost, and the rest can be asked another time.

    Attributes: `answers`, one for each pair in order, None where none was given.
    """

    answers: Sequence[Answer | None] = ()


class BudgetSpent(ChatStopped):
    """The worst case of the next request would pass a limit."""


class TooManyFailures(ChatStopped):
    """Too large a share of requests brought no usable reply."""


class Transient(Exception):
    """A request that failed in a way that may pass.

    Attributes: `reason`; `retry_after`, seconds the server asks to wait, or None; `billed`, whether the model may
    have run, so that the request may have been paid for.
    """

    def __init__(self, reason: str, retry_after: float | None = None, billed: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.retry_after, self.billed = reason, retry_after, billed


class GaveUp(Exception):
    """Every attempt failed, or the deadline passed; the message names the last reason."""
