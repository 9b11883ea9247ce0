"""gapless serve --workers: one READY=1 for all, none accepts early, the dead are replaced."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gapless.serve import instance_socket
from gapless.serve.settings import Settings
from gapless.serve.stage import Stage
from gapless.serve.worker import Worker
from gapless.serve.workers import Parent
from tests.support import APPS, GAPLESS, Started, get, keep_alive_client, listening, start, status_of, wait_until


def serve(run: start, sock: socket.socket, folder: Path, app: str, *flags: str, **env: str) -> Started:
    common = ("--app-dir", APPS, "--workers", "2", "--private", str(folder / "p"), "--linger", "2")
    return run(*GAPLESS, "serve", app, *common, *flags, sockets=[sock], env=env)


def pids(folder: Path) -> list[int]:
    return [one["pid"] for one in status_of(folder / "p")["workers"] if one.get("state") == "serving"]


def test_all_are_proven_before_one_accepts_and_before_ready(run: start, tmp_path: Path) -> None:
    """Invariant 4, trap 9: no worker serves before both are proven, and READY=1 is said once."""
    with listening() as sock, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "n"))
        manager.settimeout(10)
        env = {"NOTIFY_SOCKET": str(tmp_path / "n")}
        one = serve(run, sock, tmp_path, "app:app", "--check", "/health", "--release", "R1", **env)
        while not manager.recv(100).startswith(b"READY=1"):
            pass
        said = one.output
        assert said.count("INFO proven\n") == 2
        assert said.rindex("INFO proven\n") < said.find("INFO serving\n") or "INFO serving\n" not in said
        wait_until(lambda: len(pids(tmp_path)) == 2)
        assert status_of(tmp_path / "p")["release"] == "R1"


WORKERS_FAIL = [
    ("app:app", "/status/503", ["Error: cannot prove GET /status/503 in private: it answered 503", "Try:"]),
    ("app:fails_in_lifespan", "", ["the database is not there"]),
    ("missing_import:app", "", ["No module named 'not_installed'"]),
    ("app:exits", "", ["Error: cannot start worker", "it exited with status 3 before it was proven", "Try:"]),
]


@pytest.mark.parametrize(("app", "path", "said"), WORKERS_FAIL)
def test_one_worker_that_cannot_be_proven_fails_all(
    run: start, tmp_path: Path, app: str, path: str, said: list[str]
) -> None:
    """Invariants 4 and 8: exit status not 0, nothing accepted; the cause is said last, and to who waits for READY=1."""
    with listening() as sock, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "n"))
        manager.settimeout(10)
        flags = ("--check", path, "--check-timeout", "500ms")
        one = serve(run, sock, tmp_path, app, *flags, NOTIFY_SOCKET=str(tmp_path / "n"))
        assert one.status() == 1
        assert "serving" not in one.output
        last = " ".join(" ".join(one.output.splitlines()[-6:]).split())
        for words in said:
            assert words in last, one.output
        assert said[0].removeprefix("Error: ").encode() in manager.recv(1000)


def test_a_dead_worker_is_replaced(run: start, tmp_path: Path) -> None:
    """Trap 9: SIGKILL of a worker costs its connections, not the service; a proven one takes its place."""
    with listening() as sock:
        serve(run, sock, tmp_path, "app:app", "--check", "/health").says("serving, 2 workers")
        before = wait_until(lambda: pids(tmp_path) if len(pids(tmp_path)) == 2 else [])
        os.kill(before[0], signal.SIGKILL)
        after = wait_until(lambda: [pid for pid in pids(tmp_path) if pid not in before])
        assert after
        assert get(sock.getsockname())[0] == 200


def test_workers_that_served_well_are_replaced_at_once(run: start, tmp_path: Path) -> None:
    """Trap 9: however many were killed before, a worker that had been proven is no failed start."""
    with listening() as sock:
        one = serve(run, sock, tmp_path, "app:app")
        one.says("serving, 2 workers")
        for _ in range(7):
            before = wait_until(lambda: pids(tmp_path) if len(pids(tmp_path)) == 2 else [])
            os.kill(before[0], signal.SIGKILL)
            wait_until(lambda before=before: before[0] not in pids(tmp_path))  # type: ignore[misc]  # of a default
        for pid in wait_until(lambda: pids(tmp_path) if len(pids(tmp_path)) == 2 else []):
            os.kill(pid, signal.SIGKILL)
        began = time.monotonic()
        assert get(sock.getsockname())[0] == 200
        assert time.monotonic() - began < 5  # a boot, on a busy machine


def ended(parent: Parent, number: int, *, proven: bool) -> float:
    """Seconds after which the parent replaces a worker that ended."""
    ours, theirs = socket.socketpair()
    theirs.close()
    worker = Worker(number, 0, ours, status={"state": Stage.SERVING} if proven else {})
    parent._ended(worker, 1)
    return parent._replace_at[number] - time.monotonic()


def test_each_worker_that_fails_at_its_start_has_a_back_off_of_its_own() -> None:
    """Trap 9: one that fails again and again waits longer; another that had served does not; a success forgets."""
    parent = Parent(Settings(app="app:app", workers=3), [], lambda *_: 0)
    parent.state = Stage.SERVING
    ours, theirs = socket.socketpair()
    with ours, theirs:
        parent._workers[1] = Worker(2, 1, ours)
        waits = [ended(parent, 0, proven=False) for _ in range(9)]
        assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10], abs=0.05)
        assert ended(parent, 1, proven=True) == pytest.approx(0, abs=0.05)
        assert ended(parent, 0, proven=True) == pytest.approx(0, abs=0.05)
        assert ended(parent, 0, proven=False) == pytest.approx(0.1, abs=0.05)


def test_when_no_worker_is_left_the_next_is_started_at_once() -> None:
    """Trap 9: every visitor waits for it, so the one that is due first waits for nothing; the others do as before."""
    parent = Parent(Settings(app="app:app", workers=2), [], lambda *_: 0)
    parent.state = Stage.SERVING
    ours, theirs = socket.socketpair()
    with ours, theirs:
        parent._workers[1] = Worker(1, 1, ours)
        for _ in range(9):
            ended(parent, 0, proven=False)
        parent._workers.clear()
        assert ended(parent, 1, proven=False) == pytest.approx(0.1, abs=0.05)
        assert parent._replace_at[0] - time.monotonic() > 9
        del parent._replace_at[1]
        assert ended(parent, 0, proven=False) == pytest.approx(0.1, abs=0.05)


def test_sigterm_drains_every_worker(run: start, tmp_path: Path) -> None:
    """Invariant 6, trap 9: requests under way in each worker are answered, then all are gone, status 0."""
    with listening() as sock:
        one = serve(run, sock, tmp_path, "app:app")
        one.says("serving, 2 workers")
        with keep_alive_client(sock) as first, keep_alive_client(sock) as second, keep_alive_client(sock) as third:
            for client in (first, second, third):
                client.request("GET", "/slower")
            wait_until(lambda: status_of(tmp_path / "p")["requests"] == 3)
            one.kill(signal.SIGTERM)
            for client in (first, second, third):
                response = client.getresponse()
                assert (response.status, response.headers["connection"]) == (200, "close")
                response.read()
        assert one.status() == 0


HASTY = "from gapless.serve import channel, workers; channel.BEAT, workers.HUNG = 0.1, 2.0; "


def drains(workers: list[dict[str, Any]]) -> bool:
    """Whether the parent has heard that a worker with a connection drains."""
    return any(one.get("state") == "draining" and one["connections"] for one in workers)


def test_a_worker_that_hangs_while_it_drains_is_killed(run: start, tmp_path: Path) -> None:
    """Trap 9: a loop that hangs after SIGTERM keeps its parent from ending no longer than one that hangs before."""
    command = (sys.executable, "-c", HASTY + "from gapless.__main__ import main; main()", "serve", "app:app")
    flags = ("--app-dir", APPS, "--workers", "2", "--release", "R1", "--linger", "3", "--private", str(tmp_path / "p"))
    with listening() as sock:
        one = run(*command, *flags, sockets=[sock])
        one.says("serving, 2 workers")
        with keep_alive_client(sock) as client:
            client.request("GET", "/")
            client.getresponse().read()
            one.kill(signal.SIGTERM)
            wait_until(lambda: drains(status_of(tmp_path / "p")["workers"]))
            client.request("GET", "/hang-loop")
            assert one.status(15) == 0
        assert "has said nothing for 2 s: its loop hangs; killing it" in one.output


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that heeds nothing but signals."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_a_worker_that_takes_no_orders_is_killed(child: subprocess.Popen[bytes]) -> None:
    """Trap 9: the parent waits for nobody, however many orders it has for a worker whose loop hangs."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 1, 0))  # or this test would hang
        worker = Worker(0, child.pid, ours)
        while child.poll() is None:
            worker.tell(Stage.STANDING_BY)
        assert child.wait() == -signal.SIGKILL
        assert worker.sent > 100


def test_who_asks_slowly_keeps_the_parent_from_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Trap 9: a client of the private socket has its time for the whole of its request, and not for each byte."""
    monkeypatch.setattr(instance_socket, "PATIENCE", 0.2)
    parent = Parent(Settings(app="app:app", workers=2), [], lambda *_: 0)
    answered = threading.Event()
    with instance_socket.open_private(str(tmp_path / "p")) as private, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "p"))

        def ask() -> bool:
            for _ in range(200):
                client.sendall(b"G")
                if answered.wait(0.02):
                    return True
            client.close()
            return False

        with ThreadPoolExecutor() as threads:
            asking = threads.submit(ask)
            parent._answer(private)
            answered.set()
            assert asking.result()


def test_workers_drain_when_their_parent_is_killed(run: start, tmp_path: Path) -> None:
    """Nobody would look after orphans: they finish what they accepted and go."""
    with listening() as sock:
        one = serve(run, sock, tmp_path, "app:app")
        one.says("serving, 2 workers")
        workers = wait_until(lambda: pids(tmp_path) if len(pids(tmp_path)) == 2 else [])
        with keep_alive_client(sock) as client:
            client.request("GET", "/slower")
            wait_until(lambda: status_of(tmp_path / "p")["requests"] == 1)
            one.kill(signal.SIGKILL)
            assert client.getresponse().status == 200
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
