"""`gapless pause` and `resume`: visitors wait, none is lost, and whoever paused may die or be late."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from tests.host.advice import hint
from tests.process.conftest import Project
from tests.process.test_watch import FOREIGN, live
from tests.support import wait_until

SLOW = """
import asyncio
async def app(scope, receive, send):
    assert scope["type"] == "http"
    if scope["path"] == "/slow":
        await asyncio.sleep(60)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"one"})
"""


class Visitor(threading.Thread):
    """One request on a connection of its own; `waited` are the seconds to its answer, None while there is none."""

    def __init__(self, project: Project) -> None:
        super().__init__(daemon=True)
        self._project = project
        self._began = time.monotonic()
        self.waited: float | None = None
        self.start()

    def run(self) -> None:
        if self._project.answers() == "one":
            self.waited = time.monotonic() - self._began

    def is_answered(self) -> bool:
        return self.waited is not None


def supervised(project: Project) -> Project:
    """It serves, and its first deploy has come to its end, too."""
    project.supervise()
    wait_until(lambda: project.json("status")["locked_by"] is None)
    return project


@pytest.fixture
def running(project: Project) -> Project:
    return supervised(project)


@contextlib.contextmanager
def under_way(project: Project) -> Iterator[None]:
    """A request that the app does not answer for a minute."""
    connection = http.client.HTTPConnection("127.0.0.1", project.port, timeout=70)
    with contextlib.closing(connection):
        connection.request("GET", "/slow")
        wait_until(lambda: live(project)["status"]["requests"] == 1)
        yield


def test_visitors_wait_until_somebody_resumes(running: Project) -> None:
    """Invariants 1 and 7: they are answered by the process that was paused; the second time nothing changes."""
    before = live(running)
    told = running.json("pause", "--at-most", "60s")
    assert told["changed"]
    assert 50 < told["until"] - time.time() <= 60
    visitor = Visitor(running)
    again = running.json("pause", "--at-most", "5m")
    assert (again["changed"], again["until"]) == (False, told["until"])
    assert "Already paused until" in running("pause")
    status = running.json("status")
    assert status["paused"]["until"] == told["until"]
    assert status["instances"][0]["status"]["state"] == "paused"
    assert f"by {told['who']}: visitors wait" in running("status")
    assert not visitor.is_answered()
    assert running("resume") == "Resumed.\n"
    wait_until(visitor.is_answered)
    assert running.json("resume") == {"paused": False, "changed": False}
    assert running("resume") == "Already resumed: no pause is on.\n"
    assert running.json("status")["paused"] is None
    assert live(running)["pid"] == before["pid"]


@pytest.mark.parametrize("verb", [["deploy"], ["rollback", "--yes"], ["prune"]])
def test_what_deploys_is_refused_in_a_pause(running: Project, verb: list[str]) -> None:
    """Invariants 2 and 8: it names who paused and until when; --lock-wait waits for the end of the pause."""
    running("deploy")
    first = running.json("status")["current"]
    running("pause", "--at-most", "4s")
    said = running(*verb, status=75)
    assert "the app is paused until" in said
    assert "`gapless resume` ends the pause" in said
    assert running.json("status")["current"] == first
    running(*verb, "--lock-wait", "20s")
    assert running.answers() == "one"


def test_a_pause_during_a_deploy_is_refused(running: Project) -> None:
    """Invariant 2: it names the holder, and nobody waits; a hold of deploys keeps nobody from pausing."""
    deploy = running.start("deploy", "--watch", "60s")
    wait_until(lambda: (running.json("lock", "status")["holder"] or {}).get("phase") == "watch")
    assert "it is locked by" in running("pause", status=75)
    deploy.kill(signal.SIGTERM)
    deploy.status()
    wait_until(lambda: len(running.json("status")["instances"]) == 1)
    running("lock", "acquire", "--why", "auditors")
    running("pause")
    running("resume")


def test_a_pause_ends_in_time_by_itself(running: Project) -> None:
    """Invariant 5: nobody resumes, and the visitor is answered at its end."""
    running("pause", "--at-most", "4s")
    visitor = Visitor(running)
    wait_until(visitor.is_answered, 20)
    assert visitor.waited
    assert visitor.waited < 6
    assert running.json("status")["paused"] is None


def test_whoever_pauses_is_killed_while_requests_are_under_way(project: Project) -> None:
    """Invariant 5: SIGKILL, and visitors are served again when the time is over; the request under way goes on."""
    (project.folder / "app.py").write_text(SLOW)
    supervised(project)
    with under_way(project):
        pause = project.start("pause", "--at-most", "3s")
        wait_until(lambda: project.json("status")["paused"])
        began = time.monotonic()
        pause.kill(signal.SIGKILL)
        visitor = Visitor(project)
        wait_until(visitor.is_answered, 10)
        assert time.monotonic() - began > 1
        assert live(project)["status"]["requests"] == 1


@pytest.mark.parametrize("how", ["late", signal.SIGTERM])
def test_a_pause_that_does_not_come_about_lets_visitors_in(project: Project, how: str | signal.Signals) -> None:
    """Invariants 3 and 8: what was under way took too long, or Ctrl-C: it says so, and visitors are served at once."""
    (project.folder / "app.py").write_text(SLOW)
    supervised(project)
    with under_way(project):
        pause = project.start("pause", "--at-most", "2s" if how == "late" else "60s")
        wait_until(lambda: project.json("status")["paused"])
        if how != "late":
            pause.kill(signal.SIGTERM)
        assert pause.status() == (1 if how == "late" else 130)
        assert ("requests under way: 1, WebSockets: 0); visitors are served again" in pause.output) is (how == "late")
        assert project.answers() == "one"
        assert project.json("status")["paused"] is None
        if how == "late":
            assert hint(pause.output).startswith("pass a longer --at-most")
            longer = project.start("pause", "--at-most", "5m")
            wait_until(lambda: project.json("status")["paused"])
            longer.kill(signal.SIGTERM)
            longer.status()


def test_a_server_that_does_not_obey(running: Project) -> None:
    """Invariant 8: the log that the advice names is there; once it can again it pauses, and its timer resumes it."""
    pid = live(running)["pid"]
    os.kill(pid, signal.SIGSTOP)
    said = running("pause", status=1)
    assert "`gapless" in hint(said)
    os.kill(pid, signal.SIGCONT)
    running("logs")
    running("pause", "--at-most", "4s")
    os.kill(pid, signal.SIGSTOP)
    said = hint(running("resume", status=1))
    assert said == "`gapless logs` says what it does; its timer goes on to try"
    os.kill(pid, signal.SIGCONT)
    wait_until(lambda: running.json("status")["paused"] is None, 15)
    assert running.answers() == "one"


def test_a_pause_ends_with_the_process(running: Project) -> None:
    """Invariant 5: the one that the manager starts in its place serves, and deploys are possible again."""
    running("pause", "--at-most", "60s")
    paused_one = live(running)
    visitor = Visitor(running)
    running.kill(paused_one["pid"])
    wait_until(visitor.is_answered)
    assert running.json("status")["paused"] is None
    running("deploy")


def test_a_killed_supervisor_does_not_forget_the_end(running: Project) -> None:
    """Invariant 5: its successor finds the pause and ends it in time."""
    running("pause", "--at-most", "4s")
    running.kill(running.json("status")["supervisor"]["pid"])
    visitor = Visitor(running)
    running.start("run")
    wait_until(visitor.is_answered, 15)


def test_a_server_that_cannot_stand_by_is_left_alone(project: Project) -> None:
    """Invariant 8: it is said, and nothing happens to its visitors."""
    (project.folder / "server.py").write_text(FOREIGN.format(body="one", failure=""))
    project.configure(command=f'"{sys.executable} server.py"')
    supervised(project)
    said = project("pause", status=1)
    assert "its server cannot stand by" in said
    assert project.answers() == "one"
    assert hint(said).startswith("`gapless serve` can")
    project.configure()
    project("deploy")
    project("pause", "--lock-wait", "20s")
    project("resume")


@pytest.mark.parametrize("span", ["0", "11m"])
def test_a_pause_has_bounds(running: Project, span: str) -> None:
    """Invariant 8: ten minutes at most, and not none at all."""
    assert "--at-most 10m is the longest" in running("pause", "--at-most", span, status=2)
    assert running.answers() == "one"
