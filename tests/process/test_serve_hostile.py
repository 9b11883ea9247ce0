"""gapless serve beside programs that spoil the shared socket, and with workers that die at the worst moment."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

from tests.support import APPS, GAPLESS, get, keep_alive_client, listening, start


def test_another_program_that_makes_the_socket_block_freezes_nobody(run: start) -> None:
    """Invariants 1 and 3, trap 4: O_NONBLOCK is shared, and accepting goes on without it."""
    with listening() as sock:
        run(*GAPLESS, "serve", "app:app", "--app-dir", APPS, sockets=[sock]).says("serving")
        sock.setblocking(True)
        for _ in range(3):
            assert get(sock.getsockname(), timeout=3)[0] == 200
            sock.setblocking(True)


def test_a_connection_that_becomes_idle_late_has_the_whole_linger_time(run: start, tmp_path: Path) -> None:
    """Invariant 6, trap 2: a response that began before the drain did not say close, so its client may go on."""
    with listening() as sock:
        flags = ("--app-dir", APPS, "--private", str(tmp_path / "p"), "--linger", "600ms")
        one = run(*GAPLESS, "serve", "app:app", *flags, sockets=[sock])
        one.says("serving")
        with keep_alive_client(sock) as client:
            client.request("GET", "/stream")  # ends after 1 s
            response = client.getresponse()
            one.kill(signal.SIGTERM)
            assert response.read() == b"begun ok"
            assert not closed_within(client.sock, 0.3)
            client.request("POST", "/echo", body=b"!")
            answer = client.getresponse()
            assert (answer.status, answer.headers["connection"], answer.read()) == (200, "close", b"ok!")
        assert one.status() == 0


def closed_within(sock: socket.socket, seconds: float) -> bool:
    """Whether the other end closes `sock` in this time."""
    before = sock.gettimeout()
    sock.settimeout(seconds)
    try:
        return sock.recv(1, socket.MSG_PEEK) == b""
    except TimeoutError:
        return False
    finally:
        sock.settimeout(before)
