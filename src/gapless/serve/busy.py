"""What a connection is busy with, read off uvicorn's objects, and until when a drain lets it."""

from __future__ import annotations

import contextlib
import enum
import logging
import select
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from gapless.serve.settings import Settings

log = logging.getLogger("gapless.serve")


class Kind(enum.StrEnum):
    """What a connection is busy with; each kind has a budget."""

    UNREAD = "accepted, nothing read yet"
    IDLE = "idle after a response"
    REQUEST = "request under way"
    STREAM = "response or WebSocket under way"


@contextlib.contextmanager
def whatever_it_is(protocol: Any) -> Iterator[None]:
    """End, of all connections, the one alone that what is done inside is about and fails on."""
    try:
        yield
    except Exception:
        log.exception("a connection is ended: what was to be done with it failed")
        protocol.transport.abort()


def is_websocket(protocol: Any) -> bool:
    """True for a connection that was upgraded (or is being upgraded) to a WebSocket."""
    return hasattr(protocol, "handshake_complete")


def is_blocked(protocol: Any) -> bool:
    """Whether its client has not read yet what was sent: the kernel takes no more, and the app may wait to go on."""
    return bool(protocol.transport.get_write_buffer_size() > 0)


def is_queued(protocol: Any) -> bool:
    """Whether its client pipelines: `cycle` is the last request that came, and an earlier one is being answered."""
    return bool(getattr(protocol, "pipeline", ()))


def _has_part_of_a_head(protocol: Any) -> bool:
    if hasattr(protocol, "conn"):  # h11 keeps it
        return bool(protocol.conn.trailing_data[0])
    return protocol.scope is not (
        protocol.cycle and protocol.cycle.scope
    )  # httptools makes a scope with its first byte


def work_of(protocol: Any) -> tuple[Kind, Any]:
    """Tell what a connection is busy with, and the object that stands for it: another one is other work."""
    if is_websocket(protocol):
        return (Kind.STREAM if protocol.handshake_complete else Kind.REQUEST), protocol
    cycle = protocol.cycle
    if is_queued(protocol) or is_blocked(protocol):
        return Kind.STREAM, cycle
    if cycle is not None and not cycle.response_complete:
        return (Kind.STREAM if cycle.response_started else Kind.REQUEST), cycle
    if _has_part_of_a_head(protocol):
        return Kind.REQUEST, protocol.scope
    return (Kind.UNREAD if cycle is None else Kind.IDLE), cycle


def is_waiting(protocol: Any) -> bool:
    """Whether nothing was asked on it yet, or nothing that is complete enough to be answered."""
    kind, what = work_of(protocol)
    return kind in (Kind.UNREAD, Kind.IDLE) or (what is not None and what is getattr(protocol, "scope", None))


def unheard(protocols: Collection[Any]) -> set[Any]:
    """Those of `protocols` whose clients have sent something that we have not read yet: the kernel has it."""
    here = (protocol for protocol in protocols if not protocol.transport.is_closing())  # else its number is another's
    by_number = {protocol.transport.get_extra_info("socket").fileno(): protocol for protocol in here}
    poll = select.poll()
    for number in by_number:
        poll.register(number, select.POLLIN)
    return {by_number[number] for number, _ in poll.poll(0)}


@dataclass
class Work:
    """One thing that a connection is busy with. Times are seconds of the drain, in which all work has begun by then."""

    kind: Kind
    what: Any
    since: float
    moved: float  # when a part of the request's body came last
    body: object = None  # what was there of it then
    length: int = -1

    @classmethod
    def seen(cls, protocol: Any, before: Work | None, now: float) -> Work:
        """What a connection is busy with now; goes on from what it was busy with before."""
        kind, what = work_of(protocol)
        work = before if before and (kind, id(what)) == (before.kind, id(before.what)) else cls(kind, what, now, now)
        if kind is Kind.REQUEST and hasattr(what, "more_body"):
            # The app takes the bytes away and leaves another, empty object: a longer one or another one is progress.
            length = len(what.body) + what.more_body
            if what.body is not work.body or length != work.length:
                work.body, work.length, work.moved = what.body, length, now
        return work

    def is_over(self, protocol: Any, settings: Settings, now: float) -> bool:
        """Whether its budget has ended, and no word of its client waits to be read that came within the budget.

        The app may have held up the loop for longer than a budget: whoever sent something meanwhile did so in time.
        """
        if now < self.end(settings):
            return False
        if self.kind is Kind.STREAM or (self.kind is Kind.REQUEST and now >= self._last(settings)):
            return True
        return not unheard([protocol])

    def _last(self, settings: Settings) -> float:
        """When the budget of a request ends at the latest, whatever still comes."""
        return self.since + max(settings.streams, settings.requests)

    def end(self, settings: Settings) -> float:
        """When its budget ends."""
        match self.kind:
            case Kind.IDLE:
                return self.since + settings.linger
            case Kind.UNREAD:  # its client may be a slow sender, or a proxy's spare connection
                return self.since + max(settings.linger, settings.requests)
            case Kind.REQUEST if getattr(self.what, "more_body", False):  # an upload, as long as it makes progress
                return min(self.moved + settings.requests, self._last(settings))
            case Kind.REQUEST:
                return self.moved + settings.requests
            case Kind.STREAM:
                return max(settings.streams, self.since + settings.requests)
