"""Closed or full standard descriptors: whatever cannot be said, is done; and nothing gets their numbers."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process.conftest import Project
from tests.support import APPS, GAPLESS, get, listening, start, wait_until

EVERYTHING = "<&- >&- 2>&-"
SPOILT = [">&-", "2>&-", EVERYTHING, ">/dev/full", "2>/dev/full", ">/dev/full 2>/dev/full"]


def shell(redirected: str, *argv: str) -> list[str]:
    """A command line that runs `argv` with spoilt descriptors."""
    return ["sh", "-c", f'exec "$@" {redirected}', "sh", *argv]


def once(project: Project, redirected: str, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        shell(redirected, *project.command(*argv)), cwd=project.folder, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("redirected", SPOILT)
def test_a_supervisor_serves_and_can_be_told_to_stop(project: Project, run: start, redirected: str) -> None:
    """Invariant 1: `gapless run` obeys SIGTERM, and none of its descriptors 0, 1, 2 is its lock or a socket."""
    supervisor = run(*shell(redirected, sys.executable, "-m", "gapless", "run"), cwd=project.folder)
    wait_until(project.answers)
    for descriptor in range(3):
        opened = Path(f"/proc/{supervisor.pid}/fd/{descriptor}").readlink()
        assert opened == supervisor.log or opened.is_relative_to("/dev")
    assert project("deploy")  # its output goes on to be passed on, or not
    supervisor.kill(signal.SIGTERM)
    assert supervisor.status() == 0
    assert "Traceback" not in supervisor.output


@pytest.mark.parametrize("redirected", SPOILT)
def test_a_deploy_is_done_whoever_hears_of_it(project: Project, redirected: str) -> None:
    """Invariant 3: saying something never decides whether something is done; exit status 0."""
    project.supervise()
    project.app("two")
    done = once(project, redirected, "deploy")
    assert (done.returncode, project.answers()) == (0, "two"), done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("redirected", SPOILT)
def test_a_server_serves_and_drains(run: start, redirected: str) -> None:
    """Invariant 6: its log goes nowhere, and that is all."""
    with listening() as sock:
        argv = (*GAPLESS, "serve", "app:no_lifespan", "--app-dir", APPS, "--linger", "1")
        one = run(*shell(redirected, *argv), sockets=[sock])
        assert get(sock.getsockname(), "/health")[0] == 200
        one.kill(signal.SIGTERM)
        assert one.status() == 0
        assert "Traceback" not in one.output


@pytest.mark.parametrize("asked", ["status", "status --json", "releases", "config", "--help", "--version"])
def test_an_answer_that_cannot_be_written_is_a_failure(project: Project, asked: str) -> None:
    """Invariant 8: what only tells has failed when nobody could be told; one line says why, without a traceback."""
    project.supervise()
    done = once(project, ">/dev/full", *asked.split())
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_reader_that_has_seen_enough_is_no_failure_worth_a_word(project: Project) -> None:
    """`gapless logs | head -1`: nothing on standard error."""
    project.supervise()
    first = " ".join(project.command("logs", "--lines", "10000"))
    command = ["bash", "-c", f"{first} 2>said | true; cat said"]
    assert subprocess.run(command, cwd=project.folder, capture_output=True, check=True).stdout == b""


def test_an_answer_to_nobody_is_no_failure(project: Project) -> None:
    """`gapless status >&-`: whoever closes it does not want it."""
    project.supervise()
    assert once(project, ">&-", "status").returncode == 0
    assert once(project, EVERYTHING, "status").returncode == 0
