"""A headless Chromium driven over the DevTools protocol; for tests. Skips with a reason where there is none."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

KEYS = {
    "ArrowLeft": ("ArrowLeft", 37), "ArrowRight": ("ArrowRight", 39), "ArrowDown": ("ArrowDown", 40),
    " ": ("Space", 32), "Enter": ("Enter", 13), "Tab": ("Tab", 9),
}  # fmt: skip


class Tab:
    """One page."""

    def __init__(self, socket: Any) -> None:
        self._socket, self._numbers = socket, itertools.count(1)
        self.problems: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result; remember what the page complains of meanwhile."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=30))
            if message.get("id") == number:
                assert "error" not in message, message["error"]
                return message["result"]
            if message.get("method") == "Runtime.exceptionThrown":
                self.problems.append(json.dumps(message["params"]))
            elif message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
                self.problems.append(message["params"]["entry"]["text"])

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, script: str, seconds: float = 20.0) -> Any:
        """Wait until the expression is true, and return its value."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            value = self.run(f"(() => {{ try {{ return {script} }} catch {{ return null }} }})()")
            if value:
                return value
            time.sleep(0.03)
        raise AssertionError(f"never true: {script}")

    def open(self, url: str) -> None:
        """Go to `url`."""
        self.call("Page.navigate", url=url)

    def press(self, key: str) -> None:
        """Press and release a key."""
        code, number = KEYS[key] if key in KEYS else (f"Key{key.upper()}", ord(key.upper()))
        text = {"Enter": "\r", " ": " "}.get(key, key if len(key) == 1 else "")
        event = {"key": key, "code": code, "windowsVirtualKeyCode": number}
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **event, text=text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **event)

    def click(self, selector: str) -> None:
        """Click the middle of an element with the mouse."""
        script = f"(r=>[r.x+r.width/2,r.y+r.height/2])(document.querySelector({selector!r}).getBoundingClientRect())"
        x, y = self.run(script)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screenshot(self, path: Path) -> None:
        """Write what is seen as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


class Browser:
    """A running Chromium."""

    def __init__(self, port: int, stack: contextlib.ExitStack) -> None:
        self._port, self._stack = port, stack

    def tab(self, width: int = 1280, height: int = 800, dark: bool = False) -> Tab:
        """Open an empty page of this size."""
        from websockets.sync.client import connect

        request = urllib.request.Request(f"http://127.0.0.1:{self._port}/json/new", method="PUT")
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as reply:
            address = json.load(reply)["webSocketDebuggerUrl"]
        tab = Tab(self._stack.enter_context(connect(address, max_size=2**26, proxy=None)))
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        tab.call("Emulation.setDeviceMetricsOverride", **size)
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        tab.call("Emulation.setEmulatedMedia", features=features)
        return tab


@contextlib.contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """Start Chromium with its profile in `folder`; skip the test if that cannot be."""
    pytest.importorskip("websockets", reason="the DevTools protocol needs the package websockets")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no chromium on this machine")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    options += ["--disable-background-networking", "--disable-component-update", "--no-proxy-server"]
    options += ["--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"]
    file = folder / "DevToolsActivePort"
    with contextlib.ExitStack() as stack:
        null = subprocess.DEVNULL
        process = stack.enter_context(subprocess.Popen([program, *options], stdout=null, stderr=null))
        stack.callback(process.kill)
        end = time.monotonic() + 60
        while not (file.exists() and file.read_text().count("\n")):
            if process.poll() is not None or time.monotonic() > end:
                pytest.skip(f"{program} does not start here (exit {process.poll()})")
            time.sleep(0.05)
        yield Browser(int(file.read_text().split()[0]), stack)
