"""The soak's requests in bulk: what wrk counts as failed."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.bulk import KINDS, bulk
from bench.throughput import wrk

from tests.support import address, wait_until

ANSWER = b"HTTP/1.1 %s\r\nContent-Length: 0\r\n%s\r\n"
GOOD, LAST = ANSWER % (b"200 OK", b""), ANSWER % (b"200 OK", b"Connection: close\r\n")
BAD = ANSWER % (b"502 Bad Gateway", b"")


@contextlib.contextmanager
def serving(*answers: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A server that gives each connection these answers and closes it; its URL, and what it was asked."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, contextlib.suppress(OSError):
                        for answer in answers:
                            asked.append(connection.recv(4096))
                            connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        host, port = address(listener)
        try:
            yield f"http://{host}:{port}", asked
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.skipif(wrk() is None, reason="there is no wrk, and only root can install it")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("answers", "lost"),
    [([GOOD, LAST], set()), ([GOOD, b""], {"read"}), ([BAD, LAST], {"status"})],
    ids=["announced", "closed", "502"],
)
def test_what_counts_as_failed(tmp_path: Path, kind: str, answers: list[bytes], lost: set[str]) -> None:
    """A request that is not answered, or not well, is lost; a connection whose end was announced is none."""
    with serving(*answers) as (url, asked):
        with bulk(tmp_path, url, kind, connections=1, pause=1) as seen:
            wait_until(lambda: len(asked) >= 40)
        assert seen.requests > 10
        assert {how for how, count in seen.failures.items() if count} == lost
