"""Sources that are dangerous to copy: set-id programs, pipes, devices."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.host import Host
from tests.host.life import Shop
from tests.support import wait_until

SPECIAL = {"aaa-4755": 0o4755, "aab-2755": 0o2755, "aac-6777": 0o6777, "lib/aad-4711": 0o4711}
BIG = 192 << 20  # bytes: copied last, while somebody looks


@pytest.fixture(scope="module")
def shop(host: Host) -> Iterator[Shop]:
    """An app that is up, for all tests of this file."""
    one = Shop(host, "shop", 8000)
    one.write()
    one("up")
    yield one
    host.run("rm", "-rf", one.project)
    one.write()
    one.remove()
    assert one.left() == ""


class Watch:
    """Looks at every file of every release, complete or not, as fast as it can: no moment is to be missed."""

    def __init__(self, host: Host) -> None:
        self.releases = Path(f"/proc/{host.pid}/root/srv/shop/releases")
        self.looks, self.over = 0, threading.Event()
        self.special: set[str] = set()
        self.open: set[str] = set()  # directories of releases that are not complete, but for others to enter

    def look(self) -> None:
        while not self.over.is_set():
            for folder, _folders, files in os.walk(self.releases):
                for name in (*files, "."):
                    with contextlib.suppress(OSError):
                        if os.lstat(path := f"{folder}/{name}").st_mode & (stat.S_ISUID | stat.S_ISGID):
                            self.special.add(path)
            for incoming in self.releases.glob(".incoming-*"):
                with contextlib.suppress(OSError):  # complete, it is opened and then renamed
                    if not (incoming / "zzz").exists() and incoming.stat().st_mode & 0o077:
                        self.open.add(incoming.name)
            self.looks += 1

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        thread = threading.Thread(target=self.look)
        thread.start()
        try:
            yield
        finally:
            self.over.set()
            thread.join()


def special(shop: Shop, *, git: bool) -> None:
    """Set-id programs of root's in root's own project, and something big behind them."""
    host = shop.host
    shop.write()
    for name, mode in SPECIAL.items():
        make = 'mkdir -p "$(dirname "$1")"; cp /bin/sh "$1"; chmod "$2" "$1"'
        host.run("sh", "-c", make, "sh", f"{shop.project}/{name}", f"{mode:o}")
    host.run("chmod", "2777", f"{shop.project}/lib")
    host.run("truncate", "-s", str(BIG), f"{shop.project}/zzz")
    if git:
        host.run("sh", "-c", "rm -rf .git; git init -q; git add aaa* lib app.py", cwd=shop.project)


@pytest.mark.parametrize("git", [False, True])
def test_set_id_programs_in_the_sources(shop: Shop, git: bool) -> None:
    """Invariants 9 and 13: at no moment of a deploy is there one in /srv, complete or not, nor when it is killed."""
    host = shop.host
    special(shop, git=git)
    watch = Watch(host)
    with watch.watching():
        deploy = shop.popen("deploy")  # 1. killed in the copy
        incoming = wait_until(lambda: [*watch.releases.glob(".incoming-*/zzz")], 30)[0].parent
        deploy.kill()
        deploy.communicate(timeout=30)
        assert incoming.exists()
        left = incoming / "aaa-4755"
        assert stat.S_IMODE(left.stat().st_mode) & 0o7000 == 0
        inside = f"/srv/shop/releases/{incoming.name}"
        for argv in (["ls", inside], ["cat", f"{inside}/aaa-4755"], [f"{inside}/aaa-4755", "-c", "id"]):
            assert "ermission denied" in host.run(*argv, user="nobody", check=False).stderr
        release = shop.deploy()  # 2. and as a whole
    assert watch.looks > 20
    assert (watch.special, watch.open) == (set(), set())
    assert not incoming.exists()
    modes = host.run("stat", "-c", "%a", *(f"/srv/shop/releases/{release}/{name}" for name in SPECIAL)).stdout
    assert modes.split() == ["755"] * len(SPECIAL)
    host.run("rm", "-rf", shop.project)


def test_pipes_and_devices_in_the_sources(shop: Shop) -> None:
    """Invariants 3, 8 and 9: none gets into a release, and root neither opens one nor waits for its other end."""
    host = shop.host
    host.run("rm", "-rf", shop.project)
    shop.write()
    live = shop.live()
    host.run("mkfifo", f"{shop.project}/pipe")
    devices = host.run("mknod", f"{shop.project}/memory", "c", "1", "1", check=False).returncode == 0
    release = shop.deploy()
    found = host.run("find", f"/srv/shop/releases/{release}", "!", "-type", "f", "!", "-type", "d").stdout
    assert found == "", devices
    for kind, name in ((tarfile.FIFOTYPE, "pipe"), (tarfile.CHRTYPE, "memory"), (tarfile.BLKTYPE, "disk")):
        archive = tar(shop, name, kind)
        said = shop.fails("deploy", archive)
        assert name in said
        assert "Error: cannot" in said
    for name, said in (("app.py", "no such module"), (".env", "/.env: there is no such file")):  # a pipe since
        host.run("rm", "-rf", shop.project)
        shop.write(config='env_file = ".env"')
        host.write(f"{shop.project}/.env", "A=1\n")
        host.run("sh", "-c", f"git init -q; git add -A; rm {name}; mkfifo {name}", cwd=shop.project)
        assert said in shop.fails("deploy")
    host.run("rm", "-rf", shop.project)
    shop.write()
    assert shop.live()["release"] == release != live["release"]


def tar(shop: Shop, name: str, kind: bytes) -> str:
    """An archive of the project with one member more, of a kind that no release has."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        for own in ("app.py", "gapless.toml"):
            content = shop.host.read(f"{shop.project}/{own}").encode()
            member = tarfile.TarInfo(own)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        member = tarfile.TarInfo(name)
        member.type, member.mode, member.devmajor, member.devminor = kind, 0o6666, 1, 1
        archive.addfile(member)
    path = f"{shop.project}-{name}.tar"
    Path(f"/proc/{shop.host.pid}/root{path}").write_bytes(whole.getvalue())
    return path
