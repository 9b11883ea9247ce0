"""`gapless run` and `gapless deploy` of two versions work on one project, under traffic, in each order."""

from __future__ import annotations

import signal
import zipfile
from pathlib import Path

from tests.contract.worlds import traffic
from tests.older import WHEEL
from tests.process.conftest import Project
from tests.support import Started, wait_until


def test_an_upgrade_and_a_downgrade_lose_nothing(project: Project, tmp_path: Path) -> None:
    """Invariants 1, 5 and 6: ledger, records, private and control sockets of each are understood by the other."""
    zipfile.ZipFile(WHEEL).extractall(tmp_path / "older")
    older, this = {"PYTHONPATH": str(tmp_path / "older")}, dict[str, str]()
    project.env = older
    supervisor = project.supervise()
    assert "--replace" not in project("run", "--help")
    with traffic(("127.0.0.1", project.port)) as answers:
        # 1. The new one's commands work with the older supervisor, and say how to go on from it.
        project.env = this
        assert project.json("status")["supervisor"] == {**project.json("status")["supervisor"], "pid": supervisor.pid}
        deployed(project, "two", answers)
        said = project("run", "--replace", status=1)
        assert f"`kill -KILL {supervisor.pid}`, then `gapless run`: what serves goes on meanwhile" in said
        # 2. The new supervisor adopts what the older one's left, and the older one's commands work with it.
        supervisor = followed(project, supervisor)
        project.env = older
        deployed(project, "three", answers)
        # 3. Its own planned restart; then back to the older one, which adopts what the new one's left.
        project.env = this
        project("run", "--replace")
        deployed(project, "four", answers)
        project.env = older
        supervisor = followed(project, supervisor)
        deployed(project, "five", answers)
        project("rollback", "--yes")
        project.env = this
        assert [one["outcome"] for one in project.json("audit")["deploys"]] == ["succeeded"] * 6
        assert project.json("status")["instances"][-1]["status"]["state"] == "serving"


def deployed(project: Project, text: str, answers: list[str]) -> None:
    """A deploy, after which the release that it made answers."""
    project.app(text)
    project("deploy")
    wait_until(lambda: answers[-1] == text, what=text)


def followed(project: Project, supervisor: Started) -> Started:
    """SIGKILL the supervisor, and start the next."""
    supervisor.kill(signal.SIGKILL)
    supervisor.status()
    following = project.start("run")
    wait_until(lambda: (project.json("status")["supervisor"] or {}).get("pid") == following.pid)
    return following
