"""One question to a chat model: within its budget, repeated where that helps, never beyond its limits."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vlmrl.preferences.chat.budget import Amount, Hold, Ledger, price
from vlmrl.preferences.chat.config import ChatConfig
from vlmrl.preferences.chat.errors import Transient
from vlmrl.preferences.chat.prompts import Message
from vlmrl.preferences.chat.retry import Retry
from vlmrl.preferences.chat.status import Completion, read_reply
from vlmrl.preferences.chat.transport import Transport

OVERHEAD = 64
"""Tokens that a chat template may add to a request, at most."""


@dataclass(frozen=True)
class Request:
    """One question to the model."""

    messages: Sequence[Message]
    """What is said, pictures as data URLs."""
    limit: int
    """Longest reply in tokens."""
    extras: dict[str, Any]
    """Further fields, such as response_format."""
    text_tokens: int
    """No fewer tokens than the text has, pictures apart."""

    @property
    def num_images(self) -> int:
        """Return the number of pictures."""
        contents = [message["content"] for message in self.messages]
        parts = [part for content in contents if not isinstance(content, str) for part in content]
        return sum(part["type"] == "image_url" for part in parts)


class ChatClient:
    """Asks one question at a time on each of several threads."""

    def __init__(self, config: ChatConfig, transport: Transport, ledger: Ledger, retry: Retry) -> None:
        """Ask through `transport`, repeat by `retry`, spend from `ledger`."""
        self.config, self.transport, self.ledger, self.retry = config, transport, ledger, retry
        self._image_tokens = config.budget.tokens_per_image
        self._lock = threading.Lock()

    def worst(self, text_tokens: int, images: int, written: int) -> Amount:
        """Return the most that one request can amount to.

        text_tokens: no fewer than the text has. images: pictures. written: limit of the reply in tokens.
        """
        read = text_tokens + OVERHEAD + images * self._image_tokens
        return price(self.config.budget, read, written)

    def complete(
        self, request: Request, hold: Hold, on_repeat: Callable[[], None], stopped: Callable[[], bool]
    ) -> Completion:
        """Return the model's reply to `request`, paid for out of `hold`.

        Raises: GaveUp after the last attempt or once `stopped()`; BudgetSpent; ChatSettingError.
        """
        payload = self._payload(request)
        images, text, limit = request.num_images, request.text_tokens, request.limit
        number = 0

        def attempt(timeout: float) -> Completion:
            nonlocal number
            number += 1
            if number > 1:
                on_repeat()
            worst = self.worst(text, images, limit)
            hold.cover(worst)
            actual = Amount(1)  # a request that was refused or never arrived costs nothing but itself
            try:
                try:
                    completion = read_reply(self.transport.post(payload, timeout), self.transport.endpoint)
                except Transient as error:
                    actual = worst if error.billed else actual
                    raise
                actual = worst
                if completion.usage is not None:
                    actual = price(self.config.budget, *completion.usage)
                    self._learn(completion.usage[0], text, images)
                return completion
            finally:
                hold.settle(worst, actual)

        return self.retry.run(attempt, stopped)

    def _payload(self, request: Request) -> bytes:
        content: dict[str, Any] = {"model": self.transport.endpoint.model, "messages": list(request.messages)}
        content |= {"temperature": self.config.temperature, self.config.limit_field: request.limit}
        if self.config.seed is not None:
            content["seed"] = self.config.seed + self.config.sample
        return json.dumps(content | request.extras).encode()

    def _learn(self, read: int, text: int, images: int) -> None:
        """Raise the bound of a picture's tokens if the server counted more than it allows."""
        if images and read > text + OVERHEAD + images * self._image_tokens:
            with self._lock:
                # The text may be only a quarter of its bytes in tokens: count none of it, to stay above.
                self._image_tokens = max(self._image_tokens, -(-read // images))
