"""Accept connections from sockets that others hold too, and stop without dropping one.

`loop.create_server` is not used: it calls listen(2), which resets the shared backlog, and its close drops
connections whose accept task has not run yet. Here a connection that was accepted is always attached.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import socket
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

log = logging.getLogger("gapless.serve")

OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
MOMENT = 0.01  # seconds: connections are closed by then
PAUSE = 0.5  # seconds without accepting after one of those; the kernel queue waits meanwhile
# Descriptors that visitors leave free: the app opens files to answer them, and a manager asks on the private socket.
RESERVE = 64
SAY_EVERY = 60.0  # seconds between lines of the log that say so


def descriptors() -> dict[str, int]:
    """Count the descriptors that this process has open, and may have."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        # Linux 6.2 says the number at once; before, the size of that directory is 0, and listing it takes a descriptor.
        used = os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd"))  # noqa: PTH116, PTH208 -- once a second
    except OSError:  # no descriptor is left to list the directory with
        used = allowed
    return {"descriptors": used, "descriptors_allowed": allowed}


class _Accepted(socket.socket):
    """A connection, which tells its family and type as numbers: an enum each time that a loop asks is costly.

    It is a socket.socket: of any other object uvloop closes the descriptor once more, which then may be another's.
    """

    __slots__ = ()
    family = socket.SocketType.family  # type: ignore[assignment]  # typeshed has no descriptors
    type = socket.SocketType.type  # type: ignore[assignment]


class Acceptor:
    """Feeds connections of `sockets` to protocols that `factory` makes, from `start` to `pause` or `stop`.

    When only `reserve` descriptors are free, or a quarter of them where few are allowed, it stops for a while, or
    a moment where `make_room` says that some connections are closed now.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        factory: Callable[[], asyncio.Protocol],
        reserve: int = RESERVE,
        make_room: Callable[[], bool] = lambda: False,
    ) -> None:
        self.sockets = sockets
        self._kinds = {sock: (int(sock.family), int(sock.type), sock.proto) for sock in sockets}
        self.factory = factory
        allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._most = allowed - min(reserve, allowed // 4)  # the kernel gives the lowest free number, open(2)
        self._make_room = make_room
        self._full = False
        self._said_at = -SAY_EVERY
        self._loop = asyncio.get_running_loop()
        # Connections without a protocol, and what each of them waits for.
        self._attaching: list[tuple[socket.socket, Coroutine[Any, Any, object], asyncio.Future[None]]] = []
        self._resume: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to accept."""
        self._resume = None
        for sock in self.sockets:
            self._loop.add_reader(sock, self._accept, sock)

    async def stop(self) -> None:
        """Accept no more, close our descriptors, and return when each accepted connection has its protocol.

        What waits in the kernel queue stays there, for whoever else holds the socket.
        """
        self.pause()
        for sock in self.sockets:
            sock.close()
        await self.attached()

    async def attached(self) -> None:
        """Return when each connection that is accepted by now has its protocol."""
        while self._attaching:  # noqa: ASYNC110 -- until a step or two later, and each connection would pay for an event
            await asyncio.sleep(0)

    def pause(self) -> None:
        """Accept no more until `start`; what was accepted is attached all the same, by the factory of that time."""
        if self._resume:
            self._resume.cancel()
        for sock in self.sockets:
            self._loop.remove_reader(sock)

    def _accept(self, listener: socket.socket) -> None:
        listener.setblocking(False)  # shared: any process may have cleared it, and accept would hang the loop
        if self._full and not self._has_room(listener):
            self._wait_for_room()
            return
        # One a wake-up, as libuv does: of connections that are accepted together the answers leave together, and server
        # and clients then wait for each other. accept() calls _accept, and asks what the listener is, each time: that
        # is a tenth of the processor time of a new connection (gevent calls _accept, too).
        try:
            number, _ = listener._accept()  # type: ignore[attr-defined]  # typeshed has public names only
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another release or worker was faster, or the client has gone
        except OSError as error:
            if error.errno not in OUT_OF_DESCRIPTORS:
                raise
            self._be_full(error.errno)
            return
        connection = _Accepted(*self._kinds[listener], number)
        attaching = self._loop.connect_accepted_socket(self.factory, connection)
        self._attach(connection, attaching)
        if number >= self._most:
            self._be_full(errno.EMFILE)

    def _be_full(self, number: int) -> None:
        self._full = True
        if self._loop.time() - self._said_at >= SAY_EVERY:
            self._said_at = self._loop.time()
            hint = "is LimitNOFILE too low, or are there clients that send nothing?"
            log.error("cannot accept: %s; trying again every %g s (%s)", os.strerror(number), PAUSE, hint)
        self._wait_for_room()

    def _has_room(self, listener: socket.socket) -> bool:
        try:
            free = os.dup(listener.fileno())
        except OSError:
            return False
        os.close(free)
        self._full = free >= self._most
        return not self._full

    def _wait_for_room(self) -> None:
        self.pause()
        self._resume = self._loop.call_later(MOMENT if self._make_room() else PAUSE, self.start)

    def _attach(self, connection: socket.socket, attaching: Coroutine[Any, Any, object]) -> None:
        """Run `attaching` to the one thing it waits for, that its protocol has the transport, and end it after that.

        The loop gives it the transport in its next step, before it calls us. A task for each would do the same, and
        take a tenth of the processor time of a new connection and its request.
        """
        if waits_for := self._go_on(connection, attaching):
            if not self._attaching:
                self._loop.call_soon(self._end_attaching)
            self._attaching.append((connection, attaching, waits_for))

    def _end_attaching(self) -> None:
        these, self._attaching = self._attaching, []
        for connection, attaching, waits_for in these:
            if waits_for.done():
                self._go_on(connection, attaching)
            else:
                self._attaching.append((connection, attaching, waits_for))
        if self._attaching:
            self._loop.call_soon(self._end_attaching)

    @staticmethod
    def _go_on(connection: socket.socket, attaching: Coroutine[Any, Any, object]) -> asyncio.Future[None] | None:
        try:
            return attaching.send(None)  # type: ignore[no-any-return]  # what a coroutine waits for is not typed
        except StopIteration:
            return None
        except OSError as error:
            connection.close()
            log.debug("a connection ended before it was attached: %s", error)
            return None
