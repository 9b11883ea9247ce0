"""Bad releases, bad moments, two at once: what serves goes on serving, and the message says what to do."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from tests.process.conftest import Project
from tests.support import wait_until

BROKEN = {
    "raises on import": ("raise RuntimeError('no settings')", "no settings"),
    "has no app": ("", "app has no attribute 'app'"),
    "exits on import": ("import sys; sys.exit(7)", "SystemExit: 7"),
    "hangs on import": ("import time; time.sleep(60)", 'app.py", line 1'),
    "dies on import": ("import os; os.kill(os.getpid(), 9)", "was killed by SIGKILL"),
}


def serves(project: Project, body: str, release: str) -> None:
    """Invariant 3: nothing that serves was touched, and no candidate is left."""
    assert project.answers() == body
    status = project.json("status")
    assert status["current"] == release
    wait_until(lambda: [one["role"] for one in project.json("status")["instances"]] == ["live"])


@pytest.mark.parametrize("what", BROKEN)
def test_a_release_that_cannot_boot_changes_nothing(project: Project, what: str) -> None:
    """Invariants 3 and 8: exit status 1, the release's last log lines, the old one serves; it is bad (11)."""
    project.supervise()
    first = project.json("status")["current"]
    code, evidence = BROKEN[what]
    (project.folder / "app.py").write_text(code)
    said = project("deploy", status=1)
    assert evidence in said + project("logs", project.json("releases")["releases"][0]["release"])
    assert "goes on serving" in said
    serves(project, "one", first)
    assert project.json("releases")["releases"][0]["state"] == "bad"
    assert "no older good release" in project("rollback", status=1)
    bad = project.json("releases")["releases"][0]["release"]
    assert "its deploy failed" in project("rollback", bad, status=1)


def test_a_release_that_fails_its_check_never_gets_a_visitor(project: Project) -> None:
    """Invariant 4: the check's status and body are shown, and no answer of the bad release is ever seen in public."""
    project.supervise()
    first = project.json("status")["current"]
    project.app("bad", status=500)
    deploy = project.start("deploy")
    answers = set()
    while deploy.process.poll() is None:
        answers.add(project.answers())
    assert answers == {"one"}
    assert deploy.status() == 1
    assert "it answered 500" in deploy.output
    serves(project, "one", first)


@pytest.mark.parametrize(
    ("more", "evidence"),
    [
        ('build = { run = "echo compiling; exit 3" }', "it exited with status 3"),
        ('build = { run = "sleep 60", timeout = "300ms" }', "it took longer than 0.3 s"),
        ('release = { migrate = "echo no such table; exit 1" }', "no such table"),
        ('release = { migrate = "sleep 60", timeout = "300ms" }', "it took longer than 0.3 s"),
        ('build = { run = ["/no/such/compiler"] }', "No such file"),
    ],
)
def test_a_build_or_migration_that_fails_or_hangs_ends_the_deploy(project: Project, more: str, evidence: str) -> None:
    """Invariants 3 and 8: the step's last output is shown, nothing was started, the old release serves."""
    project.supervise()
    first = project.json("status")["current"]
    project.configure(more)
    assert evidence in project("deploy", status=1)
    serves(project, "one", first)


def test_two_deploys_at_once(project: Project) -> None:
    """Invariant 2: the second is refused with the holder's name, or waits for its turn."""
    project.configure('build = { run = "echo building; while [ ! -e go ]; do sleep 0.05; done" }')
    project.folder.joinpath("go").touch()
    project.supervise()
    project.folder.joinpath("go").unlink()
    first = project.start("deploy")
    release = wait_until(lambda: building(project))
    refused = project("deploy", status=75)
    assert f"release {release}" in refused
    assert "another deploy" in refused or "deploy" in refused
    waiting = project.start("deploy", "--lock-wait", "30s")
    (project.folder / "go").touch()
    (project.home / "releases" / release / "go").touch()
    assert first.status() == 0
    assert waiting.status(30) == 0


def building(project: Project) -> str:
    """The release that is being built."""
    running = [one for one in project.json("audit")["deploys"] if one["outcome"] == "running"]
    log = project.home / "log" / f"{running[0]['to']}.log" if running else None
    return running[0]["to"] if log and log.exists() and "building" in log.read_text() else ""


def test_ctrl_c_in_a_build_ends_it_and_changes_nothing(project: Project) -> None:
    """Invariant 3: an interrupted deploy leaves no process and says `interrupted` in the ledger."""
    project.configure('build = { run = "echo building; [ -e ../../../go ] || exec sleep 60" }')
    (project.folder / "go").touch()
    project.supervise()
    first = project.json("status")["current"]
    (project.folder / "go").unlink()
    deploy = project.start("deploy")
    wait_until(lambda: building(project))
    deploy.kill(signal.SIGINT)
    assert deploy.status() == 130
    assert project.json("audit")["deploys"][-1]["outcome"] == "interrupted"
    serves(project, "one", first)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_deployer_that_ends_while_the_candidate_boots_leaves_what_served(
    project: Project, number: signal.Signals
) -> None:
    """Invariant 5: the candidate does not outlive its deployer, and the next deploy works."""
    project.supervise()
    first = project.json("status")["current"]
    (project.folder / "app.py").write_text("import time; time.sleep(60)")
    deploy = project.start("deploy")
    wait_until(lambda: "candidate" in [one["role"] for one in project.json("status")["instances"]])
    deploy.kill(number)
    deploy.status()
    serves(project, "one", first)
    project.app("two")
    project("deploy", "-q")
    assert project.answers() == "two"


def test_a_deploy_during_a_drain(project: Project) -> None:
    """Trap 8: several retiring instances may exist; each serves what it accepted."""
    project.configure()
    sleep = "await __import__('asyncio').sleep(2)\n    await send"
    slow = (project.folder / "app.py").read_text().replace("await send", sleep, 1)
    (project.folder / "app.py").write_text(slow)
    text = (project.folder / "gapless.toml").read_text().replace('path = "/", ', "")
    (project.folder / "gapless.toml").write_text(text)
    project.supervise()
    visitors = []
    for body in ("two", "three"):
        visitor = socket.create_connection(("127.0.0.1", project.port), timeout=20)
        visitor.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        visitors.append(visitor)
        wait_until(lambda: live(project)["requests"] == 1)
        (project.folder / "app.py").write_text(slow.replace('b"one"', f'b"{body}"'))
        project("deploy", "-q")
    roles = [one["role"] for one in project.json("status")["instances"]]
    assert roles.count("live") == 1
    for visitor in visitors:
        with visitor:
            assert b" 200 " in visitor.recv(1000)


def live(project: Project) -> dict[str, int]:
    one = next(one for one in project.json("status")["instances"] if one["role"] == "live")
    return one["status"] or {"requests": 0}


def test_a_killed_live_release_is_started_again_and_nobody_is_refused(project: Project) -> None:
    """Invariant 1: the socket stays; visitors wait in the kernel queue until the release is back."""
    project.supervise()
    for _ in range(3):
        os.kill(live(project)["pid"], signal.SIGKILL)
        assert project.answers() == "one"


def test_a_killed_supervisor_is_started_again_and_takes_the_socket_back(project: Project) -> None:
    """Invariants 1 and 5: what served goes on serving, the next `gapless run` adopts it, and deploys work."""
    supervisor = project.supervise()
    before = live(project)["pid"]
    inode = project.json("status")["supervisor"]["sockets"]
    supervisor.kill(signal.SIGKILL)
    supervisor.status()
    assert project.answers() == "one"
    status = project.json("status")
    assert status["supervisor"] is None
    assert [(one["role"], one["pid"]) for one in status["instances"]] == [("live", before)]
    assert "start it with `gapless run`" in project("status")
    project.supervise()
    assert live(project)["pid"] == before
    assert project.json("status")["supervisor"]["sockets"] == inode
    project.app("two")
    project("deploy", "-q")
    assert project.answers() == "two"


def test_a_port_in_use_is_a_clear_error(project: Project) -> None:
    """Invariant 8: `run` says which address is taken, and by whom."""
    with socket.create_server(("127.0.0.1", project.port)):
        said = project("run", status=1)
    assert f"cannot listen on 127.0.0.1:{project.port}: the address is in use by" in said
    assert f"pid {os.getpid()}" in said


@pytest.mark.parametrize(
    ("text", "evidence"),
    [
        ("name = ", "it is not valid TOML"),
        ('name = "shop"\ncommand = "x"\nlisten_on = "y"', "did you mean `listen`?"),
    ],
)
@pytest.mark.parametrize("verb", ["run", "deploy", "status", "config"])
def test_a_broken_configuration_is_named_by_every_verb(project: Project, verb: str, text: str, evidence: str) -> None:
    """Invariant 8: file, key, nearest known key; exit status 2, no traceback."""
    (project.folder / "gapless.toml").write_text(text)
    said = project(verb, status=2)
    assert evidence in said
    assert "Traceback" not in said


def test_a_wrapper_that_forks_is_explained(project: Project) -> None:
    """Trap 6: LISTEN_PID of another process ends in a message that says what to change."""
    command = json.dumps(["sh", "-c", f"{sys.executable} -m gapless serve app:app; exit"])
    project.configure(command=command)
    supervisor = project.start("run")
    assert supervisor.status() == 1
    assert "LISTEN_PID is" in supervisor.output
    assert "start it with `exec`" in supervisor.output


def test_a_full_disk_ends_a_deploy_before_it_changes_anything(project: Project) -> None:
    """Invariant 3: ENOSPC in the install is named, and what served goes on serving."""
    mounted = subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("a file system of a few MB needs root (mount namespaces)")
    project.supervise()
    first = project.json("status")["current"]
    (project.folder / "big").write_bytes(b"x" * 3_000_000)
    script = 'mount -t tmpfs -o size=1m tmpfs "$1" && shift && exec "$@"'
    releases = project.home / "releases"
    argv = ["unshare", "--mount", "sh", "-c", script, "sh", str(releases), *project.command("deploy")]
    done = subprocess.run(argv, cwd=project.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    (project.folder / "big").unlink()
    serves(project, "one", first)
