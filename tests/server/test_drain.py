"""A server that drains: each budget counts from the moment that the work began, and what is cut is told so."""

from __future__ import annotations

import http.client
import os
import socket
import time
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.server.conftest import Serve
from tests.server.served import Served, read_all
from tests.support import wait_until

FAT = 16 * 2**20
UPLOAD = b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n"

HANDSHAKE = (
    b"GET /ws-never HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def upload(visitor: socket.socket, seconds: float, parts: int = 20) -> None:
    """Send so many bytes of a body, one after another, in this time."""
    for _ in range(parts):
        visitor.sendall(b"x")
        time.sleep(seconds / parts)  # a slow client


def test_an_upload_that_makes_progress_has_the_streams_budget(serve: Serve) -> None:
    """Invariant 6: a body that keeps arriving for three times the requests budget is taken to its end and answered."""
    served = serve()
    with served.visitor() as visitor:
        visitor.sendall(UPLOAD)
        served.says("asked /upload")
        served.retire()
        upload(visitor, 3)
        assert read_all(visitor).endswith(b"20\r\n0\r\n\r\n")
    assert served.process.status() == 0
    assert "cut off" not in served.process.output


def test_an_upload_that_stalls_is_told_503(serve: Serve) -> None:
    """Invariant 6: no part of the body for the whole requests budget: the client gets an answer, not silence."""
    served = serve()
    with served.visitor() as visitor:
        visitor.sendall(UPLOAD + b"x")
        served.says("reading")
        began = served.retire()
        answer = read_all(visitor)
        assert answer.startswith(b"HTTP/1.1 503 "), answer
        assert b"connection: close" in answer.lower()
        assert time.monotonic() - began >= 0.9
    assert served.process.status() == 0


def test_a_client_that_goes_on_to_send_reads_its_503(serve: Serve) -> None:
    """Invariant 6: an upload at the end of the streams budget is answered though its body still comes."""
    served = serve(streams=1)
    with served.visitor() as visitor:
        visitor.sendall(UPLOAD.replace(b"20", b"100000000") + b"x")
        served.says("reading")
        served.retire()
        visitor.settimeout(0.1)
        answer = b""
        deadline = time.monotonic() + 20
        while not answer and time.monotonic() < deadline:
            visitor.sendall(b"x" * 1000)
            try:
                answer = visitor.recv(1000)
            except TimeoutError:
                continue
        assert answer.startswith(b"HTTP/1.1 503 "), answer
    assert served.process.status() == 0


@pytest.mark.parametrize("head", [b"GET /", b"GET / HTTP/1.1\r\nHost: x\r\n"])
def test_half_a_head_on_an_idle_connection_is_a_request(serve: Serve, head: bytes) -> None:
    """Invariant 6: a head that comes just before the linger time is over has the requests budget to come whole."""
    served = serve(linger=1, requests=3)
    with served.visitor() as visitor:
        visitor.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: visitor.recv(1000).endswith(b"0\r\n\r\n"))
        began = served.retire()
        visitor.sendall(head)
        wait_until(lambda: time.monotonic() - began > 1.5)
        visitor.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[len(head) :])
        assert read_all(visitor).startswith(b"HTTP/1.1 200")
    assert served.process.status() == 0


def test_work_after_a_response_has_the_requests_budget_from_its_beginning(serve: Serve) -> None:
    """Invariant 6: a background task that begins when the drain is older than the requests budget runs to its end."""
    served = serve(requests=3, linger=8)
    with served.client() as client:
        client.request("GET", "/")
        client.getresponse().read()
        began = served.retire()
        wait_until(lambda: time.monotonic() - began > 3.5)
        client.request("GET", "/after?2.5")
        assert client.getresponse().read() == b"ok"
    assert served.process.status() == 0
    assert "after: done" in served.process.output


def test_work_after_a_response_ends_with_its_budget(serve: Serve) -> None:
    """Invariant 6: what never ends is cut off, and said in a line without a traceback."""
    served = serve(linger=1, requests=1)
    with served.client() as client:
        client.request("GET", "/after?60")
        client.getresponse().read()
        served.retire()
    assert served.process.status(15) == 0
    assert "work that outlived its response is cut off: http /after" in served.process.output
    assert "Traceback" not in served.process.output


def websocket(served: Served, path: str = "/ws") -> ClientConnection:
    return connect(f"ws://127.0.0.1:{served.port}{path}", compression=None, max_size=None)


def until_closed(client: ClientConnection) -> tuple[int, int]:
    """How many bytes still come, and the code that the WebSocket is closed with."""
    taken = 0
    while True:
        try:
            taken += len(client.recv(timeout=20))
        except ConnectionClosed as closed:
            return taken, closed.rcvd.code if closed.rcvd else 1006


def test_work_after_a_websocket_has_the_requests_budget_from_its_beginning(serve: Serve) -> None:
    """Invariant 6: a document is saved though that takes longer than the drain's own requests budget lasts."""
    served = serve(requests=3, streams=8)
    with websocket(served) as first, websocket(served) as second:
        for client in (first, second):  # the second is told to go after 2 s
            client.send("hello")
            assert client.recv(timeout=20) == "hello"
        served.retire()
        for client in (first, second):
            assert until_closed(client) == (0, 1012)
    assert served.process.status() == 0
    assert served.process.output.count("ws: saved") == 2


@pytest.mark.parametrize("path", ["/flood", "/fat"])
def test_a_client_that_does_not_read_has_the_streams_budget(serve: Serve, path: str) -> None:
    """Invariant 6: whether its handler is blocked in send or all was sent, it may go on seconds later."""
    served = serve(linger=0.5, requests=0.5, streams=6)
    with served.client() as client:
        client.request("GET", path)
        served.says(f"asked {path}")
        response = client.getresponse()
        began = served.retire()
        wait_until(lambda: time.monotonic() - began > 3.5)
        assert len(response.read()) >= FAT
    assert served.process.status() == 0
    assert "cut off" not in served.process.output


def test_a_websocket_that_is_not_read_has_the_streams_budget(serve: Serve) -> None:
    """Invariant 6: a client that reads again after seconds gets what was sent, and then the close code."""
    served = serve(requests=0.5, streams=8)
    with websocket(served, "/ws-flood") as client:
        client.recv(timeout=20)
        began = served.retire()
        wait_until(lambda: time.monotonic() - began > 3.5)
        _, code = until_closed(client)
        assert code == 1012
    assert served.process.status() == 0


def test_a_stream_that_ends_with_its_budget_is_one_line(serve: Serve) -> None:
    """Invariant 8: an endless stream ends at every deploy: no error, no traceback, one line."""
    served = serve(streams=1)
    with served.client() as client:
        client.request("GET", "/events")
        response = client.getresponse()
        before = served.process.output
        served.retire()
        with pytest.raises(http.client.IncompleteRead):
            response.read()
    assert served.process.status(15) == 0
    said = served.process.output.removeprefix(before)
    assert said.count("cut off") == 1
    assert "Traceback" not in said
    assert "ERROR" not in said


def test_what_the_app_does_once_it_has_shut_down_is_not_waited_for(serve: Serve) -> None:
    """`lifespan.shutdown.complete` ends the wait, whatever the app's task does then."""
    served = serve(env={"SHUTDOWN": "lingers"}, requests=20)
    served.retire()
    assert served.process.status(10) == 0
    assert "cut off" not in served.process.output


def test_a_shutdown_that_failed_is_logged_with_its_message(serve: Serve) -> None:
    """Invariant 8: `lifespan.shutdown.failed` says why, and the log has it."""
    served = serve(env={"SHUTDOWN": "fails"})
    served.retire()
    assert served.process.status() == 0
    assert "the ledger is not closed" in served.process.output


def test_without_linger_every_answer_says_close(serve: Serve) -> None:
    """Invariant 6: connections that are closed at once are not left for clients to send their next request on."""
    served = serve(linger=0)
    for _ in range(20):
        with served.client() as client:
            client.request("GET", "/")
            response = client.getresponse()
            assert (response.status, response.headers["connection"]) == (200, "close")


@pytest.mark.parametrize("parser", ["httptools", "h11"])
def test_an_answer_that_comes_before_its_upload_is_read(serve: Serve, tmp_path: Path, parser: str) -> None:
    """Invariant 6: the app does not take the body, and the client still sends it: the answer says close, no reset."""
    if parser == "h11":  # uvicorn takes it where there is no other
        (tmp_path / "httptools.py").write_text("raise ImportError")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    served = serve(requests=5, env={"PYTHONPATH": path})
    with served.visitor() as visitor:
        visitor.sendall(UPLOAD.replace(b"/upload", b"/early?0.5").replace(b"20", b"%d" % FAT))
        served.says("asked /early")
        served.retire()
        for _ in range(10):
            visitor.sendall(b"x" * (FAT // 10))
            time.sleep(0.1)  # a slow client
        answer = read_all(visitor)
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    assert b"connection: close" in answer
    assert served.process.status(15) == 0


def test_who_closes_a_websocket_and_reads_nothing_ends_no_others_request(serve: Serve) -> None:
    """Invariant 6: a request that comes just before the other's budget ends has its own."""
    served = serve(linger=8, requests=3, streams=2)
    with served.visitor() as asleep, served.client() as client:
        asleep.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        asleep.sendall(HANDSHAKE.replace(b"/ws-never", b"/ws-flood"))
        served.says("asked /ws-flood")
        client.request("GET", "/")
        client.getresponse().read()
        asleep.sendall(bytes([0x88, 0x82, 0, 0, 0, 0, 3, 0xE8]))  # Close, 1000
        began = served.retire()
        wait_until(lambda: time.monotonic() - began > 2.2)
        client.request("GET", "/slow?1.5")
        assert client.getresponse().read() == b"ok"
    assert served.process.status(15) == 0
    assert "Traceback" not in served.process.output


@pytest.mark.parametrize("stays", [False, True])
def test_a_client_that_pipelines_and_goes_keeps_nobody(serve: Serve, stays: bool) -> None:
    """Invariant 6: the request that is answered hears of it, though others came after it; or its budget ends."""
    served = serve(linger=1, requests=1, streams=1)
    with served.visitor() as visitor:
        visitor.sendall(b"GET /waits HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        wait_until(lambda: b"begun" in visitor.recv(1000))
        if not stays:
            visitor.close()
        served.retire()
        assert served.process.status(15) == 0
    assert stays or "gone" in served.process.output


def test_an_upload_is_refused_once(serve: Serve) -> None:
    """Invariant 6: whoever is told 503 and does not close is not refused once more, by what watches over bodies."""
    served = serve(linger=1, requests=1, streams=1, body=2)
    with served.visitor() as visitor:
        visitor.sendall(UPLOAD + b"x")
        served.says("reading")
        began = time.monotonic()
        wait_until(lambda: time.monotonic() - began > 1)
        served.retire()
        assert visitor.recv(1000).startswith(b"HTTP/1.1 503 ")
        assert served.process.status(15) == 0
    assert "Traceback" not in served.process.output


def test_who_waits_to_be_told_to_send_is_refused_once(serve: Serve) -> None:
    """Invariant 6: the app asks for the body after that; nothing is said to the client any more."""
    served = serve(linger=1, requests=1, streams=1)
    with served.visitor() as visitor:
        visitor.sendall(
            UPLOAD.replace(b"/upload", b"/upload?1.8").replace(b"Host: x", b"Host: x\r\nExpect: 100-continue")
        )
        served.says("asked /upload")
        served.retire()
        answer = read_all(visitor)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"100" not in answer.partition(b"\r\n")[2].partition(b"\r\n\r\n")[0]
        assert served.process.status(15) == 0
    assert "Traceback" not in served.process.output
