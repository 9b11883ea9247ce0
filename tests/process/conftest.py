"""A project under `gapless run`, for tests of the whole tool."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.worlds import Embedded
from tests.support import Started, get, start, wait_until

APP = """
async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({{"type": "http.response.start", "status": {status}, "headers": []}})
    await send({{"type": "http.response.body", "body": b"{body}"}})
"""
TOML = """
name = "shop"
listen = "127.0.0.1:{port}"
command = {command}
check = {{ path = "/", timeout = "4s" }}
drain = {{ linger = "1s", requests = "5s", streams = "2s" }}
{more}
"""


class Project:
    """A directory with an app; `gapless` runs verbs in it as a person would."""

    def __init__(self, folder: Path, run: start, port: int) -> None:
        self.folder = folder
        self.port = port
        self.env: dict[str, str] = {}  # beside our own
        self._run = run
        self.configure()
        self.app("one")

    @property
    def home(self) -> Path:
        return self.folder / ".gapless"

    def configure(self, more: str = "", command: str = '"gapless serve app:app"') -> None:
        (self.folder / "gapless.toml").write_text(TOML.format(port=self.port, command=command, more=more))

    def app(self, body: str, status: int = 200) -> None:
        (self.folder / "app.py").write_text(APP.format(body=body, status=status))

    def supervise(self) -> Started:
        """`gapless run`, waited for until its release answers."""
        supervisor = self._run(sys.executable, "-m", "gapless", "run", cwd=self.folder, env=self.env)
        wait_until(lambda: self.answers(), what=f"an answer; it says: {supervisor.output}")
        return supervisor

    def answers(self) -> str:
        """What the public address says; empty when it is refused."""
        try:
            return get(("127.0.0.1", self.port), timeout=20)[2].decode()
        except ConnectionRefusedError:
            return ""

    def command(self, *argv: str) -> list[str]:
        return [sys.executable, "-m", "gapless", *argv]

    def __call__(self, *argv: str, status: int = 0) -> str:
        """Run a verb; its output, stderr included. Fails the test on another exit status."""
        done = subprocess.run(
            self.command(*argv),
            cwd=self.folder,
            env=os.environ | self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        assert done.returncode == status, done.stdout
        return done.stdout

    def start(self, *argv: str) -> Started:
        """Run a verb in the background."""
        return self._run(*self.command(*argv), cwd=self.folder, env=self.env)

    def kill(self, pid: int) -> None:
        """SIGKILL one of its processes."""
        os.kill(pid, signal.SIGKILL)

    def json(self, *argv: str, status: int = 0) -> Any:
        return json.loads(self(*argv, "--json", status=status))


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project that is not running yet."""
    with a_project(tmp_path) as one:
        yield one


@contextlib.contextmanager
def a_project(where: Path) -> Iterator[Project]:
    """A project below `where`, that is not running yet."""
    folder = where / "shop"
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    starter = start(where)
    yield Project(folder, starter, port)
    starter.end()
    for record in (folder / ".gapless" / "run").glob("*.instance"):
        with contextlib.suppress(ProcessLookupError):  # what a failed test left: its supervisor is gone by now
            os.killpg(json.loads(record.read_text())["pid"], signal.SIGKILL)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Embedded]:
    """The supervisor's project; the test starts it."""
    embedded = Embedded(tmp_path / "project")
    try:
        yield embedded
    finally:
        embedded.down()
