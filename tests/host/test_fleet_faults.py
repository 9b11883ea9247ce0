"""What can go wrong while many hosts are deployed to, with visitors who come through a balancer.

Each ends with every host on one release, or with the others named; and nothing was lost.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.host.advice import TRY
from tests.host.balancer import Balancer
from tests.host.disk import full
from tests.host.fleet import PORT, Fleet, booted
from tests.host.traffic import Traffic, traffic
from tests.support import wait_until

HOSTS = 4  # in three waves
# Seconds to be reached again, and to stand by: where a deploy must come through on a busy machine; and where not.
LONG, SHORT = (60, 600), (20, 20)
SETTINGS = """
[hosts]
web = [{hosts}]
waves = [1, 2, "100%"]
[fleet]
confirm = "{confirm}s"
stand_by = "{stand_by}s"
"""
BAD = "assert not os.path.exists('/etc/shop-is-bad'), 'not here'"
SETTLED = 120.0  # seconds for hosts to turn back by themselves, on a busy machine
SEED = 0
KEPT = "deployed"  # said in the last step: from there on all are to have it
NAMES = [f"web{number}" for number in range(1, HOSTS + 1)]
# That a host's line tells of. What is proven in the last wave may be kept the next moment.
MOMENTS = [
    *(f"{name}: deploying" for name in NAMES),
    *(f"{name}: {what}" for name in NAMES[:2] for what in ("confirming", "proven")),
    *(f"{name}: {KEPT}" for name in NAMES),
]


@dataclass
class Shops:
    """The fleet with the app up on every host, and the balancer in front."""

    fleet: Fleet
    balancer: Balancer

    def settings(self, times: tuple[int, int] = LONG) -> str:
        """What the project says of its hosts."""
        hosts = ", ".join(f'"{name}"' for name in self.fleet.hosts)
        return SETTINGS.format(hosts=hosts, confirm=times[0], stand_by=times[1])

    def commit(self, more: str = "", times: tuple[int, int] = LONG, fleet: str = "") -> str:
        """Commit the next release, with more of its own and of [fleet]; what `gapless pack` calls it."""
        self.fleet.commit(more, self.settings(times) + fleet)
        return str(json.loads(self.fleet.gapless("pack", "-n", "--json").stdout)["id"])

    def serve(self) -> set[str]:
        """The ids of what the hosts serve, asked on each."""
        return {*self.fleet.revisions().values()}

    def deploy(self) -> str:
        """A deploy that must succeed, of another release; its id, which each host has then."""
        wanted = self.commit()
        self.fleet.gapless("deploy", "-q")
        assert self.serve() == {wanted}
        return wanted

    def said(self, *argv: str) -> dict[str, Any]:
        """The document of a command on the laptop, whether it succeeds or not."""
        document: dict[str, Any] = json.loads(self.fleet.gapless(*argv, "--json", check=False).stdout)
        return document

    @contextmanager
    def deploying(self, until: str) -> Iterator[subprocess.Popen[str]]:
        """A deploy that has come so far as to say `until`, of a host."""
        with self.fleet.popen("deploy") as deploy:
            assert deploy.stdout is not None
            said = ""
            try:
                for line in deploy.stdout:
                    said += line
                    if line.startswith(until):
                        break
                else:
                    raise AssertionError(f"it never said {until!r}:\n{said}")
                yield deploy
            finally:
                with_its_own(deploy)
                deploy.communicate()

    def settled(self) -> None:
        """Wait until no host is at work or has an unconfirmed release; then end what leases somebody dead has left."""

        def still(name: str) -> bool:
            return self.works(name) or bool(self.fleet.on(name, "status")["unconfirmed"])

        wait_until(lambda: not any(self.fleet.each(still).values()), SETTLED, "hosts that are at rest")
        self.fleet.each(lambda name: self.fleet.on(name, "lock", "release"))

    def works(self, name: str) -> bool:
        """Whether a command has the app on a host: more than a lease."""
        holder = self.fleet.on(name, "status")["locked_by"]
        return bool(holder and not holder["until"])


def with_its_own(deploy: subprocess.Popen[str]) -> None:
    """Kill a laptop's gapless and all that it started there, as a laptop without power does."""
    found = subprocess.run(["pgrep", "-g", str(deploy.pid)], capture_output=True, text=True, check=False).stdout
    children = descendants(deploy.pid)
    for pid in {*map(int, found.split()), *children}:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def descendants(pid: int) -> list[int]:
    """The children of a process, and theirs."""
    said = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout
    children = [int(one) for one in said.split()]
    return children + [one for child in children for one in descendants(child)]


@pytest.fixture(scope="module")
def shops(_bootable: None) -> Iterator[Shops]:
    """Hosts that were deployed to once."""
    with booted(HOSTS) as fleet:
        backends = [f"{address}:{PORT}" for address in fleet.lan.addresses.values()]
        with Balancer(fleet.lan, backends, retries=True) as balancer:
            shops = Shops(fleet, balancer)
            fleet.up(shops.settings())
            yield shops


@pytest.fixture
def visitors(shops: Shops) -> Iterator[Traffic]:
    """Traffic to all hosts through the balancer, of which nothing may be lost."""
    with traffic(shops.balancer, shops.balancer.port) as seen:
        seen.flows()
        yield seen
        seen.flows()
    assert seen.lost == []


def test_a_deploy_in_waves(shops: Shops, visitors: Traffic) -> None:
    """Invariant 1: one release everywhere, and each host had as few connections as there can be."""
    before = shops.fleet.ssh()
    shops.deploy()
    after = shops.fleet.ssh()
    assert all(after[name][0] - before[name][0] <= 5 for name in before), (before, after)
    assert len(visitors.releases) >= 2


@pytest.mark.usefixtures("visitors")
def test_a_release_that_is_bad_on_one_host(shops: Shops) -> None:
    """Invariant 3: the host is named, and why; every host serves what it served before."""
    before = shops.serve()
    shops.fleet.hosts["web3"].write("/etc/shop-is-bad", "")
    shops.commit(BAD)
    said = shops.said("deploy")
    assert {one["host"]: one["state"] for one in said["hosts"]}["web3"] == "failed"
    assert "web3" in said["error"]["cause"]
    shops.settled()
    assert shops.serve() == before
    shops.deploy()


@pytest.mark.usefixtures("visitors")
def test_hosts_that_nobody_reaches_from_outside(shops: Shops) -> None:
    """Invariant 3: each is well for itself, but the page is asked from the laptop: none keeps it."""
    before = shops.serve()
    laptop = shops.fleet.lan.within(sys.executable, "-m", "gapless", "deploy")
    shops.commit(fleet='url = "http://{host}:1/health"\n')
    failed = shops.fleet.run(*laptop, check=False)
    assert "cannot visit web1 at http://" in failed.stderr
    assert shops.serve() == before
    curl = shops.fleet.lan.within(*TRY.findall(failed.stderr)[0].split("`")[1].split())
    assert shops.fleet.run(*curl, check=False).returncode == 7  # it cannot connect, curl(1)
    wanted = shops.commit(fleet=f'url = "http://{{host}}:{PORT}/health"\n')
    shops.fleet.run(*laptop)
    assert shops.serve() == {wanted}


@pytest.mark.usefixtures("visitors")
def test_a_full_disk_on_one_host(shops: Shops) -> None:
    """Invariant 3: the host is named, and that its disk is full; every host serves what it served before."""
    before = shops.serve()
    with full(shops.fleet.hosts["web4"]):
        shops.commit()
        said = shops.said("deploy")
        by_host = {one["host"]: one for one in said["hosts"]}
        assert by_host["web4"]["state"] == "failed"
        assert "space" in json.dumps(by_host["web4"]["error"])
    shops.settled()
    assert shops.serve() == before
    shops.deploy()


@pytest.mark.usefixtures("visitors")
def test_a_host_that_dies_in_mid_wave(shops: Shops) -> None:
    """The dead host is named; those that live have one release, and it has that after the next deploy."""
    wanted = shops.commit()
    fleet = shops.fleet
    with shops.deploying("web4: deploying") as deploy:
        fleet.hosts["web4"].kill_power()
        said = deploy.communicate(timeout=120)[0]
    assert deploy.returncode != 0
    assert "web4" in said.partition("Error:")[2], said
    fleet.boot("web4")
    shops.settled()
    others = {one for name, one in fleet.revisions().items() if name != "web4"}
    assert len(others) == 1
    fleet.gapless("deploy", "-q")
    assert shops.serve() == {wanted}


@pytest.mark.usefixtures("visitors")
def test_an_unreachable_host_is_named_and_brought_along(shops: Shops) -> None:
    """Those that are reached get the release; the next deploy brings the other."""
    wanted, fleet = shops.commit(), shops.fleet
    with fleet.lan.unplugged(fleet.lan.addresses["web2"]):
        said = shops.said("deploy")
        states = {one["host"]: one["state"] for one in said["hosts"]}
        assert states.pop("web2") == "unreachable"
        assert {*states.values()} == {"deployed"}
    fleet.gapless("deploy", "-q")
    assert shops.serve() == {wanted}


@pytest.mark.usefixtures("visitors")
def test_two_operators_at_once(shops: Shops) -> None:
    """Invariant 2: whoever comes second is refused and told who has the hosts, or waits; all have one release."""
    wanted = shops.commit()
    with ThreadPoolExecutor(2) as threads:
        done = [*threads.map(lambda _: shops.fleet.gapless("deploy", check=False), range(2))]
    statuses = sorted(one.returncode for one in done)
    assert statuses in ([0, 0], [0, 75]), [one.stdout + one.stderr for one in done]
    assert all("deploy of" in one.stderr for one in done if one.returncode == 75)
    shops.settled()
    assert shops.serve() == {wanted}


@pytest.mark.usefixtures("visitors")
def test_the_callers_network_is_cut(shops: Shops) -> None:
    """Invariant 5: what nobody confirms, the hosts turn back from by themselves; all have one release, the old one."""
    before = shops.serve()
    shops.commit(times=SHORT)
    fleet = shops.fleet
    with shops.deploying("web3: deploying") as deploy, fleet.lan.unplugged():
        shops.settled()
        assert shops.serve() == before
        assert deploy.wait(120) != 0
    shops.deploy()


@pytest.mark.parametrize("moment", random.Random(SEED).sample(MOMENTS, 3))  # noqa: S311 -- no secret
@pytest.mark.usefixtures("visitors")
def test_the_caller_is_killed(shops: Shops, moment: str) -> None:
    """Invariant 5: before the last step, all hosts turn back by themselves; in it, `status` says which has which."""
    before, last = shops.serve(), moment.endswith(KEPT)
    wanted = shops.commit(times=LONG if last else SHORT)
    with shops.deploying(moment):
        pass
    if last:
        wait_until(lambda: not any(shops.fleet.each(shops.works).values()), SETTLED, "hosts that are not at work")
        serve = shops.fleet.revisions()
        assert {*serve.values()} <= {*before, wanted}
        said = shops.said("status")
        assert {one["host"]: one["status"]["id"] for one in said["hosts"]} == serve
        for one in said["hosts"]:
            if one["status"]["unconfirmed"]:
                shops.fleet.on(one["host"], "rollback", "--yes")
    shops.settled()
    if not last:
        assert shops.serve() == before
    shops.deploy()
