"""A first deploy that fails, however it does: nothing is left that a connection, a boot or an advice could start."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.host.host import Host
from tests.host.life import Shop, leaving_nothing
from tests.support import wait_until

ENABLED = "/etc/systemd/system/sockets.target.wants/shop.socket"


@pytest.fixture
def shop(host: Host) -> Iterator[Shop]:
    """An app that is not up yet; nothing of it is left afterwards."""
    with leaving_nothing(Shop(host, "shop", 8000)) as one:
        yield one


def refused(shop: Shop) -> None:
    """It cannot start."""
    shop.write(app="raise SystemExit('no settings')")
    assert "no settings" in shop.fails("up")


def too_late(shop: Shop) -> None:
    """It does not become ready within its time."""
    shop.write()
    path = f"{shop.project}/gapless.toml"
    config = shop.host.read(path).replace('timeout = "20s"', 'timeout = "1s", rehearse = false')
    shop.host.write(path, config.replace("gapless serve app:app", "/bin/sleep 1000"))
    assert "it was not ready within" in shop.fails("up")


def booting(shop: Shop) -> subprocess.Popen[str]:
    """An `up` whose candidate boots."""
    shop.write(boot=60)
    up = shop.popen("up")
    wait_until(lambda: [one for one in shop.status()["instances"] if one["pid"]], 30, "the candidate")
    return up


def interrupted(shop: Shop) -> None:
    """Its deployer gets Ctrl-C."""
    up = booting(shop)
    shop.host.run("kill", "-INT", str(shop.status()["locked_by"]["pid"]))
    up.communicate(timeout=30)
    assert up.returncode == 130


def killed(shop: Shop) -> None:
    """Its deployer is killed."""
    up = booting(shop)
    up.kill()
    up.communicate(timeout=30)


FAILURES = [refused, too_late, interrupted, killed]


@pytest.mark.parametrize("fail", FAILURES, ids=lambda fail: fail.__name__)
def test_nothing_of_a_failed_first_release_can_be_started(shop: Shop, fail: Callable[[Shop], None]) -> None:
    """Invariants 3 and 4: neither who opens the socket, nor doctor's advice, puts a refused release in public."""
    # 1. The first deploy fails; its socket, its unit and what named it are gone.
    fail(shop)
    wait_until(lambda: not shop.status()["instances"] and shop.inode() == 0, 30, "it is gone")
    left = "find /etc/systemd/system /run/systemd/system -name 'shop@*' -o -name candidate.conf"
    wait_until(lambda: shop.host.run("sh", "-c", left).stdout == "", 30, "its files are gone")
    assert shop.host.run("test", "-e", ENABLED, check=False).returncode == 1
    # 2. Whoever opens the socket by hand starts nothing.
    shop.host.run("systemctl", "start", "shop.socket", check=False)
    assert shop.inode() == 0
    assert shop.status()["instances"] == []
    # 3. doctor says what is so, and what it advises works.
    found = json.loads(shop("doctor", "--json", check=False).stdout)["findings"]
    by_name = {one["name"]: one for one in found}
    assert "until the first release serves" in by_name["socket"]["what"]
    assert by_name["live unit"]["hint"] == "gapless deploy"
    assert not [one["hint"] for one in found if "systemctl" in one["hint"]]
    shop.write(text="better")
    shop("deploy")
    assert shop.get().endswith("better")
    assert shop.host.run("test", "-e", ENABLED, check=False).returncode == 0


def test_a_boot_after_a_failed_first_deploy_opens_nothing(fresh_host: Host) -> None:
    """Invariant 4: a power cut in the middle of it, or after it, and no port is open; the next deploy works."""
    shop = Shop(fresh_host, "shop", 8000)
    refused(shop)
    up = booting(shop)
    fresh_host.kill_power()
    up.communicate(timeout=30)
    fresh_host.boot()
    assert shop.inode() == 0
    assert shop.status()["instances"] == []
    shop.write(text="better")
    shop("deploy")
    fresh_host.kill_power()
    fresh_host.boot()
    assert shop.get().endswith("better")
