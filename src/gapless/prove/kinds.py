"""The kinds of request, the ways to lose one, and the record that is kept of each."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from gapless.errors import GaplessError

# Of what a server says of itself: it may say what it likes, and each answer is kept until the end.
LONGEST_RELEASE = 100  # characters
LONGEST_LOCATION = 300  # characters
MOST_RELEASES = 50


class Kind(StrEnum):
    """What a request looks like on the wire; each kind has caught a server that loses it and not the others."""

    meaning: str

    NEW = "new", "a new connection for each GET"
    GET = "get", "GETs on connections that stay open"
    POST = "post", "POSTs on connections that stay open, each with its own id"
    PAUSE = "pause", "connects, waits, and only then sends its GET: accepted but unread"
    SLOW = "slow", "a POST with its own id whose body arrives in pieces"
    LONG = "long", "GETs on connections that stay open, of a page that takes the app a while"
    PAGE = "page", "a new connection for each GET of a page, whose files are then fetched"
    ASSET = "asset", "a file that a page refers to, at once or a while later"  # it comes with `page`
    WS = "ws", "a WebSocket message that waits for its echo"

    def __new__(cls, name: str, meaning: str = "") -> Self:
        """Make the member that is called `name`, and equals that."""
        kind = str.__new__(cls, name)
        kind._value_ = name
        kind.meaning = meaning
        return kind


class Failure(StrEnum):
    """How a request was lost, as its client saw it."""

    REFUSED = "refused"  # nobody listened
    UNREACHABLE = "unreachable"  # any other error while connecting: no route, TLS
    RESET = "reset"  # the connection was reset before the response began
    CLOSED = "closed"  # the connection was closed before the response began
    TRUNCATED = "truncated"  # the connection ended in the middle of the response
    MALFORMED = "malformed"  # the response was not HTTP (or not WebSocket)
    STATUS = "status"  # a complete response, not 2xx
    TIMEOUT = "timeout"  # no complete response in time
    OVERRUN = "overrun"  # never sent: the probe was at its own limit (requests under way, descriptors, ports)


class RequestLost(Exception):  # noqa: N818  (it is an outcome, not an error of the probe)
    """A request under way was lost; carries what its Sample will say."""

    def __init__(
        self, failure: Failure, detail: str = "", status: int = 0, release: str = "", location: str = ""
    ) -> None:
        super().__init__(f"{failure}: {detail}")
        self.failure = failure
        self.detail = detail
        self.status = status
        self.release = release
        self.location = location


# The probe's own limits: blaming the server for these would be a false alarm, ignoring them a false proof.
_OWN_LIMITS = frozenset({errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM})


def lost_to(error: OSError) -> RequestLost:
    """The RequestLost that an error of a socket means."""
    if isinstance(error, ConnectionRefusedError):
        failure = Failure.REFUSED
    elif isinstance(error, TimeoutError):
        failure = Failure.TIMEOUT
    elif isinstance(error, (ConnectionResetError, BrokenPipeError, ConnectionAbortedError)):
        failure = Failure.RESET
    else:
        failure = Failure.OVERRUN if error.errno in _OWN_LIMITS else Failure.UNREACHABLE
    return RequestLost(failure, str(error) or type(error).__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete, good response: its status, the release that gave it, and for ws how often it was sent again."""

    status: int
    release: str
    resent: int = 0
    body: bytes = b""  # of a page


@dataclass(frozen=True, slots=True)
class Sample:
    """One request that was due, and what became of it.

    `scheduled_at` (unix seconds) is the moment its last byte was due to leave, whatever the server did
    meanwhile; for `pause` and `slow` that is after their own waiting. `latency_seconds` counts from there
    to the complete response (or to the loss). `late_seconds` is how late the probe itself was to start
    it, and is part of the latency. `status` is 0 when no response came. `id` is the unique id in the body
    of a post or slow. `resent` counts how often a ws message was sent again after close code 1012.
    `waited_seconds` is how long after its page an asset was due. `asked` is its method and URL, `location` where a
    redirect leads to.
    """

    kind: Kind
    scheduled_at: float
    latency_seconds: float
    status: int = 0
    failure: Failure | None = None
    release: str = ""
    id: str = ""
    detail: str = ""
    late_seconds: float = 0.0
    resent: int = 0
    waited_seconds: float = 0.0
    asked: str = ""
    location: str = ""

    @property
    def ended_at(self) -> float:
        """When the response was complete, or the loss was seen (unix seconds)."""
        return self.scheduled_at + self.latency_seconds


@dataclass(frozen=True)
class Result:
    """All that a probe saw: the samples in the order they ended, and its start and end (unix seconds).

    `closes` counts the WebSocket connections that the server closed, by close code (1006: it just broke).
    """

    samples: list[Sample]
    started_at: float
    ended_at: float
    closes: Mapping[int, int] = field(default_factory=dict)

    @property
    def acknowledged(self) -> list[str]:
        """The ids the server acknowledged: each must be in the app's ledger, exactly once."""
        return [sample.id for sample in self.samples if sample.id and sample.failure is None]


def parse_kinds(text: str) -> dict[Kind, float]:
    """Read `new,get=2,post=0.5` as weights (1 where none is given); GaplessError names what it cannot read."""
    weights: dict[Kind, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, weight = part.partition("=")
        try:
            kind = Kind(name.strip())
        except ValueError:
            known = ", ".join(Kind)
            raise _unreadable(part, "no such kind of request", f"the kinds are {known}") from None
        try:
            weights[kind] = float(weight) if weight else 1.0
        except ValueError:
            raise _unreadable(part, f"{weight!r} is not a number", "write a weight as get=2") from None
    return weights


def _unreadable(part: str, cause: str, hint: str) -> GaplessError:
    return GaplessError("read the request kind", part, cause, hint, status=2)
