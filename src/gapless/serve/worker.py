"""A worker process as its parent sees it."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from dataclasses import dataclass, field
from typing import Any

from gapless.serve.stage import ON_DUTY, Stage


@dataclass
class Worker:
    """`status` is the last document it sent; of the orders that were `sent` to it, it has obeyed `told`."""

    number: int
    pid: int
    channel: socket.socket
    started: float = field(default_factory=time.monotonic)
    heard: float = field(default_factory=time.monotonic)
    status: dict[str, Any] = field(default_factory=dict)
    sent: int = 0
    told: int = 0

    @property
    def proven(self) -> bool:
        return self.status.get("state") in (Stage.PROVEN, *ON_DUTY)

    def hear(self, said: bytes) -> None:
        """Take in a document that the worker sent."""
        self.heard = time.monotonic()
        self.status = json.loads(said)
        self.told = self.status.pop("told")

    def tell(self, wanted: Stage) -> None:
        """Order the worker to accept connections or to stand by; a dead worker is replaced at its SIGCHLD."""
        self.sent += 1
        with contextlib.suppress(ConnectionError):
            self.channel.send(wanted.encode())
