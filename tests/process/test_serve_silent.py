"""gapless serve and clients that connect and send nothing: each takes a descriptor, and no more than that."""

from __future__ import annotations

import contextlib
import resource
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import APPS, GAPLESS, Started, get, keep_alive_client, listening, start, status_of, wait_until

BUDGETS = ("--linger", "1s", "--requests", "1s", "--streams", "1s")


def limited(run: start, sock: socket.socket, folder: Path, soft: int, hard: int, *flags: str) -> Started:
    """Start an instance that may have so many descriptors, with a watchdog of 0.2 s at the socket `folder`/n."""
    limits = f'ulimit -Sn {soft}; ulimit -Hn {hard}; exec "$0" "$@"'
    argv = ("sh", "-c", f"LISTEN_PID=$$; {limits}", *GAPLESS, "serve", "app:app", "--app-dir", APPS, *BUDGETS, *flags)
    env = {"NOTIFY_SOCKET": str(folder / "n"), "WATCHDOG_USEC": "200000"}
    return run(*argv, "--private", str(folder / "p"), sockets=[sock], env=env)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The manager's end of NOTIFY_SOCKET."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "n"))
        sock.settimeout(10)
        yield sock


@contextlib.contextmanager
def silent(sock: socket.socket, count: int) -> Iterator[None]:
    """So many clients that connect, and never send a byte."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(socket.create_connection(sock.getsockname(), timeout=10))
        yield


def hears(manager: socket.socket, message: bytes) -> None:
    """Wait until the manager has heard `message`, which was sent after all that it had heard before the call."""
    manager.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            manager.recv(1000)
    manager.settimeout(10)
    heard(manager, message)


def heard(manager: socket.socket, message: bytes) -> None:
    """Wait until the manager has heard `message`."""
    while not manager.recv(1000).startswith(message):
        pass


@pytest.mark.parametrize("workers", ["1", "2"])
def test_silent_clients_leave_the_watchdog_the_private_socket_and_the_drain_alone(
    run: start, tmp_path: Path, manager: socket.socket, workers: str
) -> None:
    """Invariant 6: with every descriptor in use it pings, answers its manager, and drains to status 0."""
    with listening(1000) as sock:
        one = limited(run, sock, tmp_path, 64, 64, "--workers", workers)
        one.says("serving")
        with silent(sock, 200):
            one.says("cannot accept: Too many open files")
            for _ in range(3):
                hears(manager, b"WATCHDOG=1")
            wait_until(lambda: status_of(tmp_path / "p")["descriptors"] >= 48)
            assert status_of(tmp_path / "p")["descriptors_allowed"] == 64
            one.kill(signal.SIGTERM)
            heard(manager, b"STOPPING=1")
            sock.close()
            assert one.status() == 0
        assert "Traceback" not in one.output


def test_the_private_socket_is_answered_when_a_flood_goes_on(
    run: start, tmp_path: Path, manager: socket.socket
) -> None:
    """Invariant 6: visitors never take the last descriptors, however long they go on to come."""
    with listening(1000) as sock:
        one = limited(run, sock, tmp_path, 64, 64)
        one.says("serving")
        with silent(sock, 300):
            one.says("cannot accept")
            for _ in range(15):  # 15 pings of 0.1 s: it has made room several times
                hears(manager, b"WATCHDOG=1")
                assert status_of(tmp_path / "p")["connections"] <= 48
            assert one.output.count("cannot accept") == 1  # said once, not at each look
        wait_until(lambda: get(sock.getsockname())[0] == 200)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_visitors_are_answered_in_a_flood_of_silent_clients(
    run: start, tmp_path: Path, manager: socket.socket, workers: str
) -> None:
    """Invariant 6: out of descriptors, the oldest connection without a byte goes, and is counted; no other does."""
    with listening(1000) as sock:
        one = limited(run, sock, tmp_path, 64, 64, "--workers", workers, "--linger", "20s")
        one.says("serving")
        with keep_alive_client(sock) as idle:
            idle.request("GET", "/")
            assert idle.getresponse().read()
            with silent(sock, 300):
                assert get(sock.getsockname(), timeout=20)[0] == 200
                idle.request("GET", "/")
                assert idle.getresponse().status == 200
                wait_until(lambda: status_of(tmp_path / "p")["turned_away"]["unread"] >= 100)
        hears(manager, b"WATCHDOG=1")


def test_it_may_have_as_many_descriptors_as_the_hard_limit_says(run: start, tmp_path: Path) -> None:
    """A visitor beside more silent clients than the soft limit is answered at once."""
    with listening(1000) as sock:
        one = limited(run, sock, tmp_path, 64, 1000)
        one.says("serving")
        with silent(sock, 400):
            assert get(sock.getsockname(), timeout=10)[0] == 200
            wait_until(lambda: status_of(tmp_path / "p")["connections"] >= 400)
            assert status_of(tmp_path / "p")["descriptors_allowed"] == 1000
        assert "cannot accept" not in one.output


def test_a_parent_without_a_descriptor_left_goes_on_to_ping(run: start, tmp_path: Path, manager: socket.socket) -> None:
    """Trap 9: the parent of workers speaks for all; what it cannot do now must not end it."""
    with listening() as sock:
        one = limited(run, sock, tmp_path, 64, 64, "--workers", "2")
        one.says("serving, 2 workers")
        resource.prlimit(one.pid, resource.RLIMIT_NOFILE, (3, 64))
        for _ in range(3):
            hears(manager, b"WATCHDOG=1")
        assert get(sock.getsockname())[0] == 200
