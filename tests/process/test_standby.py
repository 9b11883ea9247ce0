"""gapless serve told to stand by: it lets go of its visitors as in a drain, but stays, and comes back at once."""

from __future__ import annotations

import http.client
import json
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from gapless.linux.unix_http import post
from gapless.switch import orders
from tests.support import (
    APPS,
    GAPLESS,
    Started,
    address,
    get,
    keep_alive_client,
    listening,
    start,
    status_of,
    wait_until,
)

STAND_BY, PAUSE, RESUME = "/.gapless/stand-by", "/.gapless/pause", "/.gapless/resume"  # a promise: written out


class Instance:
    """`gapless serve` of one release on a socket that the test holds."""

    def __init__(self, run: start, sock: socket.socket, folder: Path, release: str, *flags: str, **env: str) -> None:
        self.private = folder / release
        budgets = ("--linger", "9s", "--requests", "9s", "--streams", "4s")
        argv = (*GAPLESS, "serve", "app:app", "--app-dir", APPS, "--private", str(self.private), "--release", release)
        self.process: Started = run(*argv, *budgets, *flags, sockets=[sock], env=env)

    def serves(self) -> Instance:
        wait_until(lambda: self.private.exists() and self.status()["state"] == "serving", 30)
        return self

    def status(self) -> dict[str, Any]:
        return status_of(self.private)

    def order(self, path: str, code: int = 200) -> dict[str, Any]:
        """POST to the private socket; the document that is answered."""
        status, _, body = post(str(self.private), path, "x", 10)
        assert status == code, body
        document: dict[str, Any] = json.loads(body)
        return document


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with listening() as held:
        yield held


@pytest.fixture
def one(run: start, sock: socket.socket, tmp_path: Path) -> Instance:
    return Instance(run, sock, tmp_path, "R1").serves()


def release_of(sock: socket.socket) -> str:
    """Who answers on a new connection."""
    return get(address(sock))[1]["gapless-release"]


def by_close(client: http.client.HTTPConnection, path: str = "/") -> tuple[int, str | None]:
    """Status and Connection header of one more request."""
    client.request("POST", path)
    response = client.getresponse()
    response.read()
    return response.status, response.headers["connection"]


@contextmanager
def traffic(sock: socket.socket) -> Iterator[list[str]]:
    """A new connection every few milliseconds; the release that answered each, and it raises if one was lost."""
    seen: list[str] = []
    lost: list[Exception] = []
    done = threading.Event()

    def visit() -> None:
        while not done.wait(0.005):
            try:
                seen.append(release_of(sock))
            except Exception as error:
                lost.append(error)

    visitors = [threading.Thread(target=visit) for _ in range(3)]
    for visitor in visitors:
        visitor.start()
    try:
        yield seen
    finally:
        done.set()
        for visitor in visitors:
            visitor.join()
    assert not lost


def test_new_connections_go_to_the_other_and_come_back(
    one: Instance, run: start, sock: socket.socket, tmp_path: Path
) -> None:
    """Invariants 1, 6: from the answer on the other release gets every connection; told to resume, it accepts again
    without a boot; nothing is lost."""
    other = Instance(run, sock, tmp_path, "R2").serves()
    with traffic(sock) as seen:
        wait_until(lambda: {"R1", "R2"} <= set(seen), 30)
        assert one.order(STAND_BY)["state"] == "standing by"
        wait_until(lambda: one.status()["connections"] == 0)  # what it had accepted is answered
        since = len(seen) + 3  # three visitors may be about to note an answer from before
        wait_until(lambda: len(seen) > since + 50, 30)
        assert set(seen[since:]) == {"R2"}
        assert one.order(RESUME)["state"] == "serving"
        assert other.order(STAND_BY)["state"] == "standing by"
        wait_until(lambda: other.status()["connections"] == 0)
        since = len(seen) + 3
        wait_until(lambda: len(seen) > since + 50, 30)
        assert set(seen[since:]) == {"R1"}


def test_connections_from_before_are_finished_as_in_a_drain(one: Instance, sock: socket.socket) -> None:
    """Invariant 6: unread, slow and idle connections are answered with Connection: close; the process stays."""
    with keep_alive_client(sock) as unread, keep_alive_client(sock) as slow, keep_alive_client(sock) as idle:
        assert by_close(idle) == (200, None)
        slow.request("GET", "/slow")
        wait_until(lambda: one.status()["requests"] == 1 and one.status()["connections"] == 3)
        one.order(STAND_BY)
        assert by_close(unread) == (200, "close")
        assert by_close(idle, "/echo") == (200, "close")
        assert slow.getresponse().headers["connection"] == "close"
        assert one.status() | {"state": "standing by", "requests": 0} == one.status()
        wait_until(lambda: one.status()["connections"] == 0)
    assert one.process.process.poll() is None


def test_an_idle_connection_lingers_then_ends(run: start, sock: socket.socket, tmp_path: Path) -> None:
    """Invariant 6: standing by, too, closes an idle connection after the linger time, not before."""
    one = Instance(run, sock, tmp_path, "R1", "--linger", "2s").serves()
    with keep_alive_client(sock) as idle:
        by_close(idle)
        began = time.monotonic()
        one.order(STAND_BY)
        assert idle.sock.recv(1) == b""
        assert time.monotonic() - began > 1.5  # less the time until the order came
    assert one.status()["state"] == "standing by"


def test_websockets_are_told_to_come_back_elsewhere(one: Instance, sock: socket.socket) -> None:
    """Invariant 6: closed with 1012 within the streams budget; one that comes after a resume is left alone."""
    host, port = address(sock)
    with ExitStack() as stack:
        early = [stack.enter_context(connect(f"ws://{host}:{port}/")) for _ in range(2)]
        wait_until(lambda: one.status()["websockets"] == 2)
        one.order(STAND_BY)
        one.order(RESUME)
        late = stack.enter_context(connect(f"ws://{host}:{port}/"))
        for client in early:
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(timeout=10)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
        late.send("still here")
        assert late.recv(timeout=10) == "still here"


def test_a_resume_while_old_connections_are_finished(run: start, sock: socket.socket, tmp_path: Path) -> None:
    """Invariant 6: what was accepted before ends as it was to; what comes now is not told to close, and not cut."""
    one = Instance(run, sock, tmp_path, "R1", "--linger", "2s").serves()
    with keep_alive_client(sock) as old, keep_alive_client(sock) as idle:
        by_close(idle)
        old.request("GET", "/slower")
        wait_until(lambda: one.status()["requests"] == 1 and one.status()["connections"] == 2)
        one.order(STAND_BY)
        one.order(RESUME)
        with keep_alive_client(sock) as new:
            assert by_close(new) == (200, None)
            new.request("GET", "/slower")
            assert idle.sock.recv(1) == b""
            assert old.getresponse().headers["connection"] == "close"
            response = new.getresponse()
            assert (response.headers["connection"], response.read()) == (None, b"ok")
            assert by_close(new) == (200, None)


def test_a_connection_in_the_queue_waits_for_the_resume(one: Instance, sock: socket.socket) -> None:
    """Invariant 1: with nobody else to accept, visitors wait in the kernel and are answered after the resume."""
    one.order(STAND_BY)
    with keep_alive_client(sock) as visitor:
        visitor.request("GET", "/")
        assert one.status()["connections"] == 0
        one.order(RESUME)
        assert visitor.getresponse().status == 200


def test_a_second_time_changes_nothing(one: Instance, sock: socket.socket) -> None:
    """Invariant 7: each order can be repeated, and is answered with the status."""
    one.order(RESUME)
    assert one.order(STAND_BY)["state"] == one.order(STAND_BY)["state"] == "standing by"
    assert one.order(RESUME)["state"] == one.order(RESUME)["state"] == "serving"
    assert release_of(sock) == "R1"
    assert one.process.output.count("INFO standing by\n") == 1


def test_sigterm_in_standby_is_the_ordinary_end(one: Instance, sock: socket.socket) -> None:
    """Invariant 6: what is left is drained, the app shuts down, exit status 0; and no order is taken meanwhile."""
    with keep_alive_client(sock) as slow:
        slow.request("GET", "/slower")
        wait_until(lambda: one.status()["requests"] == 1)
        one.order(STAND_BY)
        one.process.kill(signal.SIGTERM)
        one.process.says("draining")
        for path in (STAND_BY, RESUME):
            assert "the instance is draining" in one.order(path, 409)["error"]
        assert slow.getresponse().status == 200
    assert one.process.status() == 0
    said = one.process.output
    assert said.index("standing by") < said.index("draining") < said.index("app: shutdown") < said.index("stopped")


def test_an_empty_standby_ends_at_once(one: Instance) -> None:
    """Nothing is left to linger for."""
    one.order(STAND_BY)
    one.process.kill(signal.SIGTERM)
    assert one.process.status() == 0


def test_the_manager_is_told(run: start, sock: socket.socket, tmp_path: Path) -> None:
    """STATUS= says that it stands by, and the watchdog is pinged on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "n"))
        manager.settimeout(10)
        env = {"NOTIFY_SOCKET": str(tmp_path / "n"), "WATCHDOG_USEC": "400000"}
        one = Instance(run, sock, tmp_path, "R1", **env)
        for said, order in ((b"READY=1", STAND_BY), (b"STATUS=standing by R1", RESUME), (b"STATUS=serving R1", "")):
            while not manager.recv(100).startswith(said):
                pass
            while manager.recv(100) != b"WATCHDOG=1":
                pass
            if order:
                one.order(order)


def test_an_instance_that_does_not_serve_yet_takes_no_orders(run: start, sock: socket.socket, tmp_path: Path) -> None:
    """Invariant 4: a candidate that is not proven cannot be told to accept."""
    one = Instance(run, sock, tmp_path, "R1", "--check", "/status/503", "--check-timeout", "20s")
    wait_until(lambda: one.private.exists(), 30)
    for path in (STAND_BY, RESUME):
        assert "the instance is checking" in one.order(path, 409)["error"]
    assert not orders.resume(str(one.private))


def serving(one: Instance) -> list[int]:
    """The workers that accept."""
    return [worker["pid"] for worker in one.status()["workers"] if worker.get("state") == "serving"]


def test_workers_stand_by_and_resume_together(run: start, sock: socket.socket, tmp_path: Path) -> None:
    """Invariants 1, 4: answered when all have obeyed; one that dies meanwhile is replaced and does not accept."""
    one = Instance(run, sock, tmp_path, "R1", "--workers", "2").serves()
    wait_until(lambda: len(serving(one)) == 2, 30)
    before = [worker["pid"] for worker in one.order(STAND_BY)["workers"]]
    assert serving(one) == []
    os.kill(before[0], signal.SIGKILL)
    wait_until(lambda: [w.get("state") for w in one.status()["workers"]] == ["standing by", "proven"], 30)
    with keep_alive_client(sock) as visitor:
        visitor.request("GET", "/")
        assert one.status()["connections"] == 0
        os.kill(before[1], signal.SIGKILL)
        wait_until(lambda: [w.get("state") for w in one.status()["workers"]] == ["proven", "proven"], 30)
        one.order(RESUME)
        assert len(serving(one)) == 2
        assert visitor.getresponse().status == 200
    one.order(STAND_BY)
    one.process.kill(signal.SIGTERM)
    assert one.process.status() == 0


def test_an_order_of_workers_that_is_taken_back_is_refused(run: start, sock: socket.socket, tmp_path: Path) -> None:
    """Invariant 8: whoever waits for a worker that hangs is told when it was told otherwise."""
    one = Instance(run, sock, tmp_path, "R1", "--workers", "2").serves()
    hung = wait_until(lambda: serving(one) if len(serving(one)) == 2 else [], 30)[0]
    os.kill(hung, signal.SIGSTOP)
    with socket.socket(socket.AF_UNIX) as asker:
        asker.settimeout(10)
        asker.connect(str(one.private))
        asker.sendall(f"POST {STAND_BY} HTTP/1.1\r\n\r\n".encode())
        wait_until(lambda: serving(one) == [hung], what="the other one stands by")
        back = threading.Thread(target=one.order, args=[RESUME])
        back.start()
        assert asker.recv(65536).startswith(b"HTTP/1.1 409 Conflict")
        os.kill(hung, signal.SIGCONT)
        back.join()
    wait_until(lambda: len(serving(one)) == 2)


def test_a_worker_takes_orders_from_its_parent_alone(run: start, sock: socket.socket, tmp_path: Path) -> None:
    """Its own private socket has no orders: they would leave the parent in another state."""
    one = Instance(run, sock, tmp_path, "R1", "--workers", "2").serves()
    assert not orders.stand_by(f"{one.private}.0")
    wait_until(lambda: len(serving(one)) == 2, 30)


def test_the_client_says_whether_it_is_so(one: Instance) -> None:
    """stand_by and resume are true, the second time, too."""
    for ask, state in ((orders.stand_by, "standing by"), (orders.resume, "serving")):
        assert ask(str(one.private))
        assert ask(str(one.private))
        assert one.status()["state"] == state


def test_who_waits_on_an_open_connection_is_answered_after_the_pause(
    run: start, sock: socket.socket, tmp_path: Path
) -> None:
    """Invariants 1, 6: a pause answers what is under way; what comes from then on, on idle connections, unread ones and
    new ones, waits, longer than idle ones are kept, and is answered."""
    one = Instance(run, sock, tmp_path, "R1", "--linger", "1s", "--requests", "1s").serves()
    with ExitStack() as stack:
        slow, idle, spare, unread, half, new = (stack.enter_context(keep_alive_client(sock)) for _ in range(6))
        assert by_close(idle) == by_close(spare) == (200, None)
        half.send(b"GET / HTTP/1.1\r\n")
        slow.request("GET", "/slow")
        wait_until(lambda: one.status()["requests"] == 1 and one.status()["connections"] == 6)
        new.close()
        assert one.order(PAUSE)["state"] == "paused"
        assert slow.getresponse().headers["connection"] == "close"
        status = wait_until(lambda: found if orders.is_quiet(found := one.status()) else {})
        assert status["connections"] == status["held"] == 4
        for client in (idle, unread, new):
            client.request("GET", "/")
        half.send(b"Host: x\r\n\r\n")
        assert not select.select([client.sock for client in (idle, unread, half, new)], [], [], 2.5)[0]
        assert orders.is_quiet(one.status())
        one.order(RESUME)
        said = [client.getresponse() for client in (idle, unread, new)]
        assert [response.status for response in said] == [200, 200, 200]
        assert half.sock.recv(12) == b"HTTP/1.1 200"
        assert said[2].headers["connection"] is None
        assert not select.select([spare.sock], [], [], 0.3)[0], "its linger time went on in the pause"
        assert by_close(spare) == (200, "close")
    assert one.status()["held"] == 0


def test_workers_pause_together(run: start, sock: socket.socket, tmp_path: Path) -> None:
    """Invariant 1: their idle connections wait, whichever worker has them; the status is that of all."""
    one = Instance(run, sock, tmp_path, "R1", "--workers", "2").serves()
    with ExitStack() as stack:
        idle = [stack.enter_context(keep_alive_client(sock)) for _ in range(4)]
        assert [by_close(client)[0] for client in idle] == [200] * 4
        one.order(PAUSE)
        status = wait_until(lambda: found if orders.is_quiet(found := one.status()) else {})
        assert [status["held"], *(worker["state"] for worker in status["workers"])] == [4, "paused", "paused"]
        for client in idle:
            client.request("GET", "/")
        assert not select.select([client.sock for client in idle], [], [], 0.5)[0]
        one.order(RESUME)
        assert [client.getresponse().status for client in idle] == [200] * 4


def test_a_paused_instance_ends_as_ever(one: Instance, sock: socket.socket) -> None:
    """Invariant 6: SIGTERM drains it, and who waits on an open connection is answered first."""
    with keep_alive_client(sock) as idle:
        assert by_close(idle) == (200, None)
        one.order(PAUSE)
        idle.request("GET", "/")
        one.process.kill(signal.SIGTERM)
        response = idle.getresponse()
        assert (response.status, response.headers["connection"]) == (200, "close")
    assert one.process.status() == 0
