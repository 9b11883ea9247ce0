"""What a probe sends: where to, how often, in which proportions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from gapless.errors import GaplessError
from gapless.prove.kinds import Kind
from gapless.visitor import TARGET

_PORTS = {"http": 80, "https": 443}


def _reads_only() -> dict[Kind, float]:
    return {Kind.NEW: 1.0, Kind.GET: 1.0, Kind.PAUSE: 1.0}


@dataclass(frozen=True)
class Workload:
    """An open-loop load; the defaults only read, so they are safe against a site in use.

    - `url`: `http://host:port` or https (ws and wss mean the same). Its path and query, exactly, are what new, get,
      pause and page ask for, and post and slow send to, where nothing else is said; its path is put before what is.
    - `rate`: requests per second, all kinds together. `kinds`: the weight of each kind in it.
    - `duration_seconds`: None goes on until stopped.
    - `path` for new, get, pause and page, `post_path` for post and slow ("" is the URL's own), `long_path`, `ws_path`.
    - `timeout_seconds`: from the moment a request is due to its complete response.
    - `pause_seconds`: how long `pause` waits between connecting and sending.
    - `upload_seconds`: how long the body of `slow` takes; `upload_pieces`: in how many writes (2 or more).
    - `assets_seconds`: how long after its page, at most, a file that a page refers to is fetched.
    - `lanes`: connections that each of get, post and ws keeps open; more are opened while all are busy.
    - `max_under_way`: requests under way at once; one that is due beyond that is lost as `overrun`.
    - `release_header`: the response header that names the release.
    - `headers`: sent with each request (authorization, or another host).

    Raises GaplessError (status 2) for a URL or number it cannot use.
    """

    url: str
    rate: float = 50.0
    duration_seconds: float | None = None
    kinds: Mapping[Kind, float] = field(default_factory=_reads_only)
    path: str = ""
    post_path: str = ""
    long_path: str = "/slow"
    ws_path: str = "/ws"
    timeout_seconds: float = 10.0
    pause_seconds: float = 0.5
    upload_seconds: float = 1.0
    upload_pieces: int = 5
    assets_seconds: float = 60.0
    lanes: int = 4
    max_under_way: int = 900
    release_header: str = "gapless-release"
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _ = self.host, self.port  # unusable ones are refused now, not at the first request
        if wrong := next((one for one in map(self.target, self.kinds) if not TARGET.fullmatch(one)), ""):
            hint = "what is neither ASCII nor visible is written with % (a space is %20)"
            raise GaplessError("probe", self.url, f"{wrong!r} is not a path in a URL", hint, status=2)
        self._check_numbers()

    def _check_numbers(self) -> None:
        for name in ("rate", "timeout_seconds", "upload_seconds", "lanes", "max_under_way"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise _unusable(name, f"{value} is not above 0")
        if self.duration_seconds is not None and not self.duration_seconds > 0:
            raise _unusable("duration_seconds", f"{self.duration_seconds} is not above 0")
        if self.upload_pieces < 2:
            raise _unusable("upload_pieces", "an upload in pieces has 2 or more")
        for name in ("pause_seconds", "assets_seconds"):
            if not getattr(self, name) >= 0:
                raise _unusable(name, f"{getattr(self, name)} is below 0")
        if Kind.ASSET in self.kinds:
            raise _unusable("kinds", "assets come with the pages that refer to them: name `page`")
        if not sum(self.kinds.values()) > 0 or not all(weight >= 0 for weight in self.kinds.values()):
            raise _unusable("kinds", "no kind has a weight above 0, or one is below 0")

    @property
    def tls(self) -> bool:
        return self._parts.scheme == "https"

    @property
    def host(self) -> str:
        return self._parts.hostname or ""

    @property
    def port(self) -> int:
        return self._parts.port or _PORTS[self._parts.scheme]

    @property
    def authority(self) -> str:
        """What the Host header says."""
        return self._parts.netloc.rpartition("@")[2]

    def target(self, kind: Kind) -> str:
        """The request target of a kind: path and query."""
        post = self.post_path
        own = {Kind.POST: post, Kind.SLOW: post, Kind.LONG: self.long_path, Kind.WS: self.ws_path}
        if not (path := own.get(kind, self.path)):
            return (self._parts.path or "/") + (f"?{self._parts.query}" if self._parts.query else "")
        return f"{self._parts.path.rstrip('/')}/{path.lstrip('/')}"

    def asked(self, kind: Kind) -> str:
        """What a request of a kind asks for: method and URL."""
        if kind is Kind.WS:
            return self.link(self.target(kind), "ws")
        return f"{'POST' if kind in (Kind.POST, Kind.SLOW) else 'GET'} {self.link(self.target(kind))}"

    def link(self, target: str, scheme: str = "http") -> str:
        """The whole URL of a request target."""
        return f"{scheme}{'s' if self.tls else ''}://{self.authority}{target}"

    @property
    def names_a_page(self) -> bool:
        """Whether the URL has a path or a query of its own."""
        return bool(self._parts.path or self._parts.query)

    def lead_seconds(self, kind: Kind) -> float:
        """How long a kind is busy with its own waiting before its last byte is due."""
        return {Kind.PAUSE: self.pause_seconds, Kind.SLOW: self.upload_seconds}.get(kind, 0.0)

    @property
    def _parts(self) -> SplitResult:
        hint = "give it as http://host:port"
        try:
            parts = urlsplit(self.url)
            port = parts.port
        except ValueError as error:
            raise GaplessError("probe", self.url, str(error), hint, status=2) from None
        scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
        if scheme not in _PORTS or not parts.hostname or port == 0:
            raise GaplessError("probe", self.url, "it is not an http:// or https:// URL", hint, status=2)
        return parts._replace(scheme=scheme)


def _unusable(name: str, cause: str) -> GaplessError:
    return GaplessError("plan a probe with", name, cause, status=2)
