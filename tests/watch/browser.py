"""Chromium without a window, driven over a pipe by its protocol (chromedevtools.github.io/devtools-protocol)."""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# So that it neither asks for another process's profile nor calls anybody.
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
]
PATIENCE = 60.0


class Browser:
    """The connection to a browser. Messages are JSON, each followed by a zero byte."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._out, self._in = to_browser, from_browser
        self._number, self._rest = 0, b""
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Call a method of the browser, or of a page's session; return its result."""
        self._number += 1
        number, message = self._number, {"id": self._number, "method": method, "params": params}
        os.write(self._out, json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def _receive(self) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], max(deadline - time.monotonic(), 0))
            assert ready, "the browser does not answer"
            self._rest += os.read(self._in, 1 << 16)
        message, _, self._rest = self._rest.partition(b"\0")
        received: dict[str, Any] = json.loads(message)
        return received


class Page:
    """A tab of its own size and colour scheme."""

    def __init__(
        self,
        browser: Browser,
        width: int,
        scheme: str,
        cookies: dict[str, str],
        address: str,
        *,
        runs_scripts: bool = True,
    ) -> None:
        self.browser, self.name = browser, f"{width}-{scheme}{'' if runs_scripts else '-without-script'}"
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        for name, value in cookies.items():
            self.call("Network.setCookie", name=name, value=value, url=address)
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)
        self.call("Emulation.setScriptExecutionDisabled", value=not runs_scripts)
        self.call("Page.navigate", url=address)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self.browser.call(method, self.session, **params)

    def value(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, script: str, timeout: float = PATIENCE) -> Any:
        """Wait until an expression in the page is true, and return its value."""
        deadline = time.monotonic() + timeout
        while not (found := self.value(script)):
            assert time.monotonic() < deadline, f"never: {script}; {self.value('document.body?.innerText')}"
            time.sleep(0.05)
        return found

    def errors(self) -> list[str]:
        """Return what the page's script has thrown, and what the browser has complained about."""
        own = [event for event in self.browser.events if event.get("sessionId") == self.session]
        thrown = [json.dumps(event["params"]) for event in own if event["method"] == "Runtime.exceptionThrown"]
        logged = [event["params"]["entry"] for event in own if event["method"] == "Log.entryAdded"]
        return thrown + [entry["text"] for entry in logged if entry["level"] == "error"]

    def save_picture(self, directory: Path, name: str) -> None:
        """Save a picture of the whole page."""
        self.call("Page.bringToFront")  # the browser does not draw the others
        picture = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        (directory / f"{name}-{self.name}.png").write_bytes(base64.b64decode(picture))


@contextmanager
def browser(program: str, profile: Path) -> Iterator[Browser]:
    """Run a browser with an empty profile."""
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()

    def hand_over() -> None:
        """The browser reads the descriptor 3 and writes to 4."""
        for end in (to_read, from_write):
            assert end > 4
        os.dup2(to_read, 3)
        os.dup2(from_write, 4)

    process = subprocess.Popen(
        [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=hand_over,
        pass_fds=(3, 4),
    )
    for end in (to_read, from_write):
        os.close(end)
    found = Browser(to_write, from_read)
    try:
        yield found
        found.call("Browser.close")
    finally:
        for end in (to_write, from_read):
            os.close(end)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
