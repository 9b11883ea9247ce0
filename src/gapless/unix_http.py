"""HTTP over a Unix socket: what an instance, and whoever manages it, asks of a private socket."""

from __future__ import annotations

import http.client
import socket

# What `gapless serve` answers itself; everything else is for the app.
STATUS_PATH = "/.gapless/status"
STAND_BY_PATH, RESUME_PATH = "/.gapless/stand-by", "/.gapless/resume"


class _UnixHTTP(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def get(socket_path: str, target: str, host: str, timeout: float) -> tuple[int, dict[str, str], bytes]:
    """GET `target` over the Unix socket: status, headers (lower case), body. Raises OSError, HTTPException.

    `timeout` bounds each wait for the server, in seconds.
    """
    return _ask("GET", socket_path, target, host, timeout)


def post(socket_path: str, target: str, host: str, timeout: float) -> tuple[int, dict[str, str], bytes]:
    """POST nothing to `target`; otherwise as `get`."""
    return _ask("POST", socket_path, target, host, timeout)


def _ask(method: str, socket_path: str, target: str, host: str, timeout: float) -> tuple[int, dict[str, str], bytes]:
    connection = _UnixHTTP(socket_path, timeout)
    try:
        connection.request(method, target, headers={"Host": host, "User-Agent": "gapless-check", "Connection": "close"})
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return response.status, headers, response.read()
    finally:
        connection.close()
