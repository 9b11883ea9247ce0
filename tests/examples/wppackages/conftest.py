"""A service with its stand-in of wordpress.org, for tests of the example wppackages."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.host.host import REQUIREMENTS
from tests.support import GAPLESS, ROOT, Started, get, start
from wppackages.__main__ import main
from wppackages.build import Build
from wppackages.builds import Builds
from wppackages.settings import Settings
from wppackages.standin import Server, World

EXAMPLE = ROOT / "examples" / "wppackages"
CLIENTS = ("composer", "unzip", "chromium")


PACKAGES = 60


@pytest.fixture(scope="session")
def wordpress() -> Iterator[Server]:
    """A stand-in of wordpress.org."""
    with serving() as made:
        yield made


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """A stand-in that serves as long as the block runs."""
    made = Server(World(PACKAGES))
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield made
    finally:
        made.shutdown()
        thread.join()
        made.server_close()


def free_port() -> int:
    """A port of loopback that nobody has at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


class Site:
    """A data directory, its stand-in, the verbs that a person runs on it, and its server on `port`."""

    def __init__(self, folder: Path, wordpress: Server, port: int, template: Path | None = None) -> None:
        self.port, self.wordpress, self._template = port, wordpress, template
        self.settings = Settings(folder / "data", f"http://127.0.0.1:{port}", self.world.base, ("wp-plugin/*",))
        self.run = start(folder)

    @property
    def world(self) -> World:
        """What wordpress.org has."""
        return self.wordpress.world

    @property
    def url(self) -> str:
        """Where clients reach it."""
        return self.settings.url

    @property
    def environment(self) -> dict[str, str]:
        """What makes a process of the service one of this site."""
        to = self.settings
        told = {"DATA": str(to.data), "URL": to.url, "UPSTREAM": to.upstream, "MIRROR": " ".join(to.mirror)}
        return {f"WPPACKAGES_{name}": value for name, value in told.items()}

    def __call__(self, *verb: str, status: int = 0) -> str:
        """Do what `python -m wppackages VERB` does; what it prints. Fails the test on another exit status."""
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            found = main(verb, self.settings)
        assert found == status, said.getvalue()
        return said.getvalue()

    def filled(self) -> Site:
        """Bring it up to the world as that is at first."""
        if self._template:
            shutil.copytree(self._template, self.settings.data, symlinks=True)
        else:
            self("migrate")
            self.refreshed()
        return self

    def refreshed(self, *discover: str) -> Site:
        """Bring it up to what has happened; `discover` are options of that verb."""
        self("discover", *discover)
        self("update")
        self("build")
        return self

    @property
    def build(self) -> Build:
        """The current build."""
        found = Builds(self.settings).current()
        assert found is not None
        return found

    def kept(self) -> list[str]:
        """The builds that are kept."""
        return Builds(self.settings).kept()

    def versions(self, path: str) -> list[str]:
        """The versions of a document of the current build."""
        return [one["version"] for one in self.build.entries(path)]

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


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, wordpress: Server) -> tuple[Path, int]:
    """The data of a site that is filled, and the port that is in its addresses."""
    port = free_port()
    return Site(tmp_path_factory.mktemp("template"), wordpress, port).filled().settings.data, port


@pytest.fixture
def site(tmp_path: Path, wordpress: Server, template: tuple[Path, int]) -> Iterator[Site]:
    """A site of which nothing is there yet, in a world of its own."""
    wordpress.show(World(PACKAGES))
    one = Site(tmp_path, wordpress, template[1], template[0])
    yield one
    one.run.end()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site that is up, for tests that change nothing which others look at."""
    with serving() as wordpress:
        one = Site(tmp_path_factory.mktemp("site"), wordpress, free_port()).filled()
        one.serve("--check", "/ready")
        yield one
        one.run.end()


@pytest.fixture(scope="session")
def clients() -> None:
    """Composer and Chromium, installed where they are missing."""
    if any(shutil.which(one) is None for one in CLIENTS):
        if os.geteuid() != 0:
            pytest.skip(f"{', '.join(CLIENTS)}: not all of them are here, and only root can install them")
        subprocess.run([REQUIREMENTS, "clients"], check=True, timeout=480)
