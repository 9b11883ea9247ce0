"""What `standby` makes of servers that answer otherwise than ours, or not at all."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from gapless.linux.unix_http import STAND_BY_PATH, STATUS_PATH, get
from gapless.switch import orders


@contextmanager
def answering(path: Path, *answers: bytes) -> Iterator[list[bytes]]:
    """A server that answers each connection as said, then never again; what it was asked."""
    asked: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        for answer in answers:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # shut down below: the client is to leave it alone
            with connection:
                asked.append(connection.recv(65536))
                connection.sendall(answer)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve, args=[listener], daemon=True)
        thread.start()
        yield asked
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


DOCUMENT = b'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"state": "serving"}'


def test_a_body_that_does_not_end_is_a_time_out(tmp_path: Path) -> None:
    """A check that streams must not keep whoever asks, and the deploy lock with them."""
    ours, stop = socket.socket(socket.AF_UNIX), threading.Event()
    ours.bind(str(tmp_path / "p"))
    ours.listen()

    def drip() -> None:
        with ours.accept()[0] as connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            while not stop.wait(0.05):
                with suppress(BrokenPipeError):
                    connection.sendall(b".")

    thread = threading.Thread(target=drip)
    thread.start()
    with closing(ours), pytest.raises(TimeoutError, match="does not end"):
        get(str(tmp_path / "p"), "/", "localhost", 0.5)
    stop.set()
    thread.join()


@pytest.mark.parametrize(
    "refusal",
    [
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"no HTTP\r\n\r\n",
        b"",
        DOCUMENT,
    ],
)
def test_the_client_takes_other_answers_as_no(tmp_path: Path, refusal: bytes) -> None:
    """An older server, or one of somebody else's, cannot stand by: False, and no exception."""
    with answering(tmp_path / "p", DOCUMENT, refusal) as asked:
        assert not orders.stand_by(str(tmp_path / "p"))
    assert [one.split(b" ", 2)[:2] for one in asked] == [
        [b"GET", STATUS_PATH.encode()],
        [b"POST", STAND_BY_PATH.encode()],
    ]


def test_the_client_orders_nobody_who_has_no_status_document(tmp_path: Path) -> None:
    """A server that is not ours is asked for its status, and then left alone."""
    for number, answer in enumerate((b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"HTTP/1.1 200 OK\r\n\r\n{}")):
        path = tmp_path / str(number)
        with answering(path, answer, DOCUMENT) as asked:
            assert not orders.resume(str(path))
            assert len(asked) == 1


def test_the_client_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No socket, nobody behind it, or one who never answers: False, in bounded time."""
    monkeypatch.setattr(orders, "TIMEOUT", 0.2)
    assert not orders.resume("")
    assert not orders.resume(str(tmp_path / "nothing"))
    with closing(socket.socket(socket.AF_UNIX)) as silent:
        silent.bind(str(tmp_path / "p"))
        assert not orders.resume(str(tmp_path / "p"))
        silent.listen()
        assert not orders.resume(str(tmp_path / "p"))
