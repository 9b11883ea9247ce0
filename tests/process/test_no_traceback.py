"""A command that fails says so in words, whatever state it finds, and leaves nothing behind that stops the next."""

from __future__ import annotations

import os
import signal

import pytest

from tests.process.conftest import Project
from tests.support import wait_until

VERBS = [
    "deploy",
    "rollback",
    "status",
    "releases",
    "logs",
    "audit",
    "prune",
    "doctor",
    "run",
    "exec true",
    "lock status",
]
STATES = {
    "a file in the place of .gapless": "rm -rf .gapless; echo > .gapless",
    "a file in the place of a directory": "mkdir -p .gapless; cd .gapless; touch releases env log run",
    "a directory in the place of a file": "mkdir -p .gapless; cd .gapless; mkdir lock ledger.jsonl current",
    "links in a circle": "rm -rf .gapless; ln -s .gapless .gapless",
    "a broken gapless.toml": "echo 'name = [' > gapless.toml",
    "gapless.toml is a directory": "rm gapless.toml; mkdir gapless.toml",
}


@pytest.mark.parametrize("state", STATES)
def test_what_is_in_the_way(project: Project, state: str) -> None:
    """Invariant 8: no verb ends in a traceback."""
    os.system(f"cd {project.folder} && {STATES[state]}")  # noqa: S605 -- the test's own
    for verb in VERBS:
        started = project.start(*verb.split())
        assert started.status() >= 0
        assert "Traceback" not in started.output, started.output
        assert "Error(" not in started.output


def test_a_failed_deploy_makes_nothing(project: Project) -> None:
    """Without a supervisor there is nothing to deploy to, and no directory of whoever tried, root perhaps."""
    assert "no supervisor" in project("deploy", status=1) or not project.home.exists()
    assert not project.home.exists()


def test_an_interrupt_has_no_name_of_python(project: Project) -> None:
    """What status and audit say of a deploy that Ctrl-C ended is for people."""
    project.configure(more='build = { run = "sleep 60" }')
    project.app("one")
    supervisor = project.start("run")
    wait_until(lambda: project.json("status", status=1)["locked_by"] if project.home.exists() else None)
    supervisor.kill(signal.SIGINT)
    supervisor.status()
    said = project("audit")
    assert "KeyboardInterrupt" not in said
