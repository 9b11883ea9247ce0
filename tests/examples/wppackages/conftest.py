"""A service with its stand-in of wordpress.org, for tests of the example wppackages."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import GAPLESS, ROOT, Started, get, start
from wppackages.builds import Builds
from wppackages.settings import Settings
from wppackages.standin import World, server

EXAMPLE = ROOT / "examples" / "wppackages"
CLIENTS = ("composer", "unzip", "chromium")


@contextlib.contextmanager
def standing_in(packages: int = 60) -> Iterator[World]:
    """A stand-in that serves as long as the block runs."""
    world = World(packages)
    made = server(world)
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield world
    finally:
        made.shutdown()
        thread.join()
        made.server_close()


class Site:
    """A data directory, its stand-in, the verbs that a person runs on it, and its server."""

    def __init__(self, folder: Path, world: World) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.world = world
        url = f"http://127.0.0.1:{self.port}"
        self.settings = Settings(folder / "data", url, world.base, ("wp-plugin/*",))
        self.run = start(folder)

    @property
    def url(self) -> str:
        return self.settings.url

    @property
    def environment(self) -> dict[str, str]:
        """What makes a process of the service one of this site."""
        to = self.settings
        told = {"DATA": str(to.data), "URL": to.url, "UPSTREAM": to.upstream, "MIRROR": " ".join(to.mirror)}
        return {f"WPPACKAGES_{name}": value for name, value in told.items()}

    def __call__(self, *verb: str, status: int = 0) -> str:
        """Run `python -m wppackages VERB`; what it prints. Fails the test on another exit status."""
        argv = [sys.executable, "-m", "wppackages", *verb]
        env = {**os.environ, **self.environment}
        done = subprocess.run(argv, cwd=EXAMPLE, env=env, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    def filled(self) -> Site:
        """Bring it up to the world."""
        for verb in ("migrate", "discover", "update", "build"):
            self(verb)
        return self

    @property
    def builds(self) -> Builds:
        return Builds(self.settings)

    def versions(self, path: str) -> list[str]:
        """The versions of a document of the current build."""
        build = self.builds.current()
        assert build is not None
        return [one["version"] for one in build.entries(path)]

    def serve(self, *options: str) -> Started:
        """Start the server, and wait until it serves."""
        bind = ("--bind", f"127.0.0.1:{self.port}", "--linger", "1s")
        argv = (*GAPLESS, "serve", "wppackages.web:app", *bind, *options)
        started = self.run(*argv, cwd=EXAMPLE, env=self.environment)
        started.says("serving")
        return started

    def get(self, path: str) -> tuple[int, dict[str, str], bytes]:
        return get(("127.0.0.1", self.port), path)

    def json(self, path: str) -> Any:
        status, _, body = self.get(path)
        assert status == 200, body
        return json.loads(body)

    def installs(self) -> int:
        """All that were counted."""
        return int(self.json("/api/stats")["installs"]["total"])


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site of which nothing is there yet."""
    with standing_in() as world:
        one = Site(tmp_path, world)
        yield one
        one.run.end()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site that is up, for tests that change nothing which others look at."""
    with standing_in() as world:
        one = Site(tmp_path_factory.mktemp("site"), world).filled()
        one.serve("--check", "/ready")
        yield one
        one.run.end()


@pytest.fixture(scope="session")
def clients() -> None:
    """Composer and Chromium, installed where they are missing."""
    if any(shutil.which(one) is None for one in CLIENTS):
        if os.geteuid() != 0:
            pytest.skip(f"{', '.join(CLIENTS)}: not all of them are here, and only root can install them")
        subprocess.run([str(Path(__file__).with_name("requirements.sh"))], check=True, timeout=300)
