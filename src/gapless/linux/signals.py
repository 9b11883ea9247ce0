"""Signals: by their names, held for a moment, and as a descriptor that is readable while one waits."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import threading
from collections.abc import Collection, Iterator

from gapless.linux.libc import checked, libc

SFD_CLOEXEC = os.O_CLOEXEC


def name(number: int) -> str:
    """Name the signal `number`: "SIGKILL", or "signal 40" for one that has no name of its own (signal(7))."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Deliver the signals that this process handles afterwards: Ctrl-C between a start and its return loses the child.

    Handlers instead of a mask: the child would inherit a mask.
    """
    caught: list[int] = []
    handlers = {}
    if threading.current_thread() is threading.main_thread():
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        handlers = {number: was for number in numbers if callable(was := signal.getsignal(number))}
    for number in handlers:
        signal.signal(number, lambda number, _frame: caught.append(number))
    try:
        yield
    finally:
        for number, was in handlers.items():
            signal.signal(number, was)
    for late in caught:
        signal.raise_signal(late)


def waiting(numbers: Collection[int], descriptor: int = -1) -> int:
    """A descriptor that is readable while one of the signals waits (signalfd(2)); an old one for other signals."""
    mask = (ctypes.c_ulong * 16)(sum(1 << number - 1 for number in numbers))  # a sigset_t
    return checked(libc.signalfd(descriptor, mask, SFD_CLOEXEC))
