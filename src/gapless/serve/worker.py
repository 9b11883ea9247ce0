"""A worker process as its parent sees it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import time
from dataclasses import dataclass, field
from typing import Any

from gapless.errors import GaplessError
from gapless.linux import signals
from gapless.serve.stage import ON_DUTY, Stage

log = logging.getLogger("gapless.serve")

LONGEST = 1 << 16  # bytes of a document
SEE = "what it wrote before says why"
FAILURE = "failure"  # the one key of the last document of a worker that cannot start
LONGEST_PART = 4000  # characters of each part of that


def say_why(channel: socket.socket, error: GaplessError) -> None:
    """In the worker: tell its parent, who speaks for all workers, why it cannot start."""
    parts = [part[:LONGEST_PART] for part in (error.operation, error.object, error.cause, error.hint)]
    with contextlib.suppress(OSError):  # the parent is gone or does not listen; the log has it
        channel.send(json.dumps({FAILURE: parts}, ensure_ascii=False).encode("utf-8", "replace"))


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
    why: GaplessError | None = None

    @property
    def proven(self) -> bool:
        return self.status.get("state") in (Stage.PROVEN, *ON_DUTY)

    @property
    def beats(self) -> bool:
        """Whether its silence means that its loop hangs; a start that hangs has a time-out of its own."""
        return self.proven or self.status.get("state") in (Stage.DRAINING, Stage.STOPPED)

    def hear(self, said: bytes) -> None:
        """Take in a document that the worker sent."""
        self.heard = time.monotonic()
        document = json.loads(said)
        if FAILURE in document:
            self.why = GaplessError(*document[FAILURE])
            return
        self.status = document
        self.told = self.status.pop("told")

    def failure(self, status: int) -> GaplessError:
        """The error of a worker that ended with `status` before it was proven: what it said itself, where it could."""
        with contextlib.suppress(OSError):  # nothing more is there
            while said := self.channel.recv(LONGEST, socket.MSG_DONTWAIT):
                self.hear(said)
        ended = f"exited with status {status}" if status >= 0 else f"was killed by {signals.name(-status)}"
        return self.why or GaplessError("start", f"worker {self.number}", f"it {ended} before it was proven", SEE)

    def tell(self, wanted: Stage) -> None:
        """Order the worker to accept connections or to stand by; a dead worker is replaced at its SIGCHLD.

        A worker that has left untaken the hundreds of orders that its channel holds is killed, and replaced so, too: a
        parent that waited for it would hang with it.
        """
        self.sent += 1
        try:
            self.channel.send(wanted.encode(), socket.MSG_DONTWAIT)
        except BlockingIOError:
            log.error("worker %d takes no orders: its loop hangs; killing it", self.number)
            os.kill(self.pid, signal.SIGKILL)
        except ConnectionError:
            pass
