"""The visitor that a check stands for: what a request of his carries, and what an answer that is not 2xx asks for."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from gapless.linux.answers import PASSING
from gapless.linux.unix_http import get, get_over

RELEASE_HEADER = "gapless-release"  # of an answer: who gave it
ADDRESS = "127.0.0.1"  # where he comes from
TARGET = re.compile(r"/[!-~]*")  # a path with its query, in HTTP's first line, RFC 9112
SCHEMES = ("http", "https")
LOGIN = re.compile(r"log-?in|sign-?in|auth|session", re.IGNORECASE)
NO_GET = "the page takes no plain GET: set `[check] path` to one that does, or say what it wants in `[check] headers`"
LATER = "it says that it will pass: does what the app depends on answer? [check] timeout is how long to wait"
WRITES = "; it may write to $GAPLESS_SHARED alone: under systemd [sandbox] says to what else"
ELSEWHERE = "set `[check] path` to a page that everybody may see"


@dataclass(frozen=True)
class Visitor:
    """Asks for pages of `host` by `scheme`; `headers` go with each request, over all others.

    `proxied`: also by http through a proxy, whose word the server takes for it.
    """

    host: str = "localhost"
    scheme: str = "http"
    headers: Mapping[str, str] = field(default_factory=dict)
    proxied: bool = False

    @property
    def sent(self) -> dict[str, str]:
        """The headers of a request: with https those that the proxy in front adds, which has ended TLS."""
        added = {"X-Forwarded-Proto": self.scheme, "X-Forwarded-For": ADDRESS, "X-Forwarded-Host": self.host}
        usual = {"Host": self.host} | (added if self.proxied or self.scheme == "https" else {})
        own = {name.lower() for name in self.headers}
        return {name: value for name, value in usual.items() if name.lower() not in own} | dict(self.headers)

    def get(self, socket_path: str, target: str, timeout: float) -> tuple[int, dict[str, str], bytes]:
        """GET `target` over a private socket: status, headers, body. Raises OSError, as `unix_http.get` does."""
        return get(socket_path, target, self.host, timeout, self.sent)

    def get_over(self, end: socket.socket, target: str, timeout: float) -> tuple[int, dict[str, str], bytes]:
        """GET `target` over a connection, which is closed then; otherwise as `get`."""
        return get_over(end, target, self.host, timeout, self.sent)

    def advice(self, status: int, location: str = "", release: str = "") -> str:
        """What to try where `release` ("" is none) answers a page with `status`; `location` is where it leads to."""
        if status in PASSING:
            return LATER
        if 300 <= status < 400:
            return self._of_redirect(location)
        host = f"if the app checks the host name, set `[check] host` to the one that it expects (sent: {self.host})"
        match status:
            case 400 | 421:
                return host
            case 401 | 407:
                return f"the page needs a login: {ELSEWHERE}"
            case 403:
                return f"if the page needs a login, {ELSEWHERE}; {host}"
            case 404 | 410:
                return "there is no such page: set `[check] path` to one that there is"
            case 405 | 406 | 415 | 422:
                return NO_GET
            case 426:
                return 'the app insists on https: set `[check] scheme = "https"`'
        if status < 500:
            return ELSEWHERE
        return f"the app itself failed: its log says more{WRITES if release else ''}"

    def _of_redirect(self, location: str) -> str:
        try:
            parts = urlsplit(location)
            host = parts.netloc
        except ValueError:
            parts, host = urlsplit(""), ""
        if parts.scheme == "https" and self.scheme != "https":
            return 'the app insists on https: set `[check] scheme = "https"`'
        if host and host.lower() != self.host.lower():
            return f'the app expects another host name: set `[check] host = "{host}"` (sent: {self.host})'
        if LOGIN.search(parts.path):
            return f"the page needs a login: {ELSEWHERE}"
        return "set `[check] path` to the page that answers itself" + (f", {parts.path} perhaps" if parts.path else "")
