"""One instance of an app, from its start-up to the end of its drain."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import gc
import logging
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Sequence

from gapless import notify, timeouts
from gapless.errors import GaplessError
from gapless.linux import priority
from gapless.serve import check, instance_socket
from gapless.serve.accept import Acceptor, descriptors
from gapless.serve.app import ASGIApp
from gapless.serve.busy import is_websocket
from gapless.serve.connections import Http
from gapless.serve.door import Door
from gapless.serve.drain import Drain
from gapless.serve.lifespan import Lifespan
from gapless.serve.settings import Settings
from gapless.serve.sockets import only_address
from gapless.serve.stage import ON_DUTY, Stage, move, must_turn

log = logging.getLogger("gapless.serve")


class Server:
    """Serves `app` on `sockets` until SIGTERM or SIGINT, then drains; a second signal hurries it.

    In between it may be told to stand by, or to pause: it drains its connections, but stays and can serve at once.

    `proven` is awaited between the check and the first public accept: workers wait there for one another.
    """

    def __init__(self, settings: Settings, app: ASGIApp, sockets: Sequence[socket.socket]) -> None:
        self.settings = settings
        self.app = app
        self.state = Stage.LOADING
        self.proven: Callable[[], Awaitable[None]] | None = None
        self._since = time.time()
        self._sockets = sockets
        self._address = only_address(sockets)
        self._lifespan = Lifespan(app)
        self._stop = asyncio.Event()
        self._drains: dict[Drain, asyncio.Task[None]] = {}  # one for each time that it stood by, while it lasts
        self._door = Door(settings)
        self._http = self._new_http()
        self._acceptor = Acceptor(sockets, self._http.protocol, make_room=self._make_room)
        self._inside: Http
        self._private: Acceptor | None = None

    def status(self) -> dict[str, object]:
        """The status document: connections and requests count the public sockets only, `since` is Unix seconds.

        `held` are the connections on which a visitor waits for the end of a pause, or may. `descriptors` are those that
        this process has open, of `descriptors_allowed`. `turned_away` are counts since its start, by the limit.
        """
        groups = self._groups()
        websockets = sum(is_websocket(protocol) for http in groups for protocol in http.connections)
        return {
            "release": self.settings.release,
            "state": self.state,
            "pid": os.getpid(),
            "connections": sum(len(http.connections) for http in groups),
            "requests": sum(len(http.tasks) for http in groups) - websockets,
            "websockets": websockets,
            "held": sum(len(drain.held) for drain in self._drains),
            "since": self._since,
            **descriptors(),
            "turned_away": dict(self._door.counts),
        }

    async def run(self) -> None:
        """Serve until told to stop; raises GaplessError if the app cannot start or does not pass its check."""
        loop = asyncio.get_running_loop()
        for one in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(one, self._on_signal)
        heartbeat = loop.create_task(self._heartbeat())
        starting = loop.create_task(self._start())
        stop = loop.create_task(self._stop.wait())
        try:
            await asyncio.wait({starting, stop}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                await stop
            await _cancel(starting)
        finally:
            stop.cancel()
            await self._finish()
            heartbeat.cancel()

    def turn(self, wanted: Stage) -> None:
        """Stand by, pause or serve, as `wanted`, from now on; raises GaplessError if it is doing none of these."""
        if not must_turn(self.state, wanted):
            return
        if wanted is Stage.SERVING:
            self._acceptor.start()
        elif self.state is Stage.SERVING:
            self._acceptor.pause()
            self._retire_connections()
        self._hold(wanted is Stage.PAUSED)
        self._enter(wanted)
        notify.status(f"{wanted} {self.settings.release}".rstrip())

    def _new_http(self) -> Http:
        settings = self.settings
        return Http(self.app, self._lifespan.state, settings.release, settings.linger, self._door, self._address)

    def _make_room(self) -> bool:
        return self._door.make_room([protocol for http in self._groups() for protocol in http.connections])

    def _groups(self) -> list[Http]:
        """Connections that were told to go come first, those of the present last."""
        return [*(drain.http for drain in self._drains), self._http]

    def _retire_connections(self) -> None:
        """Drain what was accepted; whoever comes later belongs to another group, which is not told to close."""
        drain = Drain(self._http, self.settings)
        task = asyncio.get_running_loop().create_task(self._run(drain))
        self._drains[drain] = task
        task.add_done_callback(lambda _: self._drains.pop(drain))
        self._http = self._new_http()
        self._acceptor.factory = self._http.protocol

    def _hold(self, on: bool) -> None:
        for drain in self._drains:
            drain.hold(on)

    async def _run(self, drain: Drain) -> None:
        await self._acceptor.attached()
        await drain.run()

    async def _start(self) -> None:
        settings = self.settings
        deadline = time.monotonic() + settings.check_timeout
        # If the app blocks the loop, no time-out of the loop can run: this prints where it hangs, and exits.
        faulthandler.dump_traceback_later(settings.check_timeout + timeouts.HANG, exit=True)
        self._enter(Stage.STARTING)
        try:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + settings.check_timeout):
                await self._lifespan.startup()
        except TimeoutError:
            cause = f"its lifespan start-up did not end within {settings.check_timeout:g} s"
            raise GaplessError("start", settings.app, cause, "raise [check] timeout if it needs longer") from None
        self._enter(Stage.CHECKING)
        await self._open_private()
        if settings.check:
            await check.prove(self._reach, settings.check, settings.visitor, settings.release, deadline)
        self._enter(Stage.WARMING)
        await self._warm(deadline)
        faulthandler.cancel_dump_traceback_later()
        gc.collect()
        gc.freeze()  # what the app loaded stays: no collection needs to look at it while visitors wait
        self._enter(Stage.PROVEN)
        if self.proven is not None:
            await self.proven()
        if self.settings.release:
            priority.autogroup(os.getpid(), 0)  # the supervisor let us boot behind the others: no more
        self._acceptor.start()
        self._enter(Stage.SERVING)
        notify.ready(f"serving {settings.release}".rstrip())

    async def _open_private(self) -> None:
        # A worker takes orders from its parent alone, who speaks for all of them.
        visited = instance_socket.visited_app(self.app, self._sockets, self.settings.check_scheme)
        app = instance_socket.private_app(visited, self.status, self.turn if self.proven is None else None)
        self._inside = Http(app, self._lifespan.state, self.settings.release, self.settings.linger)
        if not self.settings.private:
            return
        sock = instance_socket.open_private(self.settings.private)
        self._private = Acceptor([sock], self._inside.protocol, reserve=0)
        self._private.start()

    async def _reach(self) -> socket.socket:
        """Make a connection to the app in which no other process can take part; the end of who asks."""
        end, other = socket.socketpair()
        await asyncio.get_running_loop().connect_accepted_socket(self._inside.protocol, other)
        return end

    async def _warm(self, deadline: float) -> None:
        settings = self.settings
        for target in settings.warm:
            left = max(deadline - time.monotonic(), 1)
            try:
                end = await self._reach()
                status, _, _ = await asyncio.to_thread(settings.visitor.get_over, end, target, left)
            except (OSError, ValueError) as error:
                log.warning("warm-up GET %s failed: %s", target, error)
            else:
                log.info("warm-up GET %s answered %d", target, status)

    async def _finish(self) -> None:
        if self.state in ON_DUTY:
            self._enter(Stage.DRAINING)
            notify.stopping("draining")
            self._hold(False)
            self._retire_connections()
            await self._acceptor.stop()
            await asyncio.gather(*self._drains.values())
        await self._lifespan.shutdown(max(self.settings.requests, 1))
        if self._private is not None:
            instance_socket.close_private(self.settings.private)
            await self._private.stop()
        self._enter(Stage.STOPPED)

    def _enter(self, state: Stage) -> None:
        self.state = move(self.state, state)
        log.info("%s", state)

    def _on_signal(self) -> None:
        if not self._stop.is_set():
            self._stop.set()
        elif self._drains:
            log.info("asked again to stop: hurrying")
            for drain in self._drains:
                drain.hurry()

    async def _heartbeat(self) -> None:
        """Ping the watchdog from the loop (so that a hung loop is noticed), renew the Date header, look at the door."""
        watched = notify.watchdog_interval()
        while True:
            if watched:
                notify.watchdog()
            for http in self._groups():
                http.refresh_headers()
            self._look_at_the_door()
            await asyncio.sleep(min(watched or 1.0, 1.0))

    def _look_at_the_door(self) -> None:
        held = {protocol for drain in self._drains for protocol in drain.held}
        for http in self._groups():
            self._door.look(http.connections, held, http.state.default_headers)
        self._door.say()


async def _cancel(task: asyncio.Task[None]) -> None:
    if task.done():
        return
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
