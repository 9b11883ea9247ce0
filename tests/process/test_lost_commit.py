"""The link `current` of the embedded manager is lost or damaged: the only server goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.process.conftest import Project
from tests.support import wait_until


def removed(link: Path) -> None:
    link.unlink()


def a_file(link: Path) -> None:
    link.unlink()
    link.write_text("rubbish")


def of_nobody(link: Path) -> None:
    link.unlink()
    link.symlink_to("releases/20200101T000000Z-0000000")


@pytest.mark.parametrize("damage", [removed, a_file, of_nobody])
@pytest.mark.parametrize("verb", ["prune", "deploy", "rollback"])
def test_every_command_names_the_server_again(project: Project, damage: Callable[[Path], None], verb: str) -> None:
    """Invariant 11: nothing ends what serves; the command says what it did, and does what it always does."""
    project.supervise()
    project.app("two")
    project("deploy")
    wait_until(lambda: len(project.json("status")["instances"]) == 1)
    before = project.json("status")["instances"][0]
    damage(project.home / "current")
    assert project.answers() == "two"
    project.app("three")
    said = project(verb)
    assert f"now it names {before['release']}" in said
    assert project.answers() == {"prune": "two", "deploy": "three", "rollback": "one"}[verb]
    if verb == "prune":
        assert [one["pid"] for one in project.json("status")["instances"]] == [before["pid"]]


def test_a_supervisor_that_starts_without_the_link_serves_what_served(project: Project) -> None:
    """Invariant 11: it makes no first release of the directory, as it is now, when there was one."""
    supervisor = project.supervise()
    release = project.json("status")["current"]
    supervisor.kill()
    assert supervisor.status() == 0
    (project.home / "current").unlink()
    project.app("half-edited")
    supervisor = project.supervise()
    assert project.answers() == "one"
    assert project.json("status")["current"] == release
    assert f"now it names {release}" in supervisor.output
