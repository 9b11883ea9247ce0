"""Networks beside this machine's own: a new one, and that of another process, for sockets of this one."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

CLONE_NEWNET = 0x40000000

T = TypeVar("T")


class Namespace:
    """A network of its own, with its loopback up and what `script` makes in it, as long as a block runs.

    It ends with our own death, too.
    """

    def __init__(self, script: str = "") -> None:
        hold = f"ip link set lo up\n{script}\necho ready\nexec cat > /dev/null"
        self._holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-e", "-c", hold],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "ready\n"

    @property
    def pid(self) -> int:
        """A process that is in it."""
        return self._holder.pid

    def argv(self, *argv: str) -> list[str]:
        """What runs a program of this machine in it."""
        return within(self.pid, *argv)

    def close(self) -> None:
        """End it."""
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        self._holder.stdin.close()
        self._holder.stdout.close()
        self._holder.wait(60)


def within(pid: int, *argv: str) -> list[str]:
    """What runs a program of this machine in the network of the process `pid`."""
    return ["nsenter", f"--target={pid}", "--net", *argv]


def inside(pid: int, call: Callable[[], T]) -> T:
    """The result of `call`, run in a thread of its own in the network of `pid`: sockets made there stay in it."""
    with ThreadPoolExecutor(max_workers=1) as thread:  # the namespace is the thread's, and ends with it
        thread.submit(_enter, pid).result()
        return thread.submit(call).result()


def _enter(pid: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)  # os.setns is new in Python 3.12
    with Path(f"/proc/{pid}/ns/net").open() as network:
        if libc.setns(network.fileno(), CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
