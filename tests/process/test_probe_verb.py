"""gapless probe, as a command."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from tests.process.conftest import Project
from tests.support import wait_until


def test_ctrl_c_ends_it_with_the_result_so_far(project: Project) -> None:
    """Ctrl-C: no more requests leave, the verdict is printed, exit status 0 when nothing was lost."""
    project.supervise()
    one = project.start("probe", f"http://127.0.0.1:{project.port}", "--json")
    private = project.json("status")["instances"][0]
    wait_until(lambda: project.json("status")["instances"][0]["status"]["connections"] > 0, what=str(private))
    one.kill(signal.SIGINT)
    assert one.status() == 0, one.output
    verdict = json.loads(one.output)
    assert verdict["ok"]
    assert verdict["requests"] > 0


def test_a_loss_or_a_delay_is_exit_status_1(project: Project) -> None:
    """The exit status says whether the proof holds: with a bound that nothing keeps, it does not."""
    project.supervise()
    url = f"http://127.0.0.1:{project.port}"
    assert "OK: " in project("probe", url, "--duration", "500ms")
    said = project("probe", url, "--duration", "500ms", "--max-latency", "0.001ms", status=1)
    assert "NOT OK" in said
    assert "delayed" in said


def test_a_report_needs_no_project(project: Project, tmp_path: Path) -> None:
    """The page is also written where nothing is deployed from: no project, or one that is deployed elsewhere."""
    project.supervise()
    url = f"http://127.0.0.1:{project.port}"
    for elsewhere in ("", 'name = "shop"\ncommand = "shop"\nmanager = "systemd"\n'):
        folder = tmp_path / f"elsewhere{len(elsewhere)}"
        folder.mkdir()
        if elsewhere:
            (folder / "gapless.toml").write_text(elsewhere)
        project("probe", url, "--duration", "500ms", "--report", str(folder / "proof.html"), "-C", str(folder))
        page = (folder / "proof.html").read_text()
        assert ("<b>shop</b>" if elsewhere else f"<b>127.0.0.1:{project.port}</b>") in page
        assert ("Nothing was deployed meanwhile" in page) is bool(elsewhere)
        assert f"{url}/" in page


def test_the_report_has_the_phases_of_the_deploy(project: Project) -> None:
    """Run in a project, the page shows which phase of which deploy was under way, and what became of it."""
    project.supervise()
    first = project.json("releases")["releases"][0]["release"]
    report = Path(project.folder, "proof.html")
    url = f"http://127.0.0.1:{project.port}"
    one = project.start("probe", url, "--duration", "4s", "--report", str(report))
    release = project.json("deploy")["release"]
    assert one.status() == 0, one.output
    page = report.read_text()
    assert release in page
    assert "switch over" in page
    assert f"{release} took over from {first}." in page
    assert "slowest in the switchover" in page
