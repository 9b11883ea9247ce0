"""A worker's line to its parent: status documents go up, leave to accept comes down."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
from collections.abc import Callable

from gapless.serve.private import Status

log = logging.getLogger("gapless.serve")

GO = b"go"
BEAT = 1.0  # seconds between status documents; a parent that gets none knows that the loop hangs


class Channel:
    """The worker's end of a SOCK_SEQPACKET pair."""

    def __init__(self, sock: socket.socket, status: Callable[[], Status]) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._status = status
        self._go = asyncio.Event()
        asyncio.get_running_loop().add_reader(sock, self._read)

    async def proven(self) -> None:
        """Return when every sibling is proven, too."""
        self._say()
        await self._go.wait()

    async def beat(self) -> None:
        """Tell the status once a second, until cancelled."""
        while True:
            self._say()
            await asyncio.sleep(BEAT)

    def _say(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):  # late or gone: `_read` hears of the latter
            self._sock.send(json.dumps(self._status()).encode())

    def _read(self) -> None:
        try:
            said = self._sock.recv(64)
        except BlockingIOError:
            return
        except ConnectionError:
            said = b""
        if said:
            self._go.set()
            return
        asyncio.get_running_loop().remove_reader(self._sock)
        log.error("the parent of the workers is gone: draining")
        os.kill(os.getpid(), signal.SIGTERM)
