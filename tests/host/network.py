"""The network of another process, for sockets of this one."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

CLONE_NEWNET = 0x40000000

T = TypeVar("T")


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
