"""What visitors owe: a request's head in time and of a bounded size, a body that goes on coming. Who fails is counted.

Nothing is timed for each request: one look a second at all connections, at what their protocols (guarded.py) noted.
"""

from __future__ import annotations

import enum
import heapq
import logging
import time
from collections.abc import Callable, Collection
from typing import Any

from gapless.serve.busy import unheard, whatever_it_is
from gapless.serve.refusal import REQUEST_TIMEOUT, TOO_LARGE, refuse
from gapless.serve.settings import Settings

log = logging.getLogger("gapless.serve")

GRACE = 2.0  # seconds that somebody who was turned away has to read why, before the connection is reset
SAY_EVERY = 60.0  # seconds between lines of the log: who is attacked has enough to do
PACKED = 256 << 20  # bytes that packed messages, not whole yet, may take together beyond what came of them
CROWD = 8  # of the connections without a byte, one in so many goes when descriptors run out


class Turned(enum.StrEnum):
    """Why a connection was turned away; the names are those of the counts in the status document."""

    SLOW_HEAD = "slow_heads"
    LARGE_HEAD = "large_heads"
    STALLED_BODY = "stalled_bodies"
    PACKED_MESSAGE = "packed_messages"  # of a WebSocket, not whole yet, when all such took too much memory
    UNREAD = "unread"  # not a byte came on it, and descriptors had run out


ANSWERS = {Turned.SLOW_HEAD: REQUEST_TIMEOUT, Turned.LARGE_HEAD: TOO_LARGE, Turned.STALLED_BODY: REQUEST_TIMEOUT}


class Door:
    """Turns away whoever is slower, or sends more, than `settings` allow; also while an instance drains.

    An idle connection owes nothing, and neither does one on which nothing came yet: a proxy may keep it for later.
    """

    def __init__(self, settings: Settings, now: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self.now = now
        self.counts = dict.fromkeys(Turned, 0)
        self._packed: dict[Any, int] = {}  # of each connection with such a message
        self._all_packed = 0
        self._said = dict(self.counts)
        self._said_at = -SAY_EVERY

    def look(self, connections: Collection[Any], held: Collection[Any], headers: list[tuple[bytes, bytes]]) -> None:
        """Turn away those whose time is over; it stands still for the `held`, from which nothing is read."""
        now = self.now()
        for protocol in list(connections):
            with whatever_it_is(protocol):
                if protocol.turned_away:
                    if now - protocol.since > GRACE:
                        protocol.transport.abort()
                elif protocol in held:
                    protocol.since, protocol.stalls_since = now, 0.0
                elif why := self._late(protocol, now):
                    self.turn_away(protocol, why, headers)

    def _late(self, protocol: Any, now: float) -> Turned | None:
        if protocol.transport.is_closing() or protocol.transport.get_protocol() is not protocol:
            return None  # it was refused already
        if protocol.in_body:
            if protocol.waits_for_us or not protocol.stalls_since or protocol.stalls is not protocol.cycle:
                protocol.stalls_since, protocol.stalls = now, protocol.cycle
            elif now - protocol.stalls_since >= self.settings.body_timeout:
                return Turned.STALLED_BODY
        elif protocol.unfinished:
            if protocol.responds:  # a pipelined head: its time begins when it is its turn
                protocol.since = now
            elif now - protocol.since >= self.settings.head_timeout:
                return Turned.SLOW_HEAD
        return None

    def turn_away(self, protocol: Any, why: Turned, headers: list[tuple[bytes, bytes]]) -> None:
        """Answer with `headers` where an answer is possible, and close."""
        self.counts[why] += 1
        protocol.turned_away = True
        protocol.since = self.now()
        began = protocol.cycle.response_started if protocol.in_body else protocol.responds
        if why is Turned.UNREAD or began or protocol.pipeline:
            protocol.transport.close()
        else:
            refuse(protocol, headers, ANSWERS[why], may_send=why is not Turned.SLOW_HEAD)

    def weigh(self, protocol: Any, packed: int) -> None:
        """Note what a packed message of `protocol` takes by now, 0 for none; where all are too much, the largest go."""
        self._all_packed += packed - self._packed.pop(protocol, 0)
        if packed:
            self._packed[protocol] = packed
        while self._all_packed > PACKED:
            largest = max(self._packed, key=self._packed.__getitem__)
            self._all_packed -= self._packed.pop(largest)
            self.counts[Turned.PACKED_MESSAGE] += 1
            largest.turned_away, largest.since = True, self.now()
            largest.refuse_message()

    def make_room(self, connections: Collection[Any]) -> bool:
        """Close the oldest connections without a byte, and tell whether there were any."""
        left = (one for one in connections if not (one.turned_away or one.transport.is_closing()))
        unread = {one for one in left if one.is_unread}
        silent = unread - unheard(unread)
        for protocol in heapq.nsmallest(-(-len(silent) // CROWD), silent, key=lambda one: one.number):
            self.turn_away(protocol, Turned.UNREAD, [])
        return bool(silent)

    def say(self) -> None:
        """Log, once a minute at most, how many were turned away since the last time."""
        now = self.now()
        if self.counts == self._said or now - self._said_at < SAY_EVERY:
            return
        more = (f"{count - self._said[why]} {why}" for why, count in self.counts.items() if count > self._said[why])
        log.warning("turned away: %s", ", ".join(more).replace("_", " "))
        self._said, self._said_at = dict(self.counts), now
