# SPDX-License-Identifier: Apache-2.0
"""Headless Chromium over the DevTools protocol: the requests of a page and its workers, its errors, and screenshots."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
TIMEOUT = 120.0  # seconds


class Browser:
    """One tab. ``requests``: URLs of requests and web sockets, without embedded data; ``errors``: those of scripts."""

    def __init__(self, profile: Path, width: int = 1400, height: int = 900) -> None:
        from websockets.sync.client import connect

        self.requests: list[str] = []
        self.errors: list[str] = []
        self._count = 0
        command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--remote-debugging-port=0"]
        command += ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--hide-scrollbars"]
        command += [f"--window-size={width},{height}", f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port_file = profile / "DevToolsActivePort"
        self.until(lambda: port_file.is_file() and port_file.read_text().strip(), "Chromium")
        port = port_file.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as response:
            tabs = json.load(response)
        address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
        self._socket = connect(address, max_size=None)
        for domain in ("Network", "Page", "Runtime"):
            self.send(f"{domain}.enable")
        # Workers have their own network: attach to each before it runs.
        self.send("Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=True, flatten=True)
        view = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.send("Emulation.setDeviceMetricsOverride", **view)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait(TIMEOUT)

    def send(self, method: str, **parameters: Any) -> Any:
        """Send a command and wait for its result; events that arrive meanwhile are recorded."""
        self._count += 1
        number = self._count
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(TIMEOUT))
            if message.get("id") == number:
                assert "error" not in message, message["error"]
                return message["result"]
            self._record(message)

    def open(self, url: str) -> None:
        """Load a page."""
        self.send("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """Value of a JavaScript expression."""
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def click(self, text: str) -> None:
        """Click the button with this text."""
        self.evaluate(f"[...document.querySelectorAll('button')].find(b => b.innerText == {text!r}).click()")

    def wait_for(self, expression: str) -> None:
        """Wait until a JavaScript expression is true."""
        self.until(lambda: self.evaluate(f"Boolean({expression})"), expression)

    def screenshot(self, path: Path) -> Path:
        """Write a PNG of the tab."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))
        return path

    def _record(self, message: dict[str, Any]) -> None:
        method, parameters = message.get("method"), message.get("params", {})
        if method == "Target.attachedToTarget":
            for command in ("Network.enable", "Runtime.enable", "Runtime.runIfWaitingForDebugger"):
                self._count += 1
                self._socket.send(
                    json.dumps({"id": self._count, "method": command, "sessionId": parameters["sessionId"]})
                )
        elif method == "Network.requestWillBeSent":
            if not parameters["request"]["url"].startswith(("data:", "blob:")):
                self.requests.append(parameters["request"]["url"])
        elif method == "Network.webSocketCreated":
            self.requests.append(parameters["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(str(parameters["exceptionDetails"]))

    def until(self, done: Callable[[], Any], what: str) -> None:
        """Wait until ``done`` returns a true value."""
        deadline = time.monotonic() + TIMEOUT
        while not done():
            assert self._process.poll() is None, f"Chromium ended while waiting for {what}"
            assert time.monotonic() < deadline, f"waited {TIMEOUT} s for {what}"
            time.sleep(0.1)
