"""Tell the service manager how this process is doing: sd_notify(3) in the standard library.

Without NOTIFY_SOCKET every call does nothing and returns False, so the same program runs anywhere. The first call
opens a socket that is kept; no call raises.
"""

from __future__ import annotations

import atexit
import os
import socket
import struct
import time

PATIENCE = 2  # seconds that a message may wait for a manager that is busy

_kept: socket.socket | None = None


def ready(status: str = "") -> bool:
    """Say that start-up is complete (READY=1), with an optional one-line status."""
    return _send("READY=1", *_status(status))


def status(text: str) -> bool:
    """Set the one-line status that `systemctl status` and `gapless status` show."""
    return _send(*_status(text))


def stopping(status: str = "") -> bool:
    """Say that this process is shutting down (STOPPING=1)."""
    return _send("STOPPING=1", *_status(status))


def reloading() -> bool:
    """Say that this process reloads its configuration; call `ready()` when it is done (Type=notify-reload)."""
    return _send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def watchdog() -> bool:
    """Say that this process is alive (WATCHDOG=1); due every `watchdog_interval()` seconds. Never waits."""
    return _send("WATCHDOG=1", wait=False)


def extend_timeout(seconds: float) -> bool:
    """Ask for `seconds` more from now in the current start-up or shut-down (EXTEND_TIMEOUT_USEC)."""
    return _send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")


def watchdog_interval() -> float | None:
    """Seconds between pings: half of what the manager allows; None if it does not watch this process.

    Source: sd_watchdog_enabled(3).
    """
    allowed, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not allowed.isdecimal() or int(allowed) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(allowed) / 2e6


def _status(text: str) -> list[str]:
    # A line feed would start another assignment: READY=1 smuggled in by a status.
    return [f"STATUS={' '.join(text.split())}"] if text else []


def _send(*assignments: str, wait: bool = True) -> bool:
    """True if the manager's socket took the message, within `PATIENCE` seconds or, without `wait`, at once.

    No failure matters to the service: a manager that is gone, one too busy to read (its queue holds
    net.unix.max_dgram_qlen messages), or a process that has no descriptor left.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address or not assignments:
        return False
    if address.startswith("@"):  # abstract name, unix(7)
        address = "\0" + address[1:]
    try:
        # By name each time: whoever manages us may have been replaced, and its successor listens there.
        _socket().sendto("\n".join(assignments).encode(errors="replace"), 0 if wait else socket.MSG_DONTWAIT, address)
    except OSError:
        return False
    return True


def _socket() -> socket.socket:
    """The one socket of this process, kept: when all descriptors are in use there is none to be had for a new one."""
    global _kept
    if _kept is None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        # Bounds each wait in the kernel; a time-out of Python's own would be shared by threads that send at once.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", PATIENCE, 0))  # struct timeval
        atexit.register(sock.close)
        _kept = sock
    return _kept
