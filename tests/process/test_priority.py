"""A candidate's boot must not delay those who serve."""

from __future__ import annotations

import os
from pathlib import Path

from tests.process.conftest import Project
from tests.support import wait_until


def weight(pid: int) -> tuple[str, int]:
    """The nice value of the session (autogroup, sched(7); none in a container) and of the process."""
    group = Path(f"/proc/{pid}/autogroup")
    return (group.read_text().split()[-1] if group.exists() else "", os.getpriority(os.PRIO_PROCESS, pid))


def test_a_candidate_boots_behind_the_others_and_serves_beside_them(project: Project) -> None:
    """The candidate is put back while it boots, and has its full weight before it accepts."""
    project.supervise()
    usual = weight(project.json("status")["instances"][0]["pid"])
    assert usual in (("0", 0), ("", 0))
    app = (project.folder / "app.py").read_text()
    wait = "import os, time\nwhile not os.path.exists('../../../go'): time.sleep(0.05)\n"
    (project.folder / "app.py").write_text(wait + app)
    deploy = project.start("deploy")
    pid = wait_until(lambda: candidate(project))
    assert weight(pid) == ("10" if usual[0] else "", 10 if os.geteuid() == 0 else 0)
    (project.folder / "go").touch()
    assert deploy.status() == 0
    assert weight(pid) == usual


def test_workers_have_their_full_weight_when_they_serve(project: Project) -> None:
    """They were born while their parent was put back."""
    project.configure(command='"gapless serve --workers 2 app:app"')
    project.supervise()
    project("deploy")
    (live,) = [one for one in project.json("status")["instances"] if one["role"] == "live"]
    workers = live["status"]["workers"]
    assert len(workers) == 2
    assert {weight(one["pid"])[1] for one in workers} == {0}


def candidate(project: Project) -> int:
    """The pid of the candidate, or 0."""
    found = [one["pid"] for one in project.json("status")["instances"] if one["role"] == "candidate"]
    return found[0] if found else 0
