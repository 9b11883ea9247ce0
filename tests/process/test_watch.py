"""`deploy --watch`: the previous release stays warm, and takes over again when the new one fails."""

from __future__ import annotations

import signal
import sys
from typing import Any

import pytest

from tests.process.conftest import Project
from tests.support import wait_until

# Passes its check and, once `armed` is there, does what `failure` says.
FAILING = """
import os, pathlib
armed = pathlib.Path(os.environ["GAPLESS_SHARED"], "armed")

async def app(scope, receive, send):
    assert scope["type"] == "http"
    status = 200
    if armed.exists():
        {failure}
    await send({{"type": "http.response.start", "status": status, "headers": []}})
    await send({{"type": "http.response.body", "body": b"bad"}})
"""
FAILURES = {"exit": "os._exit(3)", "check": "status = 500"}

# No server of ours: it knows nothing of a private socket. It ends by itself once it is armed.
FOREIGN = """
import http.server, os, pathlib, threading, time
from gapless import listen, notify

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"{body}")

def end():
    while not pathlib.Path(os.environ["GAPLESS_SHARED"], "armed").exists():
        time.sleep(0.05)
    {failure}

threading.Thread(target=end, daemon=True).start()
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
(server.socket,) = listen()
notify.ready()
server.serve_forever()
"""


def live(project: Project) -> dict[str, Any]:
    """The instance that serves."""
    found: list[dict[str, Any]] = [one for one in project.json("status")["instances"] if one["role"] == "live"]
    (one,) = found
    return one


def watched(project: Project) -> bool:
    """Whether a deploy says that it watches."""
    holder = project.json("lock", "status")["holder"]
    return bool(holder) and holder["phase"] == "watch"


@pytest.mark.parametrize("failure", FAILURES)
def test_a_release_that_fails_on_trial_is_turned_back_to_the_warm_one(project: Project, failure: str) -> None:
    """Invariants 3 and 5: the very process that served before serves again, and the release is a bad one."""
    project.supervise()
    before = live(project)
    (project.folder / "app.py").write_text(FAILING.format(failure=FAILURES[failure]))
    deploy = project.start("deploy", "--watch", "60s")
    wait_until(lambda: watched(project), 20, "the watch")
    bad = live(project)
    (project.home / "shared" / "armed").touch()
    assert deploy.status(40) == 1, deploy.output
    assert f"{before['release']} serves again" in deploy.output
    assert (f"its process {bad['pid']}" if failure == "exit" else "status 500") in deploy.output
    assert live(project)["pid"] == before["pid"], "it was not the warm one"
    assert project.answers() == "one"
    releases = {one["release"]: one["state"] for one in project.json("releases")["releases"]}
    assert releases == {bad["release"]: "bad", before["release"]: "current"}
    entry = project.json("audit")["deploys"][-1]
    assert entry["outcome"] == "failed"
    phases = [(one["name"], one["outcome"]) for one in entry["phases"]]
    assert phases[2:] == [("switch over", "succeeded"), ("watch", "failed"), ("turn back", "succeeded")]
    assert "its deploy failed, was turned back" in project("rollback", bad["release"], status=1)


def test_a_release_that_stands_its_trial_stays(project: Project) -> None:
    """The old release stands by for the time of the watch and then goes; nothing else is different."""
    project.supervise()
    before = live(project)
    project.app("two")
    plan = project("deploy", "-n", "--watch", "1500ms")
    assert f"Turn back to {before['release']} if it restarts or its check fails" in plan
    deployed = project.json("deploy", "--watch", "1500ms")
    assert [one["name"] for one in deployed["phases"]] == ["install", "seal", "switch over", "watch", "prune"]
    assert deployed["phases"][3]["seconds"] >= 1.5
    assert project.answers() == "two"
    wait_until(lambda: [one["role"] for one in project.json("status")["instances"]] == ["live"], 30, "the old one gone")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_watch_leaves_the_release_live(project: Project, number: signal.Signals) -> None:
    """Ctrl-C ends the watch, not the release: the commit stands, the old one retires, exit status 130."""
    project.supervise()
    project.app("two")
    deploy = project.start("deploy", "--watch", "60s")
    wait_until(lambda: watched(project), 20, "the watch")
    deploy.kill(number)
    assert deploy.status(30) == 130, deploy.output
    assert "is live and stays so" in deploy.output
    assert project.answers() == "two"
    assert all(one["role"] != "candidate" for one in project.json("status")["instances"])
    assert project.json("releases")["releases"][0]["state"] == "current"


def test_a_deployer_killed_in_its_watch_is_repaired_by_the_next_command(project: Project) -> None:
    """Invariant 5: the commit stands, and what stood by retires."""
    project.supervise()
    first = live(project)
    project.app("two")
    deploy = project.start("deploy", "--watch", "60s")
    wait_until(lambda: watched(project), 20, "the watch")
    deploy.kill(signal.SIGKILL)
    deploy.status()
    assert project.answers() == "two"
    project("prune")
    roles = {one["release"]: one["role"] for one in project.json("status")["instances"]}
    assert roles.get(first["release"], "retiring") == "retiring"
    assert f"{first['release']} is live" in project("rollback")


def test_a_rollback_ends_the_watch_of_another_command(project: Project) -> None:
    """The operator does not wait for the watch: the warm release serves at once, and no third one is reached."""
    project.supervise()
    project.app("two")
    project("deploy", "-q")
    before = live(project)
    project.app("three")
    deploy = project.start("deploy", "--watch", "5m")
    wait_until(lambda: watched(project), 20, "the watch")
    on_trial = live(project)
    assert f"{before['release']} is live, {on_trial['release']} drains" in project("rollback")
    assert deploy.status() == 1
    assert "asked for it" in deploy.output
    assert live(project)["pid"] == before["pid"]
    assert project.answers() == "two"


def test_a_server_that_cannot_stand_by_boots_again(project: Project) -> None:
    """Any server may be watched: the old one retires, and is started and proven again to turn back."""
    (project.folder / "server.py").write_text(FOREIGN.format(body="one", failure="pass"))
    project.configure(command=f'["{sys.executable}", "server.py"]')
    project.supervise()
    before = live(project)
    (project.folder / "server.py").write_text(FOREIGN.format(body="bad", failure="os._exit(3)"))
    deploy = project.start("deploy", "--watch", "60s")
    wait_until(lambda: watched(project), 20, "the watch")
    (project.home / "shared" / "armed").touch()
    assert deploy.status(40) == 1, deploy.output
    assert f"{before['release']} serves again" in deploy.output
    now = live(project)
    assert now["release"] == before["release"]
    assert now["pid"] != before["pid"]


def test_a_confirmation_needs_systemd(project: Project) -> None:
    """Invariants 5 and 8: what a kill or a power cut would leave for good is refused before anything is made."""
    project.supervise()
    said = project("deploy", "--confirm", "30s", status=2)
    assert "Try:   let `--watch 30s` decide" in said
    assert "Turn back" in project("deploy", "-n", "--watch", "30s")
    assert len(project.json("releases")["releases"]) == 1
