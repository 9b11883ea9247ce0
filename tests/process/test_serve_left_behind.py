"""gapless serve ends, whatever its app leaves behind: it waits for what has a budget, and for nothing else."""

from __future__ import annotations

import signal
import socket
import sys

import pytest

from tests.support import APPS, Started, get, listening, start

HURRIED = "from gapless import timeouts; timeouts.SHUTDOWN = timeouts.HANG = 0.5; "
NO_ROOM = """
import threading
def start(timer):
    raise RuntimeError("can't start new thread")
threading.Timer.start = start
"""


def serve(run: start, sock: socket.socket, before: str, app: str, workers: str) -> Started:
    """Start an instance in a process that does what is said `before`."""
    argv = (sys.executable, "-c", f"{before}\nfrom gapless.__main__ import main; main()", "serve", app)
    flags = ("--workers", workers, "--release", "R1", "--linger", "0", "--check-timeout", "2s")
    return run(*argv, "--app-dir", APPS, *flags, sockets=[sock])


@pytest.mark.parametrize(
    ("workers", "left"), [("1", "task"), ("1", "pool"), ("1", "thread"), ("2", "task"), ("2", "pool")]
)
def test_what_an_app_left_behind_keeps_no_process(run: start, workers: str, left: str) -> None:
    """Invariant 6: after the drain a task that hears of no cancellation is cut off, as is a thread; the log says so."""
    with listening() as sock:
        one = serve(run, sock, HURRIED, "leaves:app", workers)
        assert get(sock.getsockname(), f"/{left}")[0] == 200
        one.kill(signal.SIGTERM)
        assert one.status(10) == 0
        assert "what the app left behind, a task or a thread, does not end: it is cut off" in one.output


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_start_that_failed_says_why_though_a_thread_goes_on(run: start, workers: str) -> None:
    """Invariant 8: the app's error is told before the process is ended, and not that it hangs."""
    with listening() as sock:
        one = serve(run, sock, HURRIED, "leaves:fails", workers)
        assert one.status(10) == 1
        assert "cannot start the app: its lifespan raised LookupError: there are no settings" in one.output
        assert "Timeout" not in one.output


def test_a_start_that_failed_says_why_though_no_thread_can_be_had(run: start) -> None:
    """Invariant 8: the app's error is told, and not ours of having no thread that would end the process."""
    with listening() as sock:
        one = serve(run, sock, NO_ROOM, "app:fails_in_lifespan", "1")
        assert one.status(10) == 1
        assert "RuntimeError: the database is not there" in one.output
        assert "can't start new thread" not in one.output
