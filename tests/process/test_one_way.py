"""Invariant 10 under the embedded manager: all of a release runs as the supervisor would run it, and ends with it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from gapless import programs
from gapless.config.settings import Config
from gapless.home import Home
from tests.process.conftest import Project
from tests.support import wait_until
from tests.view import SHOW, differences, found

MORE = f"""
env = {{ WORD = "plain" }}
[build]
run = ["{sys.executable}", "show.py"]
env = {{ WORD = "built" }}
[release]
migrate = ["{sys.executable}", "show.py"]
"""
APP = """
import json, os, show
from pathlib import Path
shared = Path(os.environ["GAPLESS_SHARED"])
shared.mkdir(exist_ok=True)
(shared / "server").write_text(json.dumps(show.show()))

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x"})
"""
# To the server alone; and LISTEN_*, which `gapless serve` does not keep.
SERVER = {
    *("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"),
    *programs.for_server(Home(Path()), Config(name="shop", command="x"), "private", "runtime"),
}
BUILD = {"WORD", "UV_PYTHON_INSTALL_DIR", "POETRY_VIRTUALENVS_IN_PROJECT"}


def test_all_of_a_release_sees_the_same(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables and umask come from the supervisor, none from the shell of whoever deploys or runs a command."""
    (project.folder / "app.py").write_text(APP)
    (project.folder / "show.py").write_text(SHOW)
    project.configure(MORE)
    monkeypatch.setenv("OF_SUPERVISOR", "kept")
    before = os.umask(0o027)
    try:
        project.supervise()
        monkeypatch.delenv("OF_SUPERVISOR")
        monkeypatch.setenv("OF_DEPLOYER", "not to be seen")
        monkeypatch.setenv("PATH", f"/opt/deployer:{os.environ['PATH']}")
        os.umask(0o077)
        project("deploy", "-q")
        said = project("exec", sys.executable, "show.py")
    finally:
        os.umask(before)
    log = (project.home / "log" / f"{project.json('status')['current']}.log").read_text().split("found ")
    views: dict[str, dict[str, Any]] = {"build": found(log[1]), "migration": found(log[2]), "exec": found(said)}
    server = json.loads((project.home / "shared" / "server").read_text())
    for kind, view in views.items():
        expected = SERVER | (BUILD if kind == "build" else set())
        assert differences(server["variables"], view["variables"]).keys() == expected, kind
        assert differences(server["status"], view["status"]) == {}, kind
        assert differences(server["mounts"], view["mounts"]) == {}, kind
    assert server["variables"]["OF_SUPERVISOR"] == "kept"
    assert "OF_DEPLOYER" not in server["variables"]
    assert server["status"]["Umask"] == "0027"
    assert views["build"]["variables"]["WORD"] == "built"


STAYS = "setsid sh -c 'echo $$ > $0; exec sleep 1000' {file} > /dev/null 2>&1 < /dev/null & sleep 0.3; true"


def alive(file: Path) -> bool:
    return Path("/proc", file.read_text().strip()).exists()


def test_what_is_left_behind_ends(project: Project, tmp_path: Path) -> None:
    """No build, command or instance leaves a process behind, in a session of its own or not."""
    build, command, instance = (tmp_path / name for name in ("build", "command", "instance"))
    (project.folder / "app.py").write_text(
        "import subprocess\n"
        f"""subprocess.run(["/bin/sh", "-c", "{STAYS.format(file=instance)}"])\n"""
        + APP.replace("show", "this").replace("json, os, this", "json, os").replace("json.dumps(this.this())", '"x"')
    )
    project.configure(f'[build]\nrun = """{STAYS.format(file=build)}"""\n')
    project.supervise()
    assert not alive(build)
    project("exec", "sh", "-c", STAYS.format(file=command))
    assert not alive(command)
    assert alive(instance)
    old = instance.read_text()
    project("deploy", "-q")
    assert instance.read_text() != old
    wait_until(lambda: not Path("/proc", old.strip()).exists(), what="the end of what the old instance left")
    assert alive(instance)
