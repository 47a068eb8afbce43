"""Tokens of captions, and captions that are too long for the text tower."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from torch import Tensor

from vlmrl.errors import usage_error


class Tokens:
    """A tokenizer with the text tower's length, which refuses or cuts what is longer."""

    def __init__(self, tokenizer: Any, context_length: int, cut: bool) -> None:
        """Hold open_clip's `tokenizer`; with `cut`, the end of a long caption goes unread."""
        self.tokenizer, self.context_length, self.cut = tokenizer, context_length, cut
        self.count = lru_cache(maxsize=100_000)(self._count)

    def __call__(self, texts: list[str]) -> Tensor:
        """Return the tokens (K, context_length) of texts.

        Raises: UsageError naming a text that is too long, unless it may be cut.
        """
        self.check(texts)
        return self.tokenizer(texts, context_length=self.context_length)

    def fits(self, text: str) -> bool:
        """Say whether a text may be used: it is short enough, or may be cut."""
        return self.cut or self.count(text) <= self.context_length

    def check(self, texts: list[str]) -> None:
        """Refuse texts that do not fit. Raises: UsageError naming the first of them, and how many there are."""
        long = [text for text in texts if not self.fits(text)]
        if long:
            more = f" and {len(long) - 1} more" if len(long) > 1 else ""
            got = f"{long[0][:120]!r} of {self.count(long[0])} tokens{more}"
            expected = f"at most {self.context_length} tokens, start and end included"
            raise usage_error("caption", got, expected, "shorten it, or use --long-captions cut")

    def _count(self, text: str) -> int:
        """Count the tokens of a text, start and end included."""
        if hasattr(self.tokenizer, "encode"):  # open_clip's own
            return len(self.tokenizer.encode(text)) + 2
        inner = getattr(self.tokenizer, "tokenizer", None)
        if inner is not None:  # a Hugging Face one inside
            return len(inner(self.tokenizer.clean_fn(text)).input_ids)
        read = self.tokenizer([text], context_length=self.context_length)
        longer = self.tokenizer([text], context_length=self.context_length + 1)
        return self.context_length + int((read != longer[:, : self.context_length]).any())
