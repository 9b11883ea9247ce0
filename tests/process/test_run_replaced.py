"""`gapless run` is restarted as planned: another gapless goes on in its place, under traffic."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gapless.errors import GaplessError
from gapless.switch.embedded import replacement
from gapless.switch.embedded.home import EmbeddedHome
from tests.contract.worlds import traffic
from tests.host.advice import hint
from tests.process.conftest import Project
from tests.support import inode_of, start, wait_until


def test_a_planned_restart_hands_over(project: Project) -> None:
    """Invariants 1 and 7: again and again nothing is lost; process, socket and release stay, and all goes on."""
    supervisor = project.supervise()
    before, inode = project.json("status"), inode_of(project.port)
    with traffic(("127.0.0.1", project.port)):
        for _ in range(3):
            said = project.json("run", "--replace")
            assert said["pid"] == supervisor.pid
        after = project.json("status")
        assert after["supervisor"]["since"] > before["supervisor"]["since"]
        assert after["supervisor"]["version"] == said["version"]
        assert after["instances"][0]["pid"] == before["instances"][0]["pid"]
        assert inode_of(project.port) == inode
        # It deploys, restarts what dies, and reaps it: it is still the parent.
        project.app("two")
        project("deploy")
        live = wait_until(lambda: [one for one in project.json("status")["instances"] if one["role"] == "live"])[0]
    os.kill(live["pid"], signal.SIGKILL)
    assert project.answers() == "two"
    supervisor.says(f"{live['id']} (pid {live['pid']}) was killed by SIGKILL")
    # Ctrl-C ends it all, as ever.
    supervisor.kill(signal.SIGINT)
    assert supervisor.status() == 0
    assert project.answers() == ""


def test_the_port_stays_open_when_nothing_runs(project: Project) -> None:
    """Invariant 1: the sockets are handed over themselves, so it takes no release to keep them."""
    supervisor = project.supervise()
    live = project.json("status")["instances"][0]
    inode = inode_of(project.port)
    # What cannot start any more: only the supervisor has the socket.
    (project.home / "releases" / live["release"]).rename(project.home / "releases" / "away")
    project.kill(live["pid"])
    wait_until(lambda: project.json("status", status=1)["instances"] == [])
    with socket.create_connection(("127.0.0.1", project.port)) as waits:
        project("run", "--replace")
        assert inode_of(project.port) == inode
        (project.home / "releases" / "away").rename(project.home / "releases" / live["release"])
        waits.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"one" in waits.makefile("rb").read()
    assert supervisor.process.poll() is None


def test_modules_of_the_project_are_no_part_of_it(project: Project, tmp_path: Path) -> None:
    """Whoever goes on in its place, or makes its first release, imports nothing from where it runs: `queue.py`, say."""
    for name in ("gapless.py", "queue.py", "json.py"):
        (project.folder / name).write_text("raise SystemExit('of the project')")
    command = str(Path(sys.executable).with_name("gapless"))  # as it is installed: it does not look there either
    run = start(tmp_path)
    try:
        supervisor = run(command, "run", cwd=project.folder)
        supervisor.says("is live")
        subprocess.run([command, "run", "--replace"], cwd=project.folder, check=True, timeout=60)
        assert supervisor.process.poll() is None
    finally:
        run.end()


def test_a_name_that_somebody_takes_meanwhile(project: Project) -> None:
    """Invariant 5: any local user can bind the abstract name of a notify socket in between, and keeps nobody away."""
    supervisor = project.supervise()
    before = project.json("status")["instances"][0]
    supervisor.kill(signal.SIGKILL)
    supervisor.process.wait()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as taken:
        taken.bind(EmbeddedHome(project.home).notify(before["id"]))
        follower = project.supervise()
        follower.says("is not heard: another process has the name")
        after = wait_until(lambda: project.json("status")["instances"])
        assert [one["pid"] for one in after] == [before["pid"]]
        project.app("two")
        project("deploy")
        assert project.answers() == "two"


def test_a_signal_during_the_exchange_is_heard_after_it(project: Project) -> None:
    """Invariant 6: SIGTERM at any moment of it ends the app in a drain, and leaves nobody unsupervised."""
    supervisor = project.supervise()
    replacing = project.start("run", "--replace")
    supervisor.says("leaving to")
    supervisor.kill(signal.SIGTERM)
    assert supervisor.status() == 0
    replacing.status()
    assert project.answers() == ""


def test_what_cannot_be_replaced_says_why(project: Project) -> None:
    """Invariants 2 and 8: no supervisor, a changed address, a deploy under way."""
    assert "gapless run" in project("run", "--replace", status=1)
    assert not project.home.exists()
    supervisor = project.supervise()
    port, project.port = project.port, 1
    project.configure()
    said = project("run", "--replace", status=1)
    assert "gapless.toml says 127.0.0.1:1" in said
    assert hint(said).startswith(
        "put the address back, or end it with `kill` and start `gapless run`: the port is closed"
    )
    project.port = port
    project.configure()
    project("run", "--replace")
    (project.folder / "app.py").write_text("import time; time.sleep(60)")
    deploying = project.start("deploy")
    wait_until(lambda: project.json("status")["locked_by"])
    assert "deploy" in project("run", "--replace", status=75)
    deploying.kill(signal.SIGKILL)
    deploying.status()
    assert project.answers() == "one"
    assert supervisor.process.poll() is None
    # The other way to another address, as it is advised.
    with socket.create_server(("127.0.0.1", 0)) as free:
        project.port = free.getsockname()[1]
    project.configure()
    supervisor.kill(signal.SIGTERM)
    assert supervisor.status() == 0
    project.supervise()
    assert project.answers() == "one"


# Takes as long to start as a file says.
PATIENT = """
import pathlib, time
while pathlib.Path({wait!r}).exists():
    time.sleep(0.05)
"""


def test_what_is_not_the_moment_for_it_passes(project: Project, tmp_path: Path) -> None:
    """Invariants 3 and 8: while a release starts it is refused, and possible when that is over."""
    wait = tmp_path / "wait"
    app = project.folder / "app.py"
    app.write_text(PATIENT.format(wait=str(wait)) + app.read_text())
    project.supervise()
    wait.touch()
    project.kill(project.json("status")["instances"][0]["pid"])
    wait_until(lambda: [one["role"] for one in project.json("status", status=1)["instances"]] == ["live"])
    assert hint(project("run", "--replace", status=1)) == "try again when that is over"
    wait.unlink()
    assert project.answers() == "one"
    wait_until(lambda: project.json("status")["instances"][0]["ready"])
    project("run", "--replace")


def test_a_successor_that_does_not_come(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariants 1 and 11: one that is not there is refused, one that fails says why: both harm nobody."""
    supervisor = project.supervise()
    before = project.json("status")["instances"][0]["pid"]
    python = tmp_path / "python"
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(replacement, "PATIENCE", 1.0)

    def replaced(advised: str) -> None:
        with pytest.raises(GaplessError) as refused:
            replacement.replace(EmbeddedHome(project.home), [f"127.0.0.1:{project.port}"])
        assert refused.value.hint == advised

    replaced("call a gapless that the supervisor can execute, too")
    assert supervisor.process.poll() is None
    python.write_text("#!/bin/sh\necho it is too old >&2; exit 1\n")
    python.chmod(0o755)
    replaced("what serves goes on; its output says why, and `gapless run` supervises again")
    supervisor.says("it is too old")
    assert project.answers() == "one"
    monkeypatch.undo()
    project.start("run")
    wait_until(lambda: project.json("status")["supervisor"])
    assert project.json("status")["instances"][0]["pid"] == before
