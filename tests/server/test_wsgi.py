"""WSGI apps, to the letter of PEP 3333; on the same apps gunicorn does the same, but where a test says so."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import sys
import time

import pytest

from tests.server.conftest import Serve
from tests.server.served import GAPLESS, Served, Server, read_all

GUNICORN = Server((sys.executable, "-m", "gunicorn", "--worker-class", "gthread", "--threads", "{threads}", "{app}"))


@pytest.fixture(params=[GAPLESS, GUNICORN], ids=["gapless", "gunicorn"], scope="module")
def server(request: pytest.FixtureRequest) -> Server:
    """The server of this run of a test."""
    assert isinstance(request.param, Server)
    return request.param


def ask(
    served: Served, path: str, method: str = "GET", body: bytes | None = None, **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    with served.client() as client:
        client.request(method, path, body, headers)
        response = client.getresponse()
        return response, response.read()


ANSWERS = [
    ("/", 200, b"ok"),
    ("/lazy", 200, b"lazy"),
    ("/in-pieces", 200, b"one two"),
    ("/written", 200, b"first second third"),
    ("/replaced", 503, b"sorry"),
]


def test_what_an_app_says_arrives(serve: Serve, server: Server) -> None:
    """Generators, lists, write(), a status that exc_info replaced before the first byte; each iterable is closed."""
    served = serve("wsgi:app", server)
    for path, status, body in ANSWERS:
        response, read = ask(served, path)
        assert (path, response.status, read) == (path, status, body)
        if path != "/":
            served.says(f"closed {path}")


@pytest.mark.parametrize("path", ["/raises-at-once", "/twice", "/bad-header"])
def test_an_error_before_the_first_byte_is_a_500(serve: Serve, server: Server, path: str) -> None:
    """The head waits for the first bytes: a client, or a check, sees a failure and not a 200 that was not meant."""
    served = serve("wsgi:app", server)
    response, _ = ask(served, path)
    assert response.status == 500
    assert "x-smuggled" not in response.headers


@pytest.mark.parametrize("path", ["/raises-early", "/text"])
def test_an_empty_or_a_wrong_piece_does_not_send_the_head(serve: Serve, path: str) -> None:
    """So an app can still fail with a 500 after an empty piece. (gunicorn sends the head with any piece.)"""
    assert ask(serve("wsgi:app"), path)[0].status == 500


def test_a_status_can_be_replaced_after_an_empty_piece(serve: Serve) -> None:
    """The letter of PEP 3333: not before the first bytes that are not empty. (gunicorn sends the first status.)"""
    response, body = ask(serve("wsgi:app"), "/replaced-early")
    assert (response.status, body) == (503, b"sorry")


@pytest.mark.parametrize("path", ["/too-late", "/raises-late"])
def test_an_error_after_the_first_byte_ends_the_connection_early(serve: Serve, server: Server, path: str) -> None:
    """No client takes what it got for the whole; exc_info is raised again in the app, and the iterable is closed."""
    served = serve("wsgi:app", server)
    with served.client() as client:
        client.request("GET", path)
        response = client.getresponse()
        assert response.status == 200
        with pytest.raises(http.client.IncompleteRead):
            response.read()
    served.says(f"closed {path}")
    if path == "/too-late":
        assert "raised again" in served.process.output


@pytest.mark.parametrize("path", ["/endless", "/flood"])
def test_a_client_that_goes_away_gives_its_thread_back(serve: Serve, server: Server, path: str) -> None:
    """More streams than threads, all of them abandoned: each iterable is closed, and others are answered."""
    served = serve("wsgi:app", server, threads=2)
    for number in range(4):
        with served.visitor() as visitor:
            visitor.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert visitor.recv(100).startswith(b"HTTP/1.1 200")
            if number % 2:  # resets the connection
                visitor.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    began = time.monotonic()
    assert ask(served, "/")[0].status == 200
    assert time.monotonic() - began < 10
    while served.process.output.count(f"closed {path}") < 4:
        assert time.monotonic() - began < 10


def test_a_client_that_goes_away_within_its_body_is_heard_of(serve: Serve, server: Server) -> None:
    """Reading the body ends, so that the thread is free."""
    served = serve("wsgi:app", server, threads=1)
    with served.visitor() as visitor:
        visitor.sendall(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\nabc")
        served.says("asked /upload")
    assert ask(served, "/")[0].status == 200


def test_as_many_requests_run_at_once_as_there_are_threads(serve: Serve, server: Server) -> None:
    """Six requests of a second take three turns of two threads."""
    served = serve("wsgi:app", server, threads=2)
    began = time.monotonic()
    visitors = [socket.create_connection(served.sock.getsockname()) for _ in range(6)]
    for visitor in visitors:
        visitor.sendall(b"GET /slow?1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    for visitor in visitors:
        with visitor:
            assert read_all(visitor).startswith(b"HTTP/1.1 200")
    assert 2.9 < time.monotonic() - began < 5.9


def test_a_body_is_read_to_its_end(serve: Serve, server: Server) -> None:
    """With a length and in chunks, whole and in lines."""
    served = serve("wsgi:app", server)
    assert ask(served, "/upload", "POST", b"x" * 300_000)[1] == b"300000"
    assert ask(served, "/lines", "POST", b"one\ntwo\nthree")[1] == b"4 2"
    with served.client() as client:
        client.request("POST", "/upload", iter([b"x" * 100_000] * 3), encode_chunked=True)
        assert client.getresponse().read() == b"300000"


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


def test_the_validator_of_the_standard_library_has_no_complaint(serve: Serve, server: Server) -> None:
    """wsgiref.validate checks each side of PEP 3333 at every call."""
    served = serve("wsgi:validated", server)
    for method in ("GET", "HEAD", "POST"):
        response, body = ask(served, "/caf%C3%A9/%FF?q", method)
        assert (response.status, body) == (200, b"" if method == "HEAD" else b"plain")
    assert "AssertionError" not in served.process.output
    assert "WSGIWarning" not in served.process.output


def test_a_drain_that_ended_does_not_wait_for_a_thread(serve: Serve) -> None:
    """Invariant 6: what has had its budget and still runs is left behind, and its client was told 503."""
    served = serve("wsgi:app")
    with served.client() as client:
        client.request("GET", "/slow?60")
        served.says("asked /slow")
        served.retire()
        assert client.getresponse().status == 503
    assert served.process.status(15) == 0
    assert "Traceback" not in served.process.output


def test_a_drain_waits_for_what_runs_in_a_thread(serve: Serve) -> None:
    """Invariant 6: a request under way is answered, and says close."""
    served = serve("wsgi:app", requests=5)
    with served.client() as client:
        client.request("GET", "/slow?1")
        served.says("asked /slow")
        served.retire()
        response = client.getresponse()
        assert (response.status, response.headers["connection"], response.read()) == (200, "close", b"ok")
    assert served.process.status() == 0
