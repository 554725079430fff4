"""Debian's Chromium without a screen, spoken to through a pipe (Chrome DevTools Protocol): no port, no driver."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM = "chromium"
DEADLINE_S = 120.0
FLAGS = (
    "--headless",
    "--no-sandbox",  # tests run as root, in a page of ours
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
Json = dict[str, Any]


class Page:
    """One page of the browser, and everything that it complained of or asked the network for."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Security"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Json:  # noqa: ANN401 - any JSON value
        """Carry out a command for this page."""
        return self._browser.call(method, self._session, **params)

    def show(self, path: Path, width_px: int, *, dark: bool = False, height_px: int = 900) -> None:
        """Open a file at a width, as light or dark as somebody prefers, and wait until it is there."""
        mode = "dark" if dark else "light"
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width_px, height=height_px, deviceScaleFactor=1, mobile=False
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": mode}])
        self._browser.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        self._browser.wait_for("Page.loadEventFired")

    def value(self, expression: str) -> Any:  # noqa: ANN401 - any JSON value
        """Give what an expression of the page is."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def complaints(self) -> list[Json]:
        """What stands on the console, and what was thrown."""
        kinds = {"Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"}
        self.value("1")  # what is on its way has come when this is answered
        return [event for event in self._browser.events if event["method"] in kinds]

    def requests(self) -> list[str]:
        """The addresses that the page asked for."""
        asked = [event for event in self._browser.events if event["method"] == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in asked]

    def screenshot(self, *, whole: bool = True) -> bytes:
        """The page as PNG, or what of it is on the screen."""
        data: str = self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        return base64.b64decode(data)

    def pdf(self) -> bytes:
        """The page as it prints."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=True)["data"])


class Browser:
    """The browser's end of the pipe."""

    def __init__(self, reading: int, writing: int) -> None:
        self._reading, self._writing = reading, writing
        self._number = 0
        self._rest = b""
        self.events: list[Json] = []

    def call(self, method: str, session: str | None = None, **params: Any) -> Json:  # noqa: ANN401 - any JSON value
        """Carry out a command and give its result."""
        self._number += 1
        message: Json = {"id": self._number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        os.write(self._writing, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: Json = answer["result"]
                return result
            self.events.append(answer)

    def wait_for(self, method: str) -> None:
        """Wait for an event, unless it has come."""
        while not any(event.get("method") == method for event in self.events):
            self.events.append(self._next())

    def _next(self) -> Json:
        end_s = time.monotonic() + DEADLINE_S
        while b"\0" not in self._rest:
            assert select.select([self._reading], [], [], max(0.0, end_s - time.monotonic()))[0], "no answer"
            octets = os.read(self._reading, 1 << 20)
            assert octets, "the browser ended"
            self._rest += octets
        message, _, self._rest = self._rest.partition(b"\0")
        answer: Json = json.loads(message)
        return answer


def is_installed() -> bool:
    """Whether there is a Chromium."""
    return shutil.which(PROGRAM) is not None


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Start a browser with a profile of its own, and end it."""
    to_read, to_write = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(prefix="nwscan-browser-", ignore_cleanup_errors=True) as profile:
        command = f'exec "$@" 3<&{to_read[0]} 4>&{to_write[1]}'
        process = subprocess.Popen(
            ["bash", "-c", command, "bash", PROGRAM, *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=(to_read[0], to_write[1]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read[0])
        os.close(to_write[1])
        try:
            yield Browser(to_write[0], to_read[1])
        finally:
            os.close(to_read[1])
            os.close(to_write[0])
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
