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


def test_the_lines_that_match(project: Path) -> None:
    """Without a capital a pattern means both cases; the last lines are the last that match."""
    lines = ["Error: one", "all is well", "error: two", "ERROR three"]
    (project / ".gapless" / "log" / "gone.log").write_text("".join(f"{line}\n" for line in lines))
    assert logs(project, "gone", "--grep", "^err").stdout.splitlines() == [lines[0], lines[2], lines[3]]
    assert logs(project, "gone", "--grep", "Err").stdout.splitlines() == [lines[0]]
    assert logs(project, "gone", "--grep", "error", "--lines", "2").stdout.splitlines() == lines[2:]
    refused = logs(project, "gone", "--grep", "(")
    assert refused.returncode == 2
    assert "'(' is no regular expression" in refused.stderr


def test_the_embedded_managers_lines_have_no_times(project: Path) -> None:
    """Invariant 8: instead of lines of any time, an error that says so; its hint's command works."""
    refused = logs(project, "gone", "--since", "10m")
    assert refused.returncode == 2
    assert "have no times" in refused.stderr
    assert "`gapless logs --lines 200`" in refused.stderr
    assert logs(project, "gone", "--lines", "200").stdout == "it ran\n"
    assert "is no time: write it like" in logs(project, "gone", "--since", "soon").stderr
