"""The page's server: on this machine only, behind a random token, without anything from elsewhere."""

from __future__ import annotations

import contextlib
import hmac
import json
import secrets
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from vlmrl.errors import UsageError, usage_error
from vlmrl.preferences.human.clips import filmstrip
from vlmrl.preferences.human.page import label_page
from vlmrl.preferences.human.session import LabelSession

MAX_BODY = 4096
"""Longest request that is read, in bytes."""
CLIPS_KEPT = 16


class LabelServer:
    """Serves one session until it is closed; `finished` is set once the person has had enough."""

    def __init__(self, session: LabelSession, *, port: int = 0, fps: float = 8.0) -> None:
        """Bind 127.0.0.1:`port` (0: any free one). Raises: UsageError if the port is taken or `fps` is not positive."""
        if not 0 < fps <= 60:
            raise usage_error("fps", fps, "above 0, at most 60", "8 is usual")
        if not 0 <= port <= 65535:
            raise usage_error("port", port, "0 to 65535", "0 takes a free one")
        self.session, self.fps = session, fps
        self.token = secrets.token_urlsafe(24)
        self.finished = threading.Event()
        self._clips: OrderedDict[tuple[str, str], tuple[bytes, dict[str, int]]] = OrderedDict()
        self._lock = threading.Lock()
        try:
            self._http = _Server(("127.0.0.1", port), self)
        except OSError as error:
            got = f"{port} ({error.strerror})"
            raise usage_error("port", got, "a free port", "0 takes one") from error
        self.port: int = self._http.server_port

    @property
    def url(self) -> str:
        """The page's address; whoever has it can answer."""
        return f"http://127.0.0.1:{self.port}/{self.token}/"

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.session.close()
        self._http.shutdown()
        self._http.server_close()
        self._http.hang_up()

    def clip(self, key: str, side: str) -> tuple[bytes, dict[str, int]]:
        """Return the filmstrip of one side of a pair; the latest few are kept. Raises: KeyError."""
        with self._lock:
            found = self._clips.get((key, side))
            if found is None:
                found = self._clips[key, side] = filmstrip(self.session.frames(key, side))
            self._clips.move_to_end((key, side))
            while len(self._clips) > CLIPS_KEPT:
                self._clips.popitem(last=False)
            return found

    def state(self, tab: str, notice: str = "") -> dict[str, Any]:
        """Return what the page of `tab` shows next, as JSON values."""
        while True:
            state = self.session.state(tab)
            if state["pair"] is None:
                return state | {"notice": notice}
            key = state["pair"]["key"]
            try:
                for side in ("left", "right"):
                    state["pair"][side] = {"url": f"clip/{key}/{side}.png", **self.clip(key, side)[1]}
                return state | {"notice": notice}
            except UsageError as error:  # damaged frames: one pair less, not the end of the session
                self.session.set_aside(key)
                notice = f"A pair was left out. {error}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = False

    def __init__(self, address: tuple[str, int], label: LabelServer) -> None:
        self.label = label
        self.connections: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def hang_up(self) -> None:
        """End connections that a browser keeps open for its next request."""
        for connection in list(self.connections):
            with contextlib.suppress(OSError):  # the browser was first
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A page that was closed while it loaded is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "vlmrl", ""
    timeout = 60

    def setup(self) -> None:
        """Remember the connection while it is open."""
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        """Forget the connection."""
        self.server.connections.discard(self.connection)
        super().finish()

    def log_message(self, *_: object) -> None:
        """Keep the token out of the terminal."""

    def do_GET(self) -> None:
        """Give the page or a filmstrip."""
        parts = self._inside()
        label = self.server.label
        if parts == [""]:
            nonce = secrets.token_urlsafe(16)
            policy = (
                f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src 'self' data:; "
                "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            )
            headers = {"Content-Security-Policy": policy}
            self._send(200, label_page(nonce, label.fps).encode(), "text/html; charset=utf-8", headers)
        elif (
            parts is not None
            and len(parts) == 3
            and parts[0] == "clip"
            and parts[2] in ("left.png", "right.png")
        ):
            self._guarded(lambda: label.clip(parts[1], parts[2].removesuffix(".png"))[0])
        else:
            self._send_json(404, {"error": "nothing here"})

    def do_POST(self) -> None:
        """Take an answer, or give the next pair."""
        parts, body = self._inside(), self._body()
        label = self.server.label
        if parts is None or len(parts) != 1 or parts[0] not in ("next", "answer", "undo", "renew", "finish"):
            self._send_json(404, {"error": "nothing here"})
        elif body is None:
            self._send_json(400, {"error": "a request of another kind; reload the page"})
        else:
            self._guarded(lambda: self._act(label, parts[0], body))
            if parts == ["finish"]:  # once the page has its reply: the server closes now
                self.wfile.flush()
                label.finished.set()

    def _act(self, label: LabelServer, what: str, body: dict[str, str]) -> dict[str, Any]:
        tab, notice = body["tab"], ""
        if what == "renew":
            label.session.renew(tab)
            return {}
        if what == "answer":
            notice = label.session.answer(tab, body.get("key", ""), body.get("choice", ""))
        elif what == "undo":
            notice = label.session.undo(tab)
        elif what == "finish":
            return label.session.state(tab)
        return label.state(tab, notice)

    def _inside(self) -> list[str] | None:
        """Return the parts of the path behind the token; None without it, or for a page of another origin."""
        port = self.server.label.port
        hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        origin = self.headers.get("Origin")
        # Another site whose name leads here (DNS rebinding) brings its own name along.
        if self.headers.get("Host") not in hosts or (origin and origin.removeprefix("http://") not in hosts):
            return None
        _, _, inner = self.path.partition("?")[0].partition("/")
        token, *rest = inner.split("/")
        known = hmac.compare_digest(token.encode("utf-8", "replace"), self.server.label.token.encode())
        return rest if known else None

    def _body(self) -> dict[str, str] | None:
        """Return the JSON object sent, with a tab; None for anything else."""
        try:
            length = int(self.headers.get("Content-Length", ""))
            if not 0 < length <= MAX_BODY or not self.headers.get("Content-Type", "").startswith(
                "application/json"
            ):
                self.close_connection = True
                return None
            body = json.loads(self.rfile.read(length))
        except (ValueError, RecursionError):
            return None
        fine = isinstance(body, dict) and all(isinstance(value, str) for value in body.values())
        return body if fine and 0 < len(body.get("tab", "")) <= 64 else None

    def _guarded(self, make: Callable[[], bytes | dict[str, Any]]) -> None:
        try:
            made = make()
        except KeyError:
            self._send_json(404, {"error": "no such pair"})
        except (UsageError, OSError) as error:
            self._send_json(500, {"error": " ".join(str(error).split())})
        else:
            if isinstance(made, bytes):
                self._send(200, made, "image/png", {})
            else:
                self._send_json(200, made)

    def _send_json(self, status: int, content: dict[str, Any]) -> None:
        self._send(status, json.dumps(content).encode(), "application/json", {})

    def _send(self, status: int, body: bytes, kind: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        fixed = {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }
        for name, value in (fixed | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
