"""gapless serve counts whom it turns away, for its manager to see: in one process, of workers, and of one that died."""

from __future__ import annotations

import os
import re
import signal
import socket
from pathlib import Path

import pytest

from tests.process.conftest import Project
from tests.support import APPS, GAPLESS, Started, listening, start, status_of, wait_until

LIMITS = ("--head-timeout", "500ms", "--head-size", "2000", "--body-timeout", "500ms")
GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
BEGUN = {
    "slow_heads": GET,
    "large_heads": GET + b"a: " + b"x" * 10_000,
    "stalled_bodies": GET.replace(b"GET /", b"POST /echo") + b"Content-Length: 2\r\n\r\nx",
}


@pytest.mark.parametrize(("workers", "parser"), [("1", "httptools"), ("1", "h11"), ("2", "httptools")])
def test_each_that_is_turned_away_is_counted(run: start, tmp_path: Path, workers: str, parser: str) -> None:
    """Invariant 6: each use of a limit is counted by its kind, and a worker that dies takes no count with it."""
    env = {"PYTHONPATH": str(tmp_path)}
    if parser == "h11":  # uvicorn takes it where there is no other
        (tmp_path / "httptools.py").write_text("raise ImportError")
    private = tmp_path / "p"
    with listening() as sock:
        argv = (*GAPLESS, "serve", "app:app", "--app-dir", APPS, "--private", str(private), "--workers", workers)
        one: Started = run(*argv, *LIMITS, "--linger", "1s", sockets=[sock], env=env)
        one.says("serving")
        for begun in BEGUN.values():
            for _ in range(2):
                with socket.create_connection(sock.getsockname(), timeout=20) as visitor:
                    visitor.sendall(begun)
                    assert re.match(b"HTTP/1.1 (408|431) ", visitor.recv(1000))
                    while visitor.recv(1000):
                        pass
        counts = {**dict.fromkeys(BEGUN, 2), "packed_messages": 0, "unread": 0}
        told = wait_until(lambda: (now := status_of(private))["turned_away"] == counts and now)
        one.says("turned away: ")
        if workers != "1":
            os.kill(told["workers"][0]["pid"], signal.SIGKILL)
            one.says("replaced in")
            assert status_of(private)["turned_away"] == counts


def test_the_status_tells_whom_a_release_turned_away(project: Project) -> None:
    """Invariant 6: [serve] reaches the server, and `gapless status` says how often it was used, and for what."""
    project.configure(more='serve = { head_timeout = "500ms", head_size = 2000 }')
    project.supervise()
    assert "turned away" not in project("status")
    for begun, status in ((GET, b"408"), (BEGUN["large_heads"], b"431")):
        with socket.create_connection(("127.0.0.1", project.port), timeout=20) as visitor:
            visitor.sendall(begun)
            assert status in visitor.recv(1000)
    assert re.search(r"\S+ turned away 1 slow heads, 1 large heads\.", project("status"))
