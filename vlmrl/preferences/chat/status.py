"""What a reply means: the content of a good one, a failure that may pass, or a setting that is wrong."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vlmrl.errors import usage_error
from vlmrl.preferences.chat.errors import ChatSettingError, Transient
from vlmrl.preferences.chat.retry import retry_after
from vlmrl.preferences.chat.transport import Endpoint, Reply

PASSING = {408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529}
"""Statuses after which the same request may succeed."""
HINTS = (
    (("response_format", "json_schema"), "json_schema", "set json_schema=False"),
    (("max_completion_tokens", "max_tokens"), "limit_field", "try the other name of limit_field"),
    (("logprob",), "logprobs", "set logprobs=False"),
    (("temperature",), "temperature", "set temperature=1.0 or what the server allows"),
    (("seed",), "seed", "set seed=None"),
    (("context length", "too many tokens"), "images", "lower images.max_side or images.max_frames"),
    (("image",), "images", "does the model take pictures? lower images.max_side or change images.layout"),
    (("system",), "guard", "set guard=False"),
    (("model",), "model", "correct the model's name"),
)
"""Words in a refused request's message, the setting they speak of, and what to do."""


@dataclass(frozen=True)
class Completion:
    """A whole reply of a chat model."""

    text: str
    """What it wrote; "" if nothing."""
    finish: str
    """finish_reason, or ""."""
    refusal: str
    """Its refusal, or ""."""
    logprobs: Sequence[dict[str, Any]]
    """Tokens with log-probabilities, or ()."""
    usage: tuple[int, int] | None
    """Tokens read and written, or None where the server does not say."""


def read_reply(reply: Reply, endpoint: Endpoint) -> Completion:
    """Return the content of `reply`.

    Raises: Transient for a failure that may pass (429, 5xx, a body that is no completion); ChatSettingError for one
        that will not (400, 401, 403, 404, redirects, no credit), naming the setting.
    """
    if reply.status == 200:
        return _completion(reply.body)
    said = _message(reply.body, endpoint.key)
    if reply.status in PASSING and "insufficient_quota" not in said:
        raise Transient(f"status {reply.status}", retry_after(reply.headers))
    raise _setting_error(reply.status, said, endpoint)


def _completion(body: bytes) -> Completion:
    broken = Transient("a reply that is no whole chat completion", billed=True)
    try:
        content = json.loads(body)
        choice = content["choices"][0]
        message = choice["message"]
        text, refusal = message.get("content"), message.get("refusal")
        finish = choice.get("finish_reason")
        tokens = (choice.get("logprobs") or {}).get("content") or ()
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        raise broken from None
    if not isinstance(text, (str, type(None))) or not isinstance(finish, (str, type(None))):
        raise broken
    fine = isinstance(tokens, list) and all(isinstance(token, dict) for token in tokens)
    return Completion(
        text or "", finish or "", str(refusal or ""), tokens if fine else (), _usage(content.get("usage"))
    )


def _usage(usage: Any) -> tuple[int, int] | None:
    if not isinstance(usage, dict):
        return None
    read, written = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if type(read) is int and type(written) is int and read >= 0 and written >= 0:
        return read, written
    return None


def _message(body: bytes, key: str) -> str:
    """Return a short, printable form of the server's own words, without the key."""
    text = body[:4000].decode("utf-8", "replace")
    try:
        content = json.loads(text)
        error = content.get("error") or content.get("detail")
        if isinstance(error, dict):
            text = " ".join(str(error[name]) for name in ("message", "param", "code") if error.get(name))
        elif isinstance(error, str):
            text = error
    except (ValueError, AttributeError, RecursionError):
        pass  # not JSON: its text then
    if key:
        text = text.replace(key, "[key]")
    return "".join(c if c.isprintable() else " " for c in text)[:160]


def _setting_error(status: int, said: str, endpoint: Endpoint) -> ChatSettingError:
    lower = said.lower()
    key = endpoint.key_variable or "key_variable"
    if "insufficient_quota" in lower:
        name, expected, remedy = "key", "an account with credit", f"top it up, or change {key}"
    elif status == 401:
        # The server's own words are left out: some repeat a part of the key.
        name, said, expected = "key", "", "a key that the server accepts"
        remedy = f"correct {key}" if endpoint.key else f"set {key}"
    elif status == 403:
        name, expected = "permission", f"a key that may use {endpoint.model}"
        remedy = f"ask for access, or change {key} or model"
    elif status == 404 and "model" in lower:
        name, expected, remedy = (
            "model",
            f"a model that the server has, not {endpoint.model}",
            "correct model",
        )
    elif status in (404, 405) or 300 <= status < 400:
        name, expected, remedy = "base_url", "an address with /chat/completions", f"is {endpoint.url} right?"
    elif status == 413:
        name, expected, remedy = "images", "pictures the server takes", "lower images.max_bytes"
    else:
        matches = [(n, r) for words, n, r in HINTS if any(word in lower for word in words)]
        name, remedy = matches[0] if matches else ("request", "read the server's words")
        expected = "a request that the server takes"
    got = f"status {status}{f' ({said})' if said else ''}"
    return ChatSettingError(str(usage_error(name, got, expected, remedy)))
