"""A headless Chromium, told what to do by its DevTools protocol: pages are looked at as they are, policy included."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.host.host import REQUIREMENTS
from tests.support import wait_until

OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0"),
    "--hide-scrollbars",  # as on a telephone: the window is all of the page's
)


class Browser:
    """One tab of a browser."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._numbers = socket, itertools.count(1)
        self.requests: list[str] = []
        self.problems: list[str] = []
        for domain in ("Page", "Network", "Log", "Runtime"):
            self._do(f"{domain}.enable")

    def show(self, url: str, width: int = 1200, dark: bool = False) -> None:
        """Open `url` in a window of `width` pixels, and wait until all of it is loaded."""
        self._do("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._do("Emulation.setEmulatedMedia", features=[scheme])
        self.requests.clear()
        self._do("Page.navigate", url=url)
        while self._event()["method"] != "Page.loadEventFired":
            pass

    def value(self, expression: str) -> Any:
        """What JavaScript `expression` is on the page."""
        answer = self._do("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    def screenshot(self, path: Path) -> None:
        """Write the page, to its end, to a PNG."""
        path.write_bytes(base64.b64decode(self._do("Page.captureScreenshot", captureBeyondViewport=True)["data"]))

    def _do(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while (message := self._event()).get("id") != number:
            pass
        assert "error" not in message, message
        result: dict[str, Any] = message["result"]
        return result

    def _event(self) -> dict[str, Any]:
        message: dict[str, Any] = {"method": ""} | json.loads(self._socket.recv(30))
        params = message.get("params", {})
        if message["method"] == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif message["method"] in ("Log.entryAdded", "Runtime.exceptionThrown", "Network.loadingFailed"):
            self.problems.append(json.dumps(params))
        return message


@contextlib.contextmanager
def browsing(folder: Path) -> Iterator[Browser]:
    """A browser with its profile in `folder`, ended with the block; it is installed where it is missing."""
    if shutil.which("chromium") is None:
        if os.geteuid() != 0:
            pytest.skip("there is no Chromium here, and only root can install it")
        subprocess.run([REQUIREMENTS, "browser"], check=True, timeout=480)
    port = folder / "DevToolsActivePort"
    with (folder / "log").open("wb") as log:
        argv = ["chromium", *OPTIONS, f"--user-data-dir={folder}", "about:blank"]
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait_until(lambda: port.exists() and port.read_text().count("\n"), what="Chromium's port")
        with urlopen(f"http://127.0.0.1:{port.read_text().split()[0]}/json/list", timeout=30) as listed:
            tab = next(one for one in json.load(listed) if one["type"] == "page")
        with connect(tab["webSocketDebuggerUrl"], max_size=None) as socket:
            yield Browser(socket)
    finally:
        process.terminate()
        process.wait(30)
