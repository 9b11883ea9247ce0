"""gapless serve after SIGTERM: all that it accepted has its whole budget. What any server owes is tests/conform's."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.support import APPS, GAPLESS, Started, keep_alive_client, listening, start, status_of, wait_until

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Instance:
    """One `gapless serve` on a socket that the test holds, with short budgets."""

    def __init__(self, run: start, folder: Path, *flags: str) -> None:
        self.sock = listening()
        self.private = folder / "private"
        budgets = ("--linger", "2s", "--requests", "3s", "--streams", "4s")
        argv = (*GAPLESS, "serve", "app:app", "--app-dir", APPS, "--private", str(self.private), *budgets, *flags)
        self.process: Started = run(*argv, sockets=[self.sock])
        self.process.says("serving")

    def retire(self) -> float:
        """SIGTERM; returns when it is draining, with the time on the monotonic clock."""
        self.process.kill(signal.SIGTERM)
        began = time.monotonic()
        self.process.says("draining")
        return began

    def counts(self, **expected: int) -> None:
        """Wait until the status document says so."""
        wait_until(lambda: expected.items() <= status_of(self.private).items(), what=str(expected))

    def connection(self) -> socket.socket:
        """A connection that this instance (the only one to accept) has accepted."""
        before = status_of(self.private)["connections"]
        visitor = socket.create_connection(self.sock.getsockname(), timeout=10)
        self.counts(connections=before + 1)
        return visitor


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    """Closes what is entered into it when the test ends."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def instance(run: start, tmp_path: Path) -> Iterator[Instance]:
    one = Instance(run, tmp_path)
    yield one
    one.sock.close()


def test_an_idle_connection_is_kept_for_the_linger_time(instance: Instance) -> None:
    """Invariant 6: never closed before the proxy in front would, and then closed, so that the drain ends."""
    with keep_alive_client(instance.sock) as client:
        client.request("GET", "/")
        client.getresponse().read()
        began = instance.retire()
        assert client.sock.recv(1) == b""
        assert 1.9 < time.monotonic() - began < 30
    assert instance.process.status() == 0


def test_a_request_that_comes_late_has_its_whole_budget(run: start, tmp_path: Path) -> None:
    """Invariant 6: on an idle connection, and on one on which nothing was read, long after the requests budget."""
    one = Instance(run, tmp_path, "--linger", "20s", "--requests", "2s")
    with keep_alive_client(one.sock) as client, one.connection() as visitor:
        client.request("GET", "/")
        client.getresponse().read()
        began = one.retire()
        wait_until(lambda: time.monotonic() - began > 2.5)
        visitor.sendall(REQUEST.replace(b"GET /", b"GET /slow"))
        client.request("GET", "/slow")
        response = client.getresponse()
        assert (response.status, response.read()) == (200, b"ok")
        assert visitor.recv(1000).startswith(b"HTTP/1.1 200")
    assert one.process.status() == 0
    assert "cut off" not in one.process.output
    one.sock.close()


def test_a_request_right_after_a_stream_has_its_whole_budget(run: start, tmp_path: Path) -> None:
    """Invariant 6: a response that had begun did not say close, so a proxy may send the next request at once."""
    one = Instance(run, tmp_path, "--linger", "20s", "--requests", "2s", "--streams", "20s")
    with keep_alive_client(one.sock) as client:
        client.request("GET", "/stream?3")
        response = client.getresponse()
        assert response.read(6) == b"begun "
        one.retire()
        assert response.read() == b"ok"
        client.request("GET", "/slow")
        response = client.getresponse()
        assert (response.status, response.headers["connection"], response.read()) == (200, "close", b"ok")
    assert one.process.status() == 0
    assert "cut off" not in one.process.output
    one.sock.close()


def test_a_request_under_way_is_finished_and_says_close(instance: Instance) -> None:
    """Invariant 6: a slow answer is complete, and its client is told to open the next connection elsewhere."""
    with keep_alive_client(instance.sock) as client:
        client.request("GET", "/slow")
        instance.counts(requests=1)
        instance.retire()
        response = client.getresponse()
        assert (response.status, response.headers["connection"], response.read()) == (200, "close", b"ok")
    assert instance.process.status() == 0


def test_nothing_new_is_accepted_while_draining(instance: Instance) -> None:
    """Invariant 1: connections that come now wait in the kernel queue for whoever serves next."""
    with keep_alive_client(instance.sock) as client:
        client.request("GET", "/slow")
        instance.counts(requests=1)
        instance.retire()
        with socket.create_connection(instance.sock.getsockname()) as visitor:
            visitor.sendall(REQUEST)
            assert client.getresponse().status == 200
            assert instance.process.status() == 0
            connection, _ = instance.sock.accept()
            with connection:
                assert connection.recv(100) == REQUEST


def test_a_request_past_its_budget_is_cut_off_and_counted(run: start, tmp_path: Path) -> None:
    """Invariant 6: the budget bounds the drain, and the log says how many it cost."""
    one = Instance(run, tmp_path, "--requests", "200ms")
    with one.sock, keep_alive_client(one.sock) as client:
        client.request("GET", "/slow")
        one.counts(requests=1)
        one.retire()
        response = client.getresponse()
        assert (response.status, response.headers["connection"]) == (503, "close")
    assert one.process.status() == 0
    assert "1 cut off at the end of the budget (request under way)" in one.process.output
    assert "Traceback" not in one.process.output


def websockets(closing: ExitStack, instance: Instance, count: int) -> list[ClientConnection]:
    port = instance.sock.getsockname()[1]
    clients = [closing.enter_context(connect(f"ws://127.0.0.1:{port}/ws", compression=None)) for _ in range(count)]
    for client in clients:
        client.send("hello")
        assert client.recv(timeout=20) == "hello"
    return clients


def restarted_at(client: ClientConnection) -> float:
    with pytest.raises(ConnectionClosed) as caught:
        client.recv(timeout=20)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1012
    return time.monotonic()


def test_websockets_are_told_to_come_back_one_after_another(closing: ExitStack, instance: Instance) -> None:
    """Invariant 6: close code 1012, spread over half the streams budget, so that they do not all return at once."""
    clients = websockets(closing, instance, 4)
    began = instance.retire()
    with ThreadPoolExecutor() as threads:
        closed = [when - began for when in threads.map(restarted_at, clients)]
    assert instance.process.status() == 0
    assert max(closed) - min(closed) > 0.7  # the first at once, the last of four at 3/4 of 2 s


def test_a_second_signal_hurries(closing: ExitStack, run: start, tmp_path: Path) -> None:
    """A second SIGTERM ends every budget: idle connections, requests and WebSockets close now."""
    instance = Instance(run, tmp_path, "--linger", "60s", "--requests", "60s", "--streams", "60s")
    closing.enter_context(instance.sock)
    clients = websockets(closing, instance, 3)
    with keep_alive_client(instance.sock) as idle:
        idle.request("GET", "/")
        idle.getresponse().read()
        began = instance.retire()
        instance.process.kill(signal.SIGTERM)
        assert instance.process.status() == 0
        assert time.monotonic() - began < 15
    for client in clients:
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=20)


def test_shutdown_of_the_app_runs_after_the_last_answer(instance: Instance) -> None:
    """The lifespan ends when nothing is under way any more, so that its database is still there for the last one."""
    with keep_alive_client(instance.sock) as client:
        client.request("GET", "/slow")
        instance.counts(requests=1)
        instance.retire()
        client.getresponse().read()
    assert instance.process.status() == 0
    said = instance.process.output
    assert said.index("draining") < said.index("app: shutdown") < said.index("stopped")


def test_a_private_socket_is_removed_at_the_end(instance: Instance) -> None:
    """Invariant 7: nothing is left for the next instance to stumble over."""
    instance.retire()
    assert instance.process.status() == 0
    assert not instance.private.exists()


def test_out_of_descriptors_connections_wait_in_the_queue(run: start) -> None:
    """Invariant 1: EMFILE delays a visitor, and neither loses it nor spins; then all are served."""
    sock = listening()
    shell = 'ulimit -n 40; exec "$0" "$@"'
    argv = ("sh", "-c", "LISTEN_PID=$$; " + shell, *GAPLESS, "serve", "app:app", "--app-dir", APPS, "--linger", "1")
    visitors = [socket.create_connection(sock.getsockname(), timeout=30) for _ in range(45)]
    for visitor in visitors:  # each has said something before anybody accepts it: who is silent would have to go
        visitor.sendall(REQUEST.replace(b"GET /", b"GET /slow").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    one = run(*argv, sockets=[sock])
    one.says("cannot accept: Too many open files")
    for visitor in visitors:
        assert visitor.recv(1000).startswith(b"HTTP/1.1 200")
        visitor.close()
    sock.close()
