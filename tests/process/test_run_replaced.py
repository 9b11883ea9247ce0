"""`gapless run` is restarted as planned: another gapless goes on in its place, under traffic."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.contract.worlds import traffic
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
    assert "gapless.toml says 127.0.0.1:1" in project("run", "--replace", status=1)
    project.port = port
    project.configure()
    (project.folder / "app.py").write_text("import time; time.sleep(60)")
    deploying = project.start("deploy")
    wait_until(lambda: project.json("status")["locked_by"])
    assert "deploy" in project("run", "--replace", status=75)
    deploying.kill(signal.SIGKILL)
    deploying.status()
    assert project.answers() == "one"
    assert supervisor.process.poll() is None
