"""A candidate's boot must not delay those who serve."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gapless.switch.systemd.boot_priority import booting_behind
from gapless.switch.systemd.systemctl import Systemctl
from tests.process.conftest import Project
from tests.support import wait_until

# As systemd starts a service: the child says its pid, and leaves its parent's session only when it is told to.
FORKS = """
import os, sys, time
if os.fork() == 0:
    print(os.getpid(), flush=True)
    sys.stdin.readline()
    os.setsid()
    time.sleep(60)
os.wait()
"""


@dataclass(frozen=True)
class Knowing(Systemctl):
    """A systemd whose unit has the main process `pid`, and how often it was asked for that."""

    pid: int = 0
    asked: list[str] = field(default_factory=list)

    def show(self, properties: Sequence[str], *units: str) -> list[dict[str, str]]:
        self.asked.extend(units)
        return [dict.fromkeys(properties, str(self.pid))]


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
    assert weight(pid) == lowered(usual)
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


def test_systemd_itself_is_not_put_back_in_the_place_of_its_child() -> None:
    """What systemd has forked is lowered once it leads a session, not while it is in systemd's own."""
    with subprocess.Popen(
        [sys.executable, "-c", FORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        try:
            usual = weight(pid)
            ctl = Knowing(pid=pid)
            with booting_behind(ctl, "unit"):
                wait_until(lambda: len(ctl.asked) > 2, what="it is asked for again")
                assert weight(pid) == weight(parent.pid) == usual
                parent.stdin.write("\n")
                parent.stdin.flush()
                wait_until(lambda: weight(pid) == lowered(usual))
                assert weight(parent.pid) == usual
            assert weight(pid) == usual
        finally:
            os.kill(pid, signal.SIGKILL)


def lowered(usual: tuple[str, int]) -> tuple[str, int]:
    """The weight of what boots; of a process alone only root may undo it."""
    return ("10" if usual[0] else "", 10 if os.geteuid() == 0 else 0)


def candidate(project: Project) -> int:
    """The pid of the candidate, or 0."""
    found = [one["pid"] for one in project.json("status")["instances"] if one["role"] == "candidate"]
    return found[0] if found else 0
