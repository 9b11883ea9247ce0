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

from gapless import notify, priority, unix_http
from gapless.errors import GaplessError
from gapless.serve import check, private
from gapless.serve.accept import Acceptor
from gapless.serve.drain import Drain, is_websocket
from gapless.serve.http import Http
from gapless.serve.lifespan import Lifespan
from gapless.serve.load import ASGIApp
from gapless.serve.settings import Settings
from gapless.serve.state import State, move

log = logging.getLogger("gapless.serve")


class Server:
    """Serves `app` on `sockets` until SIGTERM or SIGINT, then drains; a second signal hurries it.

    `proven` is awaited between the check and the first public accept: workers wait there for one another.
    """

    def __init__(self, settings: Settings, app: ASGIApp, sockets: Sequence[socket.socket]) -> None:
        self.settings = settings
        self.app = app
        self.state = State.LOADING
        self.proven: Callable[[], Awaitable[None]] | None = None
        self._since = time.time()
        self._lifespan = Lifespan(app)
        self._stop = asyncio.Event()
        self._drain: Drain | None = None
        self._http = Http(app, self._lifespan.state, settings.release, settings.linger)
        self._acceptor = Acceptor(sockets, self._http.protocol)
        self._private: Acceptor | None = None

    def status(self) -> dict[str, object]:
        """The status document: connections and requests count the public sockets only, `since` is Unix seconds."""
        websockets = sum(map(is_websocket, self._http.connections))
        return {
            "release": self.settings.release,
            "state": self.state,
            "pid": os.getpid(),
            "connections": len(self._http.connections),
            "requests": len(self._http.tasks) - websockets,
            "websockets": websockets,
            "since": self._since,
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

    async def _start(self) -> None:
        settings = self.settings
        deadline = time.monotonic() + settings.check_timeout
        # If the app blocks the loop, no time-out of the loop can run: this prints where it hangs, and exits.
        faulthandler.dump_traceback_later(settings.check_timeout + 2, exit=True)
        self._enter(State.STARTING)
        try:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + settings.check_timeout):
                await self._lifespan.startup()
        except TimeoutError:
            cause = f"its lifespan start-up did not end within {settings.check_timeout:g} s"
            raise GaplessError("start", settings.app, cause, "raise [check] timeout if it needs longer") from None
        self._enter(State.CHECKING)
        await self._open_private()
        if settings.check:
            await check.prove(settings.private, settings.check, settings.check_host, settings.release, deadline)
        self._enter(State.WARMING)
        await self._warm(deadline)
        faulthandler.cancel_dump_traceback_later()
        gc.collect()
        gc.freeze()  # what the app loaded stays: no collection needs to look at it while visitors wait
        self._enter(State.PROVEN)
        if self.proven is not None:
            await self.proven()
        if self.settings.release:
            priority.autogroup(os.getpid(), 0)  # the supervisor let us boot behind the others: no more
        self._acceptor.start()
        self._enter(State.SERVING)
        notify.ready(f"serving {settings.release}".rstrip())

    async def _open_private(self) -> None:
        if not self.settings.private:
            return
        sock = private.open_private(self.settings.private)
        app = private.with_status(self.app, self.status)
        http = Http(app, self._lifespan.state, self.settings.release, self.settings.linger)
        self._private = Acceptor([sock], http.protocol)
        self._private.start()

    async def _warm(self, deadline: float) -> None:
        for target in self.settings.warm:
            left = max(deadline - time.monotonic(), 1)
            try:
                host = self.settings.check_host
                status, _, _ = await asyncio.to_thread(unix_http.get, self.settings.private, target, host, left)
            except (OSError, ValueError) as error:
                log.warning("warm-up GET %s failed: %s", target, error)
            else:
                log.info("warm-up GET %s answered %d", target, status)

    async def _finish(self) -> None:
        if self.state is State.SERVING:
            self._enter(State.DRAINING)
            notify.stopping("draining")
            self._drain = Drain(self._http, self.settings)
            await self._acceptor.stop()
            await self._drain.run()
        await self._lifespan.shutdown(max(self.settings.requests, 1))
        if self._private is not None:
            private.close_private(self.settings.private)
            await self._private.stop()
        self._enter(State.STOPPED)

    def _enter(self, state: State) -> None:
        self.state = move(self.state, state)
        log.info("%s", state)

    def _on_signal(self) -> None:
        if not self._stop.is_set():
            self._stop.set()
        elif self._drain is not None:
            log.info("asked again to stop: hurrying")
            self._drain.hurry()

    async def _heartbeat(self) -> None:
        """Ping the watchdog from the loop (so that a hung loop is noticed), and renew the Date header."""
        watched = notify.watchdog_interval()
        while True:
            if watched:
                notify.watchdog()
            self._http.refresh_headers()
            await asyncio.sleep(min(watched or 1.0, 1.0))


async def _cancel(task: asyncio.Task[None]) -> None:
    if task.done():
        return
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
