"""Releases that belong to another user: where we are not root, to the user we are."""

from __future__ import annotations

import os
import pwd
import select
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gapless.errors import GaplessError
from gapless.home import Home
from gapless.programs import Inherited
from gapless.release import owner
from gapless.release.attempt import Target
from gapless.release.commands import interact
from gapless.release.deploy import deploy
from tests.scripted import ScriptedManager
from tests.unit.release_kit import configure, make_project

OWNER = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


@pytest.fixture
def project() -> Iterator[Path]:
    """A project where anybody may go: not in pytest's own directory."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield make_project(Path(folder) / "shop")


def target(project: Path) -> Target:
    home = Home(project / ".gapless")
    home.owner = OWNER
    return Target(home, ScriptedManager(home.root))


# What systemd 252 to 257 say to the main process of a unit (systemd.exec(5)), and gapless to an instance.
TOLD = [
    "CREDENTIALS_DIRECTORY",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LOG_NAMESPACE",
    "MAINPID",
    "MANAGERPID",
    "SYSTEMD_EXEC_PID",
    "FDSTORE",
    "PIDFILE",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "LISTEN_PIDFDID",
    "REMOTE_ADDR",
    "MEMORY_PRESSURE_WATCH",
    "MEMORY_PRESSURE_WRITE",
    "MONITOR_UNIT",
    "MONITOR_SERVICE_RESULT",
    "TRIGGER_UNIT",
    "SERVICE_RESULT",
    "EXIT_CODE",
    "RUNTIME_DIRECTORY",
    "STATE_DIRECTORY",
    "CACHE_DIRECTORY",
    "LOGS_DIRECTORY",
    "CONFIGURATION_DIRECTORY",
    "GAPLESS_PRIVATE",
    "GAPLESS_CHECK",
]
READY = "import os, socket; socket.socket(1, 2).sendto(b'READY=1', os.environ.get('NOTIFY_SOCKET', 'nobody'))"
BUILD = f"""
[build]
run = '''
env > built
python3 -c "{READY}" || :
'''
[release]
migrate = "env > $GAPLESS_SHARED/migrated"
"""


def test_what_a_manager_told_the_deployer_comes_to_nobody_else(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 10: a build that says READY=1 says it to nobody; so for migration and exec."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(project.parent / "notify"))
        (project.parent / "notify").chmod(0o777)
        for name in TOLD:
            monkeypatch.setenv(name, "said to the deployer")
        monkeypatch.setenv("NOTIFY_SOCKET", str(project.parent / "notify"))
        monkeypatch.setenv("LISTENING", "is no word of a manager")
        configure(project, BUILD)
        place = target(project)
        shared = place.store.shared
        shared.mkdir(parents=True, exist_ok=True)
        shared.chmod(0o777)
        release = deploy(place, project).release
        script = 'env > "$GAPLESS_SHARED/executed"'
        around = Inherited.ours()
        assert interact(["sh", "-c", script], store=place.store, release=release, around=around) == 0
        assert select.select([manager], [], [], 0)[0] == []
    for file in (place.store.path(release) / "built", shared / "migrated", shared / "executed"):
        found = dict(line.split("=", 1) for line in file.read_text().splitlines() if "=" in line)
        assert found.keys() & set(TOLD) == set(), file.name
        assert found["LISTENING"] == "is no word of a manager"
        assert found["GAPLESS_RELEASE"] == release


def test_no_such_user(project: Path) -> None:
    """Invariant 8: a user that does not exist is named."""
    with pytest.raises(GaplessError, match="cannot find the user no-such-user"):
        owner.give(project, "no-such-user")


def test_giving_a_tree_away_leaves_what_its_links_lead_to(tmp_path: Path) -> None:
    """A link in the tree changes hands, what it leads to does not."""
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    outside = tmp_path / "outside"
    shutil.copy("/etc/passwd", outside)
    (tmp_path / "tree" / "deep" / "link").symlink_to(outside)
    owner.give(tmp_path / "tree", OWNER)
    assert (tmp_path / "tree" / "deep" / "link").lstat().st_uid == pwd.getpwnam(OWNER).pw_uid
    assert outside.stat().st_uid == os.geteuid()
