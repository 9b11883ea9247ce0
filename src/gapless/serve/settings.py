"""What one `gapless serve` was asked to do."""

from __future__ import annotations

from dataclasses import dataclass

from gapless.visitor import Visitor


@dataclass(frozen=True)
class Settings:
    """Frozen settings of an instance; times in seconds. An empty string means: not wanted."""

    app: str
    bind: tuple[str, ...] = ()  # none: the usual address
    workers: int = 1
    check: str = ""
    check_host: str = "localhost"
    check_scheme: str = "http"
    check_headers: tuple[tuple[str, str], ...] = ()
    check_timeout: float = 60.0  # start-up and check together
    warm: tuple[str, ...] = ()
    release: str = ""
    private: str = ""  # path of the private Unix socket
    assets: str = ""  # directory of public files, for what the app does not find
    uploads: tuple[tuple[str, str], ...] = ()  # prefixes in URLs, and directories for the same
    linger: float = 35.0
    requests: float = 30.0
    streams: float = 300.0
    head_timeout: float = 30.0  # for a request's head, from its first byte
    head_size: int = 65536  # bytes of a head
    body_timeout: float = 300.0  # without a byte of a request's body
    app_dir: str = "."
    interface: str = "auto"  # or "asgi", "wsgi"
    factory: bool = False
    threads: int = 10  # of each worker, for WSGI

    @property
    def visitor(self) -> Visitor:
        """Who asks on the private socket."""
        return Visitor(self.check_host, self.check_scheme, dict(self.check_headers))
