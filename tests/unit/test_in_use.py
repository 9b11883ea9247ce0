"""Which releases any process runs in, as /proc has it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gapless import programs
from gapless.home import Home
from gapless.release.store import Store
from tests.support import wait_until


@pytest.fixture
def home() -> Iterator[Path]:
    """A home with three releases, of which each has a program; every user may go there."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        home.chmod(0o755)
        for release in ("r1", "r2", "r3"):
            (home / "releases" / release / "bin").mkdir(parents=True)
            shutil.copy(shutil.which("sleep") or "", home / "releases" / release / "bin/sleep")
        yield home


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
    return programs.at_work(Home(home))


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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may be somebody else")
def test_a_stranger_pins_nothing(home: Path) -> None:
    """Invariant 12: anybody may enter a release, and say that he is of it; a prune counts the app's own and root's."""
    said = {"GAPLESS_RELEASE": "r3", "GAPLESS_SHARED": str(home / "shared")}
    stranger = ("setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", "/bin/sleep")
    with running(*stranger, cwd=home / "releases" / "r1", env=said):
        assert at_work(home) == set()
        (home / "shared").mkdir()
        os.chown(home / "shared", 54321, 54321)  # now he is whom the app runs as
        assert at_work(home) == {"r1", "r3"}


def test_a_release_that_is_taken_into_use_meanwhile_stays(home: Path) -> None:
    """Invariant 12: whoever comes between the look and the removal has his release back, whole."""
    store = Store(home)
    asked = []

    def in_use() -> set[str]:
        asked.append([path.name for path in store.releases.iterdir()])
        return {"r1"}

    assert not store.remove("r1", in_use)
    assert "r1" not in asked[0]  # nobody could begin to use it while it was looked for
    assert (store.path("r1") / "bin/sleep").exists()
    assert store.remove("r1")
    assert not store.path("r1").exists()
