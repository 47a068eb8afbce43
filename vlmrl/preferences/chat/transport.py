"""The one door to the network: the endpoint from settings and environment, and POST through httpx2."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from vlmrl.errors import usage_error
from vlmrl.preferences.chat.config import MODEL_VARIABLE, URL_VARIABLE, ChatConfig
from vlmrl.preferences.chat.errors import Transient

MAX_REPLY = 4 * 2**20
"""Longest reply that is read, in bytes."""


@dataclass(frozen=True)
class Endpoint:
    """Where to ask, and as whom."""

    url: str
    """Address of chat completions."""
    model: str
    """Name of the model there."""
    key: str = field(repr=False)
    """The key, or "": never shown, never stored."""
    key_variable: str
    """Environment variable that it came from."""

    @property
    def is_local(self) -> bool:
        """Whether the address is this machine's own."""
        return is_loopback(urlsplit(self.url).hostname or "")


@dataclass(frozen=True)
class Reply:
    """What a server said."""

    status: int
    """HTTP status."""
    headers: Mapping[str, str]
    """Header fields, names in lower case."""
    body: bytes
    """Content."""


def is_loopback(host: str) -> bool:
    """Return whether `host` names this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def find_endpoint(config: ChatConfig, environ: Mapping[str, str]) -> Endpoint:
    """Return the endpoint that `config` and the environment name.

    Raises: UsageError if address, model or key are missing or malformed; the key is never part of the message.
    """
    url = (config.base_url or environ.get(URL_VARIABLE, "")).strip().rstrip("/")
    model = (config.model or environ.get(MODEL_VARIABLE, "")).strip()
    key = environ.get(config.key_variable, "").strip() if config.key_variable else ""
    remedy = f"set base_url, or {URL_VARIABLE}"
    try:
        parts = urlsplit(url)
        port = parts.port  # raises on a port that is none
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0
    except ValueError:
        valid = False
    if not valid:
        raise usage_error("base_url", repr(url) if "@" not in url else "a malformed one",
                          "an address such as http://127.0.0.1:8000/v1", remedy)  # fmt: skip
    if parts.username or parts.password or parts.query or parts.fragment:
        expected = "an address without user, password, query or fragment"
        raise usage_error("base_url", f"one with more, on {parts.hostname}", expected, remedy)
    if not model:
        raise usage_error("model", "none", "the model's name", f"set model, or {MODEL_VARIABLE}")
    local = is_loopback(parts.hostname or "")
    _check_key(config.key_variable, key, local, parts.scheme == "https")
    if not url.endswith("/chat/completions"):
        url = f"{url}{'' if parts.path else '/v1'}/chat/completions"
    return Endpoint(url, model, key, config.key_variable)


def _check_key(variable: str, key: str, local: bool, encrypted: bool) -> None:
    without = 'key_variable="" is for servers without keys'
    if variable and not key and not local:
        raise usage_error("key", f"none in {variable}", "a key", f"set {variable}; {without}")
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        raise usage_error("key", f"one with odd characters in {variable}", "one word", f"correct {variable}")
    if key and not local and not encrypted:
        raise usage_error(
            "base_url", "http with a key", "https", f"the key would be read by others; {without}"
        )


class Transport:
    """Posts JSON to an endpoint and returns the reply; no retries, no redirects."""

    def __init__(self, endpoint: Endpoint, connections: int) -> None:
        """Prepare at most `connections` at a time; nothing is sent yet."""
        self.endpoint = endpoint
        self._connections = connections
        self._client: Any = None

    def open(self) -> None:
        """Make the client; `post` needs it, and several threads may then share it."""
        import httpx2

        if self._client is None:
            # Proxies of the environment are for the world outside, not for this machine's own servers.
            limits = httpx2.Limits(max_connections=self._connections)
            self._client = httpx2.Client(limits=limits, trust_env=not self.endpoint.is_local)

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def post(self, payload: bytes, timeout: float) -> Reply:
        """Send `payload` (JSON) and return the whole reply, within `timeout` seconds.

        Raises: Transient if no whole reply came; its `billed` is True unless the server cannot have seen the request.
        """
        import httpx2

        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "vlmrl"}
        if self.endpoint.key:
            headers["Authorization"] = f"Bearer {self.endpoint.key}"
        end = time.monotonic() + timeout
        body = bytearray()
        try:
            with self._client.stream(
                "POST", self.endpoint.url, content=payload, headers=headers, timeout=timeout
            ) as reply:
                for chunk in reply.iter_bytes():
                    body += chunk
                    if len(body) > MAX_REPLY:
                        raise Transient(f"a reply of more than {MAX_REPLY:,} bytes", billed=True)
                    if time.monotonic() > end:  # bytes that trickle in pass every timeout between bytes
                        raise Transient(f"timeout after {timeout:g} s", billed=True)
                return Reply(reply.status_code, dict(reply.headers), bytes(body))
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            raise Transient(f"no connection ({type(error).__name__})") from None
        except httpx2.TimeoutException:
            raise Transient(f"timeout after {timeout:g} s", billed=True) from None
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            raise Transient(f"connection broken ({type(error).__name__})", billed=True) from None
        except httpx2.InvalidURL:
            expected = "an address such as http://127.0.0.1:8000/v1"
            raise usage_error("base_url", "a malformed one", expected, "correct it") from None
