"""Which releases any process runs in, as /proc has it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gapless import environment
from gapless.home import Home
from tests.support import wait_until


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with three releases, of which each has a program."""
    for release in ("r1", "r2", "r3"):
        (tmp_path / "releases" / release / "bin").mkdir(parents=True)
        shutil.copy(shutil.which("sleep") or "", tmp_path / "releases" / release / "bin/sleep")
    return tmp_path


@contextmanager
def running(*argv: str, cwd: Path | str = "/", env: dict[str, str] | None = None) -> Iterator[None]:
    """A process that runs as long as the block."""
    with subprocess.Popen([*argv, "1000"], cwd=cwd, env=env or {}) as process:
        try:
            wait_until(lambda: "sleep" in Path(f"/proc/{process.pid}/comm").read_text())
            yield
        finally:
            process.kill()


def at_work(home: Path) -> set[str]:
    return environment.at_work(Home(home))


def test_a_process_uses_the_release_that_it_works_in_comes_from_or_was_started_for(home: Path) -> None:
    """Invariant 12: its directory, its program, or its variables tell of it; each of them alone is enough."""
    assert at_work(home) == set()
    with running("/bin/sleep", cwd=home / "releases" / "r1" / "bin"):
        assert at_work(home) == {"r1"}
        with running(str(home / "releases/r2/bin/sleep")):
            assert at_work(home) == {"r1", "r2"}
    with running("/bin/sleep", env={"GAPLESS_RELEASE": "r3", "GAPLESS_SHARED": str(home / "shared")}):
        assert at_work(home) == {"r3"}
    assert at_work(home) == set()


def test_another_apps_release_of_the_same_name_does_not_count(home: Path) -> None:
    """Two apps may be deployed in the same second, of the same revision."""
    with running("/bin/sleep", env={"GAPLESS_RELEASE": "r3", "GAPLESS_SHARED": "/srv/other/shared"}):
        assert at_work(home) == set()
    (home / "releases-of-another/r1").mkdir(parents=True)
    with running("/bin/sleep", cwd=home / "releases-of-another/r1"):
        assert at_work(home) == set()
