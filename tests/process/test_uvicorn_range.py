"""The oldest and the newest uvicorn that pyproject allows: what a drain reads off it is there, and a drain works."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn

from gapless.errors import GaplessError
from gapless.serve.connections import verify
from tests.support import APPS, GAPLESS, keep_alive_client, listening, start

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ALLOWED = next(one for one in PROJECT["project"]["optional-dependencies"]["serve"] if one.startswith("uvicorn"))
OLDEST = re.search(r">=([\d.]+)", ALLOWED)


@pytest.fixture(scope="module", params=["oldest", "newest"])
def uvicorn_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with that uvicorn alone: what it needs is installed already."""
    assert OLDEST
    folder = tmp_path_factory.mktemp(request.param)
    wanted = f"uvicorn=={OLDEST[1]}" if request.param == "oldest" else ALLOWED.replace("[standard]", "")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--upgrade"]
    subprocess.run([*pip, "--target", str(folder), wanted], check=True, timeout=120)
    return folder


def test_a_drain_works_with_it(run: start, uvicorn_path: Path, tmp_path: Path) -> None:
    """Invariant 6: a request that is under way and one on an idle connection are answered; status 0."""
    path = os.pathsep.join([str(uvicorn_path), os.environ.get("PYTHONPATH", "")])
    used = [sys.executable, "-c", "import uvicorn; print(uvicorn.__file__)"]
    said = subprocess.run(used, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True)
    assert Path(said.stdout.strip()).is_relative_to(uvicorn_path)
    with listening() as sock:
        argv = (*GAPLESS, "serve", "app:app", "--app-dir", APPS, "--private", str(tmp_path / "p"), "--linger", "2s")
        one = run(*argv, sockets=[sock], env={"PYTHONPATH": path})
        one.says("serving")
        with keep_alive_client(sock) as idle, keep_alive_client(sock) as busy:
            idle.request("GET", "/")
            assert idle.getresponse().read()
            busy.request("GET", "/stream")
            response = busy.getresponse()
            one.kill(signal.SIGTERM)
            one.says("draining")
            assert response.read() == b"begun ok"
            idle.request("POST", "/echo", body=b"!")
            assert idle.getresponse().headers["connection"] == "close"
        assert one.status() == 0


def test_it_needs_no_library_for_websockets(run: start, tmp_path: Path) -> None:
    """Without websockets and wsproto uvicorn serves HTTP, and answers a WebSocket's handshake as any other request."""
    for name in ("websockets", "wsproto"):
        (tmp_path / f"{name}.py").write_text("raise ImportError")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    handshake = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    with listening() as sock:
        one = run(*GAPLESS, "serve", "app:app", "--app-dir", APPS, sockets=[sock], env={"PYTHONPATH": path})
        one.says("serving")
        with keep_alive_client(sock) as client:
            for headers in ({}, handshake):
                client.request("GET", "/", headers=headers)
                response = client.getresponse()
                assert (response.status, response.read()) == (200, b"ok")


def test_a_renamed_attribute_is_said_at_start() -> None:
    """Invariant 8: each thing that a drain reads is looked for, by its name."""

    class Renamed:
        def __init__(self) -> None:
            self.transport = None

    config: Any = uvicorn.Config(lambda _scope: None, log_config=None)
    config.load()
    verify(config)
    broken: Any = SimpleNamespace(http_protocol_class=config.http_protocol_class, ws_protocol_class=Renamed)
    with pytest.raises(GaplessError, match=r"has no ws_protocol\.handshake_complete, ws_protocol\.shutdown"):
        verify(broken)
