"""A scripted server program that speaks /v1/chat/completions over HTTP, with faults; for tests, on loopback only.

It really looks at the pictures: the redder one is preferred. As a program: python chat_server.py --faults 0.3
prints its address on the first line and serves until its standard input closes.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import re
import socket
import struct
import sys
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from PIL import Image

REPLIES = ("garbage", "prose", "refusal", "empty", "cut", "half-answer", "two-answers")
"""Bad replies: whole completions that are no answer."""
PASSING = ("half-json", "broken", "reset", "timeout", "429", "500")
"""Failures that pass when the request is repeated."""
Fault = Callable[[int, int, str], str]
"""(number of the request, repetition of its body, digest of its body) -> fault, or ""."""


def share_of_faults(share: float, kinds: tuple[str, ...] = REPLIES + PASSING) -> Fault:
    """Return a script that spoils this share of requests, decided by their content and repetition alone."""

    def fault(_: int, repetition: int, digest: str) -> str:
        draw = int(hashlib.sha256(f"{digest}{repetition}".encode()).hexdigest()[:12], 16)
        return kinds[draw % len(kinds)] if (draw >> 16) % 1000 < share * 1000 else ""

    return fault


class ChatServer(ThreadingHTTPServer):
    """Serves until closed; `seen` holds each request's (headers, body), `faults` counts what was spoilt."""

    daemon_threads = True

    def __init__(self, fault: Fault = lambda *_: "", mode: str = "honest") -> None:
        """`mode`: honest, biased (always the first), gullible (the picture with a caption), soft."""
        super().__init__(("127.0.0.1", 0), Handler)
        self.fault, self.mode = fault, mode
        self.seen: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.faults: Counter[str] = Counter()
        self.repetitions: Counter[str] = Counter()
        self.lock, self.closing = threading.Lock(), threading.Event()
        self.most_at_once = self.at_once = 0
        self.usage: dict[str, int] | None = {"prompt_tokens": 100, "completion_tokens": 7}
        self.retry_after = "0"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that left is no news."""

    def __enter__(self) -> ChatServer:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    """Answers one request, or spoils it."""

    server: ChatServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def do_POST(self) -> None:
        server = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        digest = hashlib.sha256(body).hexdigest()
        with server.lock:
            number, repetition = len(server.seen), server.repetitions[digest]
            server.seen.append(({k.lower(): v for k, v in self.headers.items()}, json.loads(body)))
            server.repetitions[digest] += 1
            fault = server.fault(number, repetition, digest)
            server.faults.update([fault] if fault else [])
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
        try:
            self.reply(fault, json.loads(body))
        finally:
            with server.lock:
                server.at_once -= 1

    def reply(self, fault: str, request: dict[str, Any]) -> None:
        if fault == "timeout":
            self.server.closing.wait(3.0)
            self.close_connection = True
        elif fault == "reset":
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
            self.close_connection = True
        elif fault[:3].isdigit():
            status, _, message = fault.partition(" ")
            error = {"error": {"message": message or "no", "type": "error"}}
            self.send(int(status), json.dumps(error).encode())
        else:
            whole = json.dumps(completion(request, fault, self.server)).encode()
            sent = whole[: len(whole) // 2] if fault in ("half-json", "broken") else whole
            self.send(200, sent, len(whole) if fault == "broken" else len(sent))

    def send(self, status: int, body: bytes, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body) if length is None else length))
        if status in (429, 503) and self.server.retry_after:
            self.send_header("Retry-After", self.server.retry_after)
        self.end_headers()
        self.wfile.write(body)
        if length is not None and length > len(body):
            self.wfile.flush()
            self.close_connection = True


def completion(request: dict[str, Any], fault: str, server: ChatServer) -> dict[str, Any]:
    """Return what a chat model would send back, or one of the bad replies."""
    asked_json = "response_format" in request
    option, text = answer(request, server.mode)
    if asked_json:
        text = json.dumps({"answer": int(option) if option in ("0", "1", "-1") else option})
    message: dict[str, Any] = {"role": "assistant", "content": text}
    spoilt = {
        "garbage": "\x00\ufffd]]}}{{ 0 1 first",
        "prose": f"I believe the answer is {option}, since Image 1 looks closer.",
        "empty": "",
        "half-answer": text[: len(text) // 2] + ("\n" if len(text) < 3 else ""),
        "two-answers": f"{text}\n{text}",
    }
    message["content"] = spoilt.get(fault, text)
    if fault == "half-answer" and len(text) < 3:
        message["content"] = "Image"
    if fault == "refusal":
        message |= {"content": None, "refusal": "I cannot help with that."}
    choice = {"index": 0, "message": message, "finish_reason": "length" if fault == "cut" else "stop"}
    if server.mode == "soft" and request.get("logprobs"):
        choice["logprobs"] = {"content": soft_tokens(text, option)}
    reply: dict[str, Any] = {"object": "chat.completion", "model": request["model"], "choices": [choice]}
    return reply | ({"usage": server.usage} if server.usage else {})


def soft_tokens(text: str, option: str) -> list[dict[str, Any]]:
    """Return the tokens of an answer: 80% for the option, 20% for its opposite."""
    opposite = {"first": "second", "second": "first", "0": "1", "1": "0"}.get(option, option)
    place = text.index(option)
    parts = [text[:place], option, text[place + len(option) :]]
    ways = [
        {"token": option, "logprob": float(np.log(0.8))},
        {"token": opposite, "logprob": float(np.log(0.2))},
    ]
    found: list[dict[str, Any]] = [{"token": p, "logprob": 0.0, "top_logprobs": []} for p in parts if p]
    for token in found:
        if token["token"] == option:
            token |= ways[0] | {"top_logprobs": ways}
    return found


def answer(request: dict[str, Any], mode: str) -> tuple[str, str]:
    """Return (allowed answer, text): of the pictures, or of the description in the second stage."""
    content = request["messages"][-1]["content"]
    if isinstance(content, str):  # two-stage, the verdict
        red = [float(n) for n in re.findall(r"redness (-?\d+\.\d+)", content)[-2:]]
        unsure = len(red) < 2 or red[0] == red[1]  # a description that says nothing, or no difference
        option = "-1" if unsure else str(int(red[0] < red[1]))
        return option, option
    reds: list[list[float]] = []
    for part in content:
        if part["type"] == "text" and part["text"].endswith(("Image 1:", "Image 2:")):
            reds.append([])
        elif part["type"] == "image_url":
            reds[-1].append(redness(part["image_url"]["url"], mode))
    first, second = (float(np.mean(values)) for values in reds)
    if mode == "biased":
        first, second = 1.0, 0.0
    if "What is shown" in content[-1]["text"]:
        return "0", f"Image 1 has redness {first:.3f}. Image 2 has redness {second:.3f}."
    option = "tie" if first == second else "first" if first > second else "second"
    return option, option


def redness(url: str, mode: str) -> float:
    data = base64.b64decode(url.partition(",")[2])
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.float64)
    edge = pixels[-3:, :, :].mean()
    if mode == "gullible" and edge < 30 and pixels[-60:].max() > 250:  # a caption: believed at once
        return 1e6
    return float(pixels[..., 0].mean() - pixels[..., 1:].mean())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--faults", type=float, default=0.0)
    parser.add_argument("--mode", default="honest")
    options = parser.parse_args()
    with ChatServer(share_of_faults(options.faults), options.mode) as server:
        print(server.url, flush=True)
        sys.stdin.read()
        print(json.dumps({"requests": len(server.seen), "faults": dict(server.faults)}), flush=True)


if __name__ == "__main__":
    main()
