"""A worker's line to its parent: status documents go up, leave to accept, or to stand by, comes down."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket

from gapless.serve.server import Server
from gapless.serve.stage import ON_DUTY, Stage

log = logging.getLogger("gapless.serve")

BEAT = 1.0  # seconds between status documents; a parent that gets none knows that the loop hangs


class Channel:
    """The worker's end of a SOCK_SEQPACKET pair."""

    def __init__(self, sock: socket.socket, server: Server) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._server = server
        self._told = 0  # orders that came down: the parent compares
        self._go = asyncio.Event()
        asyncio.get_running_loop().add_reader(sock, self._read)

    async def proven(self) -> None:
        """Return when every sibling is proven, too, and they serve."""
        self._say()
        while not self._go.is_set():  # leave may have been withdrawn before we could use it
            await self._go.wait()

    async def beat(self) -> None:
        """Tell the status once a second, until cancelled."""
        while True:
            self._say()
            await asyncio.sleep(BEAT)

    def _say(self) -> None:
        with contextlib.suppress(OSError):  # the parent is late, or gone, which `_read` hears; or there is no memory
            self._sock.send(json.dumps({**self._server.status(), "told": self._told}).encode())

    def _read(self) -> None:
        try:
            said = self._sock.recv(64)
        except BlockingIOError:
            return
        except ConnectionError:
            said = b""
        if said:
            self._obey(Stage(said.decode()))
            return
        asyncio.get_running_loop().remove_reader(self._sock)
        log.error("the parent of the workers is gone: draining")
        os.kill(os.getpid(), signal.SIGTERM)

    def _obey(self, wanted: Stage) -> None:
        self._told += 1
        if wanted is Stage.SERVING:
            self._go.set()
        else:
            self._go.clear()
        if self._server.state in ON_DUTY:
            self._server.turn(wanted)
        asyncio.get_running_loop().call_soon(self._say)  # not now: one that waits in `proven` serves after this turn
