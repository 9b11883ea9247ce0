"""The whole tool in the order in which a newcomer meets it: init, run, deploy, look, roll back."""

from __future__ import annotations

import signal
import socket
import subprocess

import pytest

from tests.process.conftest import Project
from tests.support import get, wait_until


def test_from_init_to_rollback(project: Project) -> None:
    """Each verb does what its help says, and a release is live when `deploy` returns."""
    # 1. A configuration, guessed from the code; the second time nothing changes (invariant 7).
    (project.folder / "gapless.toml").unlink()
    assert "the app is app:app" in project("init")
    assert "Already there" in project("init")
    project.configure()
    # 2. The first release is made by `run` itself.
    project.supervise()
    first = project.json("status")["current"]
    assert project.answers() == "one"
    # 3. A deploy: the plan first, then the real one.
    project.app("two")
    assert "Make " in project("deploy", "-n")
    assert project.answers() == "one"
    deployed = project.json("deploy")
    assert (deployed["previous"], deployed["outcome"]) == (first, "switched")
    assert [phase["name"] for phase in deployed["phases"]] == ["install", "seal", "switch over", "prune"]
    assert project.answers() == "two"
    # 4. What there is now.
    releases = project.json("releases")["releases"]
    assert [(one["release"], one["state"]) for one in releases] == [(deployed["release"], "current"), (first, "good")]
    status = project.json("status")
    live = next(one for one in status["instances"] if one["role"] == "live")
    assert (live["release"], live["status"]["state"]) == (deployed["release"], "serving")
    assert "serving" in project("logs")
    # 5. Back, and back again: the second time there is nothing older to go to.
    assert f"{first} is live" in project("rollback")
    assert project.answers() == "one"
    assert "no older good release" in project("rollback", status=1)
    assert "already live" in project("rollback", first)
    # 6. Who did what.
    assert [one["verb"] for one in project.json("audit")["deploys"]] == ["deploy", "deploy", "rollback"]
    assert "Already pruned" in project("prune")


def test_the_listening_socket_stays_the_same_through_deploys(project: Project) -> None:
    """Invariant 1, trap 4: neither the socket's inode nor its backlog changes, whatever serves."""
    project.supervise()
    before = project.json("status")["supervisor"]["sockets"]
    for body in ("two", "three"):
        project.app(body)
        project("deploy", "-q")
        assert project.answers() == body
    assert project.json("status")["supervisor"]["sockets"] == before


@pytest.mark.parametrize(("written", "both"), [("[::]", ["[::]", "0.0.0.0"]), ("localhost", ["127.0.0.1", "[::1]"])])
def test_what_is_ipv4_and_ipv6_is_held_in_both(project: Project, written: str, both: list[str]) -> None:
    """Invariant 1: a socket for each, the same ones after a deploy and after the supervisor was killed."""
    config = project.folder / "gapless.toml"
    config.write_text(config.read_text().replace("127.0.0.1", written))
    supervisor = project.supervise()
    held = project.json("status")["supervisor"]["sockets"]
    assert [*held] == [f"{one}:{project.port}" for one in both]
    assert project.json("status")["listen"] == [*held]
    project.app("two")
    project.json("deploy")
    supervisor.kill(signal.SIGKILL)
    supervisor.status()
    project.supervise()
    assert wait_until(lambda: project.json("status")["supervisor"])["sockets"] == held
    for host in ("127.0.0.1", "::1"):
        assert get((host, project.port))[2] == b"two"


def test_sources_are_directories_archives_and_revisions(project: Project) -> None:
    """A deploy takes what git sees, a tarball, or a revision; the ledger names it."""

    def git(*argv: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", *argv], cwd=project.folder, check=True
        )

    git("init", "-q", "-b", "main", ".")
    git("add", ".")
    git("commit", "-qm", "one")
    project.supervise()
    project.app("two")
    git("commit", "-qam", "two")
    subprocess.run(["tar", "czf", "../app.tgz", "app.py"], cwd=project.folder, check=True)
    project.app("three")
    for source, body in (((), "three"), (("HEAD~1",), "one"), (("../app.tgz",), "two")):
        project("deploy", "-q", *source)
        assert project.answers() == body
    revisions = [one["revision"] for one in project.json("audit")["deploys"]]
    assert "with local changes" in revisions[1]
    assert "HEAD~1" in revisions[2]
    assert revisions[3] == "app.tgz"


def test_build_and_migrate_run_in_the_release_before_it_starts(project: Project) -> None:
    """The build makes what the app needs, the migration sees the shared directory, both before the switchover."""
    project.configure('build = { run = "echo built > made" }\nrelease = { migrate = "cp made $GAPLESS_SHARED/" }')
    project.supervise()
    assert (project.folder / ".gapless" / "shared" / "made").read_text() == "built\n"
    wait_until(lambda: project.json("audit")["deploys"][0]["outcome"] == "succeeded")  # it answers a moment before
    phases = project.json("audit")["deploys"][0]["phases"]
    assert [one["name"] for one in phases] == ["install", "build", "seal", "migrate", "switch over", "prune"]


def test_the_environment_belongs_to_the_release(project: Project) -> None:
    """A rollback brings the old release's settings back with it."""
    project.configure('env = { WORD = "old" }')
    body = "f\"{__import__('os').environ['WORD']}\".encode()"
    app = (project.folder / "app.py").read_text().replace('b"one"', body)
    (project.folder / "app.py").write_text(app)
    project.supervise()
    assert project.answers() == "old"
    project.configure('env = { WORD = "new" }')
    project("deploy", "-q")
    assert project.answers() == "new"
    project("rollback", "-q")
    assert project.answers() == "old"


def test_the_lock_keeps_everybody_out_until_it_is_released(project: Project) -> None:
    """Invariant 2: the refusal names who, since when and why; exit status 75; each verb can be repeated (7)."""
    project.supervise()
    project("lock", "acquire", "--why", "the auditors are here")
    assert "Already locked" in project("lock", "acquire", "--why", "again")
    refused = project("deploy", status=75)
    assert "on hold by " in refused
    assert "the auditors are here" in refused
    assert project.json("lock", "status")["holder"]["why"] == "the auditors are here"
    project("lock", "release")
    assert "Already released" in project("lock", "release")
    project("deploy", "-q")


def test_errors_are_documents_with_json(project: Project) -> None:
    """Invariant 8: with --json an error has the same four parts, and the exit status is not 0."""
    error = project.json("deploy", status=1)["error"]
    assert error["operation"] == "reach"
    assert "gapless run" in error["hint"]


def test_stopping_the_supervisor_drains_and_frees_the_port(project: Project) -> None:
    """SIGTERM to `gapless run` lets every request end, then nothing is left behind; it can be started again."""
    supervisor = project.supervise()
    supervisor.kill()
    assert supervisor.status() == 0
    with socket.create_server(("127.0.0.1", project.port)):
        pass
    project.supervise()
    assert project.answers() == "one"


def test_a_dry_run_lists_the_files_and_what_is_left_out(project: Project) -> None:
    """With -v; what the release would miss is said by the deploy itself, too."""
    (project.folder / ".venv").mkdir()
    (project.folder / "shop.env").write_text("A=1")
    project.configure('env_file = "shop.env"')
    project.supervise()
    said = project("deploy", "-n", "-v")
    assert "Files, 2:\n  app.py\n  gapless.toml\nLeft out:\n" in said
    assert "  .venv: it never comes along\n" in said
    missed = ".venv stays in the project, and nothing in the release takes its place"
    assert missed in said
    document = project.json("deploy", "-n", "-v")
    assert document["files"] == ["app.py", "gapless.toml"]
    assert set(document["left_out"]) == {".gapless", ".venv", "shop.env"}
    assert document["warnings"][0].startswith(missed)
    assert "Files" not in project("deploy", "-n")
    assert missed in project("deploy")
