"""What a deploy does when the host has no room left."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.host.host import Host
from tests.host.life import Shop, visits

MEGABYTE = 1 << 20


@pytest.fixture
def shop(host: Host) -> Iterator[Shop]:
    """An app on a disk of 32 MB of its own."""
    host.run("mkdir", "-p", "/srv/cellar")
    host.run("mount", "-t", "tmpfs", "-o", "size=32m,mode=755", "tmpfs", "/srv/cellar")
    one = Shop(host, "cellar", 8000)
    one.write()
    one("up")
    yield one
    host.run("sh", "-c", "rm -f /srv/cellar/shared/full")
    one("down", "--yes")
    host.run("umount", "/srv/cellar")
    one.remove()


def fill(shop: Shop, kilobytes: int) -> None:
    """Leave so much of the disk."""
    script = 'rm -f "$1/full"; free=$(df -k --output=avail "$1" | tail -1); fallocate -l "$((free - $2))k" "$1/full"'
    shop.host.run("sh", "-c", script, "sh", "/srv/cellar/shared", str(kilobytes))


@pytest.mark.parametrize("left", [0, 4, 64])
def test_a_full_disk_fails_the_deploy_and_what_serves_goes_on(shop: Shop, left: int) -> None:
    """Invariants 3 and 8: wherever it hits the end of the disk, the error says so, and the next deploy works."""
    before = shop.live()
    shop.write(text="second", app="#" * 100 * 1024)
    with visits(shop) as seen:
        fill(shop, left)
        assert "No space left on device" in shop.fails("deploy")
        assert shop.live()["pid"] == before["pid"]
    assert seen.losses == []
    assert seen.releases == [before["release"]]
    shop.host.run("rm", "/srv/cellar/shared/full")
    shop.deploy()
    assert shop.get().endswith("second")


def test_no_room_for_units_fails_the_deploy_and_what_serves_goes_on(shop: Shop) -> None:
    """Invariants 3 and 8: the same of the disk of the units, where the commit is."""
    before = shop.live()
    units = "/etc/systemd/system"
    script = (
        f"cp -a {units} /tmp/units && mount -t tmpfs -o size=1m,mode=755 tmpfs {units} && cp -a /tmp/units/. {units}"
    )
    shop.host.run("sh", "-c", script)
    shop.host.run("sh", "-c", f"cat /dev/zero > {units}/full || :")
    shop.write(text="second")
    with visits(shop) as seen:
        said = shop("deploy", check=False)
        shop.host.run("umount", units)
        assert "No space left on device" in said.stderr
        assert not said.stderr.startswith("Traceback"), said.stderr
        assert shop.live()["pid"] == before["pid"]
    assert seen.losses == []
    shop.deploy()
    assert shop.get().endswith("second")


def test_a_candidate_without_memory_fails_and_what_serves_goes_on(shop: Shop) -> None:
    """Invariant 3: its last words say why. It is a limit of addresses: a host may have no memory cgroup."""
    before = shop.live()
    drop_in = "/etc/systemd/system/cellar@.service.d/limit.conf"
    shop.host.write(drop_in, f"[Service]\nLimitAS={400 * MEGABYTE}\n")
    shop.host.run("systemctl", "daemon-reload")
    shop.write(text="second", app=f"hoard = bytearray({500 * MEGABYTE})")
    with visits(shop) as seen:
        assert "MemoryError" in shop.fails("deploy")
        assert shop.live()["pid"] == before["pid"]
    assert seen.losses == []
    shop.host.run("rm", "-r", drop_in.rpartition("/")[0])
    shop.host.run("systemctl", "daemon-reload")
    shop.deploy()
    assert shop.get().endswith("second")
