"""Files beside the code under `gapless run`: what outlives a release, what visitors get, what one instance has."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

from tests.process.conftest import Project
from tests.process.test_serve_assets import ask
from tests.support import wait_until

BOTH = '[shared]\nmedia = "media"\n[uploads]\n"/media" = "media"\n'
# An instance that finds something of another one's does not start.
APP = """
import os, pathlib
runtime = pathlib.Path(os.environ["GAPLESS_RUNTIME"])
assert [*runtime.iterdir()] == [], "it is not empty"
(runtime / "counter.db").write_text("1")

async def app(scope, receive, send):
    path = scope["path"]
    if scope["method"] == "POST":
        pathlib.Path(path[1:]).write_text(os.environ["GAPLESS_RELEASE"])
    await send({"type": "http.response.start", "status": 404 if path.startswith("/media") else 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
"""
# docs/files.md in front of an app of several workers.
METRICS = """
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
ASKED = Counter("asked", "Pages that were asked for.")

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    if scope["path"] == "/asked":
        ASKED.inc()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
    await send({"type": "http.response.body", "body": generate_latest(registry)})
"""


def test_uploads_outlive_a_release_and_are_visitors_to_get(project: Project) -> None:
    """From the directory that each release's own link leads to; a browser runs nothing of them, and no link counts."""
    (project.folder / "app.py").write_text(APP)
    project.configure(BOTH)
    project.supervise()
    assert ask(project.port, "/media/a", "POST")[0] == 404
    first = ask(project.port, "/media/a")[2]
    project("deploy", "-q")
    wait_until(lambda: len(project.json("status")["instances"]) == 1)
    ask(project.port, "/media/b", "POST")
    project("rollback", "-q")
    media = project.home / "shared/media"
    (media / "secret").symlink_to("/etc/passwd")
    (media / ".hidden").write_text("1")
    assert ask(project.port, "/media/a")[2] == first == project.json("status")["current"]
    status, headers, second = ask(project.port, "/media/b")
    assert (status, headers["X-Content-Type-Options"]) == (200, "nosniff")
    assert "sandbox" in headers["Content-Security-Policy"]
    assert second != first
    for path in (
        "/media/secret",
        "/media/.hidden",
        "/media/none",
        "/media/",
        "/media",
        "/media/../shared",
        "/media%00",
    ):
        assert ask(project.port, path)[2].isdecimal(), path


def test_an_instance_has_a_directory_of_its_own(project: Project) -> None:
    """Empty when it starts, also in the place of one that died; none is left of those that are gone."""
    (project.folder / "app.py").write_text(APP)
    project.supervise()
    first = int(project.answers())
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: (said := _pid(project)) and said != first, 30)
    project("deploy", "-q")
    wait_until(lambda: len(project.json("status")["instances"]) == 1, 30)
    [left] = (project.home / "run").glob("*.runtime")
    assert [one.name for one in left.iterdir()] == ["counter.db"]
    assert left.stat().st_mode & 0o777 == 0o700


def _pid(project: Project) -> int:
    try:
        return int(ask(project.port, "/")[2])
    except OSError:
        return 0


def test_metrics_of_several_workers(project: Project) -> None:
    """As docs/files.md says: each worker tells what all of its instance counted, and nothing of the release before."""
    page = (Path(__file__).parents[2] / "docs/files.md").read_text()
    [recipe] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (project.folder / "app.py").write_text(recipe + METRICS)
    project.configure(command='"gapless serve app:app --workers 2"')
    project.supervise()
    for wanted in (1, 2, 3, 4):
        assert f"asked_total {wanted}.0" in ask(project.port, "/asked")[2]
    project("deploy", "-q")
    wait_until(lambda: len(project.json("status")["instances"]) == 1, 30)
    assert "asked_total 1.0" in ask(project.port, "/asked")[2]
