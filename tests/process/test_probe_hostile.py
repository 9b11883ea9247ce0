"""gapless probe against a server that answers what costs its client time or memory, or what a terminal would obey."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import json
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websockets.frames import Frame, Opcode
from websockets.utils import accept_key

from tests.support import GAPLESS, listening

HEAD = b"HTTP/1.1 200 OK\r\n"
NUMBERS = itertools.count()


def bomb(visitor: socket.socket) -> None:
    """64 KiB that are 64 MiB once unpacked."""
    body = gzip.compress(b"\0" * (64 << 20))
    visitor.sendall(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def endless(visitor: socket.socket) -> None:
    """A body without an end, as fast as it is taken."""
    visitor.sendall(HEAD + b"\r\n")
    while True:
        visitor.sendall(b"x" * 65536)


def continued(visitor: socket.socket) -> None:
    """Interim responses without an end."""
    while True:
        visitor.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


def named(visitor: socket.socket) -> None:
    """Another release each time, of a name that is long, and is markup and orders to a terminal."""
    name = b"%d<script>\x9b2J" % next(NUMBERS) + b"x" * 8000
    visitor.sendall(HEAD + b"Gapless-Release: " + name + b"\r\nContent-Length: 0\r\n\r\n")


def sent_elsewhere(visitor: socket.socket) -> None:
    """The handshake of a WebSocket is answered with the address of another server."""
    visitor.sendall(b"HTTP/1.1 302 Found\r\nLocation: ws://192.0.2.1:1/\r\nContent-Length: 0\r\n\r\n")


def pinged(visitor: socket.socket, key: str) -> None:
    """Pings without an end over a WebSocket, and nobody reads what they are answered with."""
    head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    visitor.sendall(f"{head}Sec-WebSocket-Accept: {accept_key(key)}\r\n\r\n".encode())
    while True:
        visitor.sendall(Frame(Opcode.PING, b"x" * 125).serialize(mask=False) * 1000)


@pytest.fixture
def answering() -> Iterator[Callable[[Callable[..., None]], int]]:
    """Start a server that answers each request with the function; returns its port."""
    with contextlib.ExitStack() as stack:

        def begin(answer: Callable[..., None]) -> int:
            listener = stack.enter_context(listening())
            listener.setblocking(True)
            threading.Thread(target=serve, args=(listener, answer), daemon=True).start()
            stack.callback(listener.shutdown, socket.SHUT_RDWR)
            return int(listener.getsockname()[1])

        yield begin


def serve(listener: socket.socket, answer: Callable[..., None]) -> None:
    with contextlib.suppress(OSError):
        while True:
            visitor, _ = listener.accept()
            threading.Thread(target=converse, args=(visitor, answer), daemon=True).start()


def converse(visitor: socket.socket, answer: Callable[..., None]) -> None:
    with visitor, contextlib.suppress(OSError):
        while asked := visitor.recv(65536):
            key = re.search(rb"Sec-WebSocket-Key: (\S+)", asked)
            answer(visitor, *([key[1].decode()] if key and answer is pinged else []))


@pytest.mark.parametrize("answer", [bomb, endless, continued, named])
def test_an_answer_that_costs_more_than_it_is_worth(
    answering: Callable[[Callable[..., None]], int], tmp_path: Path, answer: Callable[..., None]
) -> None:
    """Invariant 8: the probe ends in time with a verdict, unpacks nothing, and its page is of a page's size."""
    page = tmp_path / "report.html"
    url = f"http://127.0.0.1:{answering(answer)}"
    flags = ("--duration", "1s", "--rate", "50", "--timeout", "1s", "--report", str(page), "--kinds", "new,get,page")
    argv = ["sh", "-c", 'ulimit -v 1000000; exec "$@"', "sh", *GAPLESS, "probe", url, *flags]  # KiB
    done = subprocess.run([*argv, "--json"], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    told = json.loads(done.stdout)
    assert told["requests"] > 10
    assert len(told["releases"]) <= 50
    assert all(len(one["release"]) <= 100 for one in told["releases"])
    assert page.stat().st_size < 3 << 20
    assert "<script" not in page.read_text()
    if answer is named:
        shown = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path).stdout
        assert "\x9b" not in shown
        assert len(shown) < 20_000


@pytest.mark.parametrize("answer", [sent_elsewhere, pinged])
def test_a_websocket_of_a_hostile_site(
    answering: Callable[[Callable[..., None]], int], tmp_path: Path, answer: Callable[..., None]
) -> None:
    """Invariant 8: the probe ends with a verdict; a redirect is one, and is not followed."""
    flags = ("--duration", "1s", "--rate", "10", "--timeout", "1s", "--kinds", "ws", "--json")
    argv = [*GAPLESS, "probe", f"http://127.0.0.1:{answering(answer)}", *flags]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert json.loads(done.stdout)["lost"] > 5
    assert ("handshake status 302" in done.stdout) == (answer is sent_elsewhere)
