"""Whose log `gapless logs` shows: a release's, by its name, and no other file."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gapless.errors import GaplessError
from gapless.switch.app import Lines
from gapless.switch.embedded.app import EmbeddedApp
from gapless.switch.systemd.app import SystemdApp
from gapless.switch.systemd.home import SystemdHome
from tests.support import GAPLESS
from tests.unit.release_kit import make_project

PATHS = ["../../x", "../x", "/etc/x", "a/../x", "./x", "x/", "..", ".", ""]


def logs(project: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run `gapless logs` there."""
    return subprocess.run([*GAPLESS, "logs", *argv], cwd=project, capture_output=True, text=True, check=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a log of a release that is gone, and files called *.log around."""
    project = make_project(tmp_path / "shop")
    (project / ".gapless" / "log").mkdir(parents=True)
    (project / ".gapless" / "log" / "gone.log").write_text("it ran\n")
    for place in (project, project / ".gapless", tmp_path):
        (place / "x.log").write_text("secret\n")
    return project


@pytest.mark.parametrize("path", ["../../x", "../x"])
def test_a_path_is_no_release(project: Path, path: str) -> None:
    """Invariant 8: a path is named and refused, nothing of the file is said, and the hint's command works."""
    done = logs(project, path)
    assert done.returncode == 2
    assert f"cannot find the log of '{path}'" in done.stderr
    assert "secret" not in done.stdout + done.stderr
    assert "`gapless releases`" in done.stderr
    subprocess.run([*GAPLESS, "releases"], cwd=project, check=True, capture_output=True)


@pytest.mark.parametrize("lines", [0, 5])
@pytest.mark.parametrize("path", PATHS)
def test_no_manager_reads_a_path(project: Path, path: str, lines: int) -> None:
    """Under both managers only a plain name is the name of a log, however much of it is asked for."""
    for app in (EmbeddedApp(project), SystemdApp(SystemdHome("shop"))):
        with pytest.raises(GaplessError, match="cannot find the log of"):
            app.log(path, Lines(lines))


def test_the_log_of_a_release_that_is_gone(project: Path) -> None:
    """A log outlives its release for as long as its file is there."""
    assert logs(project, "gone").stdout == "it ran\n"
