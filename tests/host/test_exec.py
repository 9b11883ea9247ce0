"""What the app's user may do when root runs its commands: build, migration and `gapless exec`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.host.host import Host
from tests.host.life import Shop, app_up

SEEN = "grep -E '^(Cap|NoNewPrivs|Uid)' /proc/self/status; id -un"
CONFIG = f"""
build.run = '''
{SEEN}
systemd-notify --ready || echo told nobody
'''
release.migrate = "{SEEN}"
"""


@pytest.fixture
def shop(host: Host) -> Iterator[Shop]:
    """An app whose commands show what they may do; it is up."""
    with app_up(host, config=CONFIG) as one:
        yield one


def judge(said: str, *users: str) -> None:
    """The reports are of these users, one of each, without a capability, and for good."""
    times = len(users)
    lines = said.splitlines()
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert lines.count(f"{name}:\t{0:016x}") == times, said
    assert lines.count("NoNewPrivs:\t1") == times, said
    assert [line for line in lines if line in {"shop", "shop-build"}] == [*users], said
    assert not [line for line in lines if line.startswith("Uid:") and "0" in line.split()], said


def test_no_command_of_the_app_can_gain_a_right(shop: Shop) -> None:
    """Invariants 9 and 10: build, migration and exec have no capability in any set, and no_new_privs."""
    judge(shop.host.read(f"/srv/shop/log/{shop.current()}.log"), "shop-build", "shop")
    judge(shop("exec", "sh", "-c", SEEN).stdout, "shop")


def test_a_build_cannot_speak_for_the_unit_that_deploys(shop: Shop) -> None:
    """A deploy under a unit with Type=notify: that a build says READY=1 does not make the unit ready."""
    before = shop.current()
    unit = ["--unit=deployer", "--property=Type=notify", "--property=NotifyAccess=all", "--same-dir"]
    gapless = [sys.executable, "-m", "gapless"]
    done = shop.host.run("systemd-run", *unit, *gapless, "deploy", cwd=shop.project, check=False)
    assert done.returncode != 0
    assert shop.show("deployer", "Result") == "protocol"  # it ended without having been ready
    assert shop.current() != before
    assert "told nobody" in shop.host.read(f"/srv/shop/log/{shop.current()}.log")
    shop.host.run("systemctl", "reset-failed", "deployer")
