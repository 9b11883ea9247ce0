"""What a WSGI app is told, and how many run at once; gunicorn tells the same. PEP 3333 is tests/conform's."""

from __future__ import annotations

import json
import socket
import sys
import time

import pytest

from tests.server.conftest import Serve
from tests.server.served import GAPLESS, Server, read_all

GUNICORN = Server((sys.executable, "-m", "gunicorn", "--worker-class", "gthread", "--threads", "{threads}", "{app}"))


@pytest.fixture(params=[GAPLESS, GUNICORN], ids=["gapless", "gunicorn"], scope="module")
def server(request: pytest.FixtureRequest) -> Server:
    """The server of this run of a test."""
    assert isinstance(request.param, Server)
    return request.param


def test_as_many_requests_run_at_once_as_there_are_threads(serve: Serve) -> None:
    """Four requests of two seconds take two turns of two threads."""
    served = serve("wsgi:app", threads=2)
    began = time.monotonic()
    visitors = [socket.create_connection(served.sock.getsockname()) for _ in range(4)]
    for visitor in visitors:
        visitor.sendall(b"GET /slow?2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    for visitor in visitors:
        with visitor:
            assert read_all(visitor).startswith(b"HTTP/1.1 200")
    assert 3.9 < time.monotonic() - began < 7.9


def test_a_request_that_was_refused_in_the_queue_is_not_begun(serve: Serve) -> None:
    """Invariant 6: whoever waits for a thread until the budget ends is told to try again, and is not served as well."""
    served = serve("wsgi:app", threads=1)
    with served.visitor() as first, served.visitor() as second:
        first.sendall(b"GET /slow?2 HTTP/1.1\r\nHost: x\r\n\r\n")  # its thread is free before the process ends
        served.says("asked /slow")
        second.sendall(b"POST /order HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
        served.retire()
        assert b"Try again" in read_all(second)
        assert served.process.status() == 0
    assert "asked /order" not in served.process.output


def test_the_environ_says_what_was_asked(serve: Serve, server: Server) -> None:
    """Bytes of the path that are no UTF-8, headers that came twice; none with an underscore passes for another's."""
    served = serve("wsgi:app", server)
    with served.visitor() as visitor:
        visitor.sendall(
            b"GET /environ?a=%20b HTTP/1.1\r\nHost: shop.example:81\r\nX-Two: 1\r\nX-Two: 2\r\nX-Real-Ip: 10.0.0.1\r\n"
            b"X_Real_Ip: 6.6.6.6\r\nContent-Type: text/x\r\nConnection: close\r\n\r\n"
        )
        environ = json.loads(read_all(visitor).partition(b"\r\n\r\n")[2].split(b"\r\n", 1)[-1].partition(b"\r\n")[0])
    expected = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/environ",
        "QUERY_STRING": "a=%20b",
        "RAW_URI": "/environ?a=%20b",
        "CONTENT_TYPE": "text/x",
        "HTTP_HOST": "shop.example:81",
        "HTTP_X_TWO": "1,2",
        "HTTP_X_REAL_IP": "10.0.0.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.url_scheme": "http",
    }
    assert {key: environ.get(key) for key in expected} == expected
    assert environ["SERVER_NAME"]
    assert environ["SERVER_PORT"]
