"""Locks where others are about: nobody but their owner can take them, and everybody may know who did."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gapless.errors import GaplessError
from gapless.home import Home
from gapless.provision import host
from gapless.release.deploy import deploy
from gapless.release.hold import hold
from gapless.release.lock import deploy_lock, holder
from gapless.release.store import Store
from gapless.switch.systemd.home import SystemdHome
from gapless.switch.systemd.systemctl import Systemctl
from tests.scripted import ScriptedManager
from tests.unit.release_kit import configure, make_project
from tests.unit.release_shop import Shop

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user too")


@pytest.fixture
def home() -> Iterator[Path]:
    """A home that everybody may enter, as /srv/NAME is."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextmanager
def nobody() -> Iterator[None]:
    """In the block we are somebody who owns nothing of it."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def holder_for_nobody(home: Path) -> int | None:
    """The pid of the holder, as others see it."""
    with nobody():
        found = holder(home)
    return found.pid if found else None


@contextmanager
def lax_umask() -> Iterator[None]:
    """What is made in the block is for all to read and write, unless it says otherwise."""
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)


@as_root
def test_nobody_else_can_take_a_lock(home: Path) -> None:
    """Invariant 2: who can open a file can lock it for ever, so none of ours can be opened, nor could be before."""
    (home / "lock").write_text("{}")
    (home / "lock").chmod(0o644)  # as an older gapless left it
    with lax_umask(), deploy_lock(home, why="deploy") as lock, lock.migrating():
        modes = {path.name: path.stat().st_mode & 0o777 for path in home.iterdir()}
        assert modes == {"lock": 0o600, "migration.lock": 0o600, "holder.json": 0o644}
        for path in (home / "lock", home / "migration.lock"):
            with nobody(), pytest.raises(PermissionError):
                path.open("rb")
    assert [path.name for path in home.iterdir()] == ["lock"]
    with nobody(), pytest.raises(PermissionError):
        (home / "lock").open("rb")


def test_a_holder_of_the_published_name_keeps_nobody_out(home: Path) -> None:
    """Invariant 2: what everybody can open, and so lock, nothing waits for."""
    with deploy_lock(home, why="deploy"), (home / "holder.json").open("rb") as published:
        fcntl.flock(published, fcntl.LOCK_EX)
        found = holder(home)
        assert found is not None
        assert found.pid == os.getpid()
    with deploy_lock(home, why="deploy"):
        pass


@as_root
def test_everybody_may_know_who_deploys(home: Path) -> None:
    """Invariant 2: who cannot open the lock learns who holds it, while that very process lives."""
    assert holder_for_nobody(home) is None
    with deploy_lock(home, why="deploy"):
        assert holder_for_nobody(home) == os.getpid()
        said = json.loads((home / "holder.json").read_text())
    assert holder_for_nobody(home) is None
    (home / "holder.json").write_text(json.dumps(said))  # as a killed deployer leaves it
    assert holder_for_nobody(home) == os.getpid()
    (home / "holder.json").write_text(json.dumps(said | {"started": said["started"] - 1}))  # its pid was given again
    assert holder_for_nobody(home) is None
    assert holder(home) is None


def test_an_unknown_process_that_holds_the_lock(home: Path) -> None:
    """Invariant 8: who holds the lock without a name is not taken for a migration, and the hint finds it."""
    with deploy_lock(home, why="deploy"):
        pass
    with (home / "lock").open("rb") as taken:
        fcntl.flock(taken, fcntl.LOCK_EX)
        with pytest.raises(GaplessError, match="did not say who it is") as refused:
            deploy_lock(home, why="deploy").__enter__()
    assert refused.value.status == 75
    assert f"fuser -v {home / 'lock'}" in refused.value.hint


def test_a_link_in_the_place_of_the_lock(home: Path) -> None:
    """Invariant 9: no lock and no name is made where a link leads to."""
    (home / "lock").symlink_to(home / "victim")
    with pytest.raises(GaplessError, match="cannot lock"):
        deploy_lock(home, why="deploy").__enter__()
    (home / "lock").unlink()
    (home / "holder.new").symlink_to(home / "victim")
    with deploy_lock(home, why="deploy"):
        assert not (home / "holder.json").is_symlink()
    assert not (home / "victim").exists()


@pytest.mark.parametrize("name", ["lock", "holder.json", "holder.new", "hold.json"])
def test_a_file_that_was_made_huge(home: Path, name: str) -> None:
    """Invariant 8: no size of a file of ours takes our memory."""
    with (home / name).open("wb") as file:
        file.truncate(1 << 40)
    if name == "hold.json":
        on_hold = hold(home)
        assert on_hold is not None
        assert on_hold.who == "somebody"
        return
    with deploy_lock(home, why="deploy") as lock:
        lock.name(release="r1")
        assert holder(home) == lock.holder
        with (home / name).open("wb") as file:
            file.truncate(1 << 40)
        lock.name(release="r2")
        found = holder(home)
        assert found is not None
        assert found.release == "r2"


def test_a_migration_has_nothing_of_the_deploy_lock(tmp_path: Path) -> None:
    """Invariant 2: a migration can neither unlock the deploy lock nor write to what its one descriptor leads to."""
    project = make_project(tmp_path / "shop")
    shop = Shop(project, ScriptedManager(project / ".gapless"))
    script = """
import fcntl, os
from gapless.errors import GaplessError
from gapless.release.lock import deploy_lock, holder
from pathlib import Path
home = Path(os.environ["GAPLESS_SHARED"]).parent
for entry in Path("/proc/self/fd").iterdir():
    try:
        descriptor, target = int(entry.name), str(entry.readlink())
    except FileNotFoundError:
        continue
    if target.startswith(str(home)) and "/log/" not in target and not os.path.isdir(target):
        print(target, os.get_inheritable(descriptor), fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE)
        fcntl.flock(descriptor, fcntl.LOCK_UN)
try:
    deploy_lock(home, why="a second one").__enter__()
except GaplessError as error:
    print(error.status)
"""
    (project / "migrate.py").write_text(script)
    configure(project, f"[release]\nmigrate = '{shlex.join([sys.executable, 'migrate.py'])}'\n")
    release = deploy(shop.target, project).release
    home = shop.target.home.root
    assert shop.target.store.log(release).read_text().splitlines() == [f"{home / 'migration.lock'} True 0", "75"]
    assert not list(home.glob("migration.lock"))


def test_what_an_ended_migration_left_is_removed(home: Path) -> None:
    """Invariant 5: the file of a migration that ended after its deployer was killed keeps nobody out."""
    (home / "migration.lock").touch(mode=0o600)
    assert holder(home) is None
    with deploy_lock(home, why="deploy") as lock:
        assert not (home / "migration.lock").exists()
        with pytest.raises(KeyboardInterrupt), lock.migrating():
            raise KeyboardInterrupt
        assert not (home / "migration.lock").exists()


@pytest.mark.timeout(20)
def test_pointing_waits_for_nobody(home: Path) -> None:
    """Invariant 1: a commit cannot be held up by whoever opens, and locks, the directory that it is in."""
    (home / "releases" / "r1").mkdir(parents=True)
    descriptor = os.open(home, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        Home(home).point("r1")
    finally:
        os.close(descriptor)
    assert Home(home).current() == "r1"


def test_a_killed_point_leaves_nothing_for_long(home: Path) -> None:
    """Invariant 5: the next command removes a link that was not renamed into place."""
    (home / "current.new-1").symlink_to("releases/r1")
    (home / "current").symlink_to("releases/r0")
    assert Store(home).clean() == ["current.new-1"]
    assert Home(home).current() == "r0"


def test_what_a_killed_up_left_is_not_foreign(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 7: an `up` that was killed when it had no more than the lock can be repeated."""
    monkeypatch.setattr(Systemctl, "do", lambda *_: "")
    shop = SystemdHome("shop", user=True)
    shop.root = home
    with deploy_lock(home, why="up"):
        (home / "holder.new").touch()
        host.refuse_foreign(shop)
    (home / "photos").mkdir()
    with pytest.raises(GaplessError, match="not gapless's"):
        host.refuse_foreign(shop)
