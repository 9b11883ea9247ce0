"""gapless.notify: what the manager hears."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gapless import notify


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The manager's end of NOTIFY_SOCKET."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@gapless-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(name.replace("@", "\0"))
        sock.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield sock


def test_each_call_says_what_sd_notify_documents(manager: socket.socket) -> None:
    """READY, STATUS, STOPPING, RELOADING, WATCHDOG and EXTEND_TIMEOUT arrive on path and abstract sockets."""
    assert notify.ready("up")
    assert manager.recv(100) == b"READY=1\nSTATUS=up"
    assert notify.status("10 connections")
    assert manager.recv(100) == b"STATUS=10 connections"
    assert notify.stopping()
    assert manager.recv(100) == b"STOPPING=1"
    assert notify.reloading()
    assert manager.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
    assert notify.watchdog()
    assert manager.recv(100) == b"WATCHDOG=1"
    assert notify.extend_timeout(1.5)
    assert manager.recv(100) == b"EXTEND_TIMEOUT_USEC=1500000"


def test_a_status_cannot_smuggle_another_message(manager: socket.socket) -> None:
    """A line feed in a status would start an assignment of its own."""
    notify.status("waiting\nREADY=1")
    assert manager.recv(100) == b"STATUS=waiting READY=1"


def test_without_a_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same program runs in plain local development, and goes on when its manager has died."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify.ready()
    monkeypatch.setenv("NOTIFY_SOCKET", "@gapless-nobody-is-there")
    assert not notify.ready()


def test_the_watchdog_is_pinged_twice_in_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """WATCHDOG_USEC counts only for the process it names, and half of it is the interval."""
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    assert notify.watchdog_interval() == 15.0
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert notify.watchdog_interval() is None
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert notify.watchdog_interval() == 15.0
    monkeypatch.setenv("WATCHDOG_USEC", "0")
    assert notify.watchdog_interval() is None


@contextlib.contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Inside the block this process can open nothing."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_process_without_a_descriptor_left_still_tells(manager: socket.socket) -> None:
    """Invariant 6: a ping that raises would have a healthy release killed, a STOPPING=1 that raises end its drain."""
    assert notify.ready()
    manager.recv(100)
    with no_descriptor_left():
        assert notify.watchdog()
        assert notify.stopping()
    assert (manager.recv(100), manager.recv(100)) == (b"WATCHDOG=1", b"STOPPING=1")


def test_a_first_call_without_a_descriptor_left_does_not_raise(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be said now is not said; the next call tries again."""
    monkeypatch.setattr(notify, "_kept", None)
    with no_descriptor_left():
        assert not notify.ready()
        assert not notify.watchdog()
    assert notify.ready()
    assert manager.recv(100) == b"READY=1"


def test_a_manager_that_was_replaced_hears_of_it(manager: socket.socket) -> None:
    """A supervisor may die, and its successor listen at the same name: messages go to whoever is there."""
    assert notify.ready()
    name = manager.getsockname()
    manager.close()
    assert not notify.watchdog()
    if isinstance(name, str):  # an abstract name has no file
        Path(name).unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as successor:
        successor.bind(name)
        successor.settimeout(5)
        assert notify.watchdog()
        assert successor.recv(100) == b"WATCHDOG=1"
