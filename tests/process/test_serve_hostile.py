"""gapless serve beside programs that spoil the shared socket, and with workers that die at the worst moment."""

from __future__ import annotations

import os
import resource
import signal
import socket
from pathlib import Path

from gapless.serve.settings import Settings
from gapless.serve.stage import Stage
from gapless.serve.worker import Worker
from gapless.serve.workers import Parent
from tests.process.test_serve_workers import pids, serve
from tests.support import APPS, GAPLESS, get, keep_alive_client, listening, start, wait_until


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


def test_a_replacement_that_dies_as_it_is_proven_does_not_end_the_others() -> None:
    """Invariant 1, trap 9: leave to accept that cannot be delivered is not the end of the parent."""
    parent = Parent(Settings(app="app:app", workers=2), [], lambda *_: 0)
    parent.state = Stage.SERVING
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    parent._workers[0] = Worker(0, 0, ours)
    theirs.send(b'{"state": "proven", "told": 0}')
    theirs.close()  # killed before its SIGCHLD is read
    with ours:
        parent._on_status(ours)
    assert parent._workers[0].proven


def test_a_worker_that_cannot_be_replaced_is_tried_again(run: start, tmp_path: Path) -> None:
    """Invariant 1, trap 9: no descriptor left for a new worker costs one worker for a while, not the service."""
    with listening() as sock:
        one = serve(run, sock, tmp_path, "app:app")
        one.says("serving, 2 workers")
        before = wait_until(lambda: pids(tmp_path) if len(pids(tmp_path)) == 2 else [])
        soft, hard = resource.prlimit(one.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(one.pid, resource.RLIMIT_NOFILE, (3, hard))
        os.kill(before[0], signal.SIGKILL)
        one.says("trying again")
        assert get(sock.getsockname())[0] == 200
        resource.prlimit(one.pid, resource.RLIMIT_NOFILE, (soft, hard))
        wait_until(lambda: len(pids(tmp_path)) == 2)
        assert before[1] in pids(tmp_path)
