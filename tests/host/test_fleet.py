"""A fleet: from a laptop, one command deploys a project to all hosts that its gapless.toml names."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.host.advice import TRY
from tests.host.host import Host
from tests.host.lan import Lan
from tests.host.laptop import Laptop, OnHost
from tests.host.life import CONFIG
from tests.support import figure, wait_until

THERE = "/etc/gapless/shop"
MIGRATED = "/srv/shop/shared/migrated"
HOSTS = """
[hosts]
web = ["web1", "root@web2"]
"""


@dataclass
class Fleet:
    """The laptop, and the app on each host by the host's name."""

    laptop: Laptop
    shops: dict[str, OnHost]
    said: str = ""  # by the command that made it

    def write(self, hosts: str = HOSTS, config: str = "") -> None:
        """The settings, in the checkout."""
        whole = CONFIG.format(name="shop", port=8000, linger="1s", more=config + hosts)
        (self.laptop.checkout / "gapless.toml").write_text(whole)

    def texts(self) -> dict[str, str]:
        """What each host's app answers, less its release and process."""
        return {name: " ".join(shop.get().split()[2:]) for name, shop in self.shops.items()}

    @contextmanager
    def deploying(self, hosts: str = "") -> Iterator[subprocess.Popen[str]]:
        """A deploy that takes its time to start a release on web1, at that moment; `hosts` are other settings of it."""
        self.write(HOSTS + hosts)
        self.laptop.commit("slow", boot=1)
        with self.laptop.popen("gapless deploy --json") as command:

            def begun() -> bool:
                assert command.poll() is None, command.communicate()[0]
                return self.unconfirmed("web1") is not None

            wait_until(begun, 60, "a release that is to be confirmed")
            yield command
        self.write()

    def unconfirmed(self, name: str) -> dict[str, Any] | None:
        """What waits to be confirmed on a host."""
        found = self.shops[name].host.run("cat", "/srv/shop/unconfirmed.json", check=False).stdout
        return dict(json.loads(found)) if found else None

    def decided(self) -> None:
        """Wait until nothing waits to be confirmed."""
        wait_until(lambda: not any(self.unconfirmed(name) for name in self.shops), 60, "a decision")

    @contextmanager
    def cut(self, name: str) -> Iterator[None]:
        """Nobody reaches a host over the network inside."""
        host = self.shops[name].host
        host.run("ip", "link", "set", "eth0", "down")
        try:
            yield
        finally:
            host.run("ip", "link", "set", "eth0", "up")


@pytest.fixture(scope="module")
def fleet(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two hosts on which the app is up, and never saw its repository."""
    with ExitStack() as stack:
        hosts = {"web1": host, "web2": stack.enter_context(Host())}
        lan = stack.enter_context(Lan())
        laptop = Laptop.of(lan, tmp_path_factory.mktemp("laptop"), hosts)
        one = Fleet(laptop, {name: OnHost(each, "shop", 8000) for name, each in hosts.items()})
        one.write()
        laptop.commit("one")
        for name in hosts:
            laptop(f"ssh {name} mkdir -p {THERE} && scp gapless.toml {name}:{THERE}/")
            laptop(f"gapless pack | ssh {name} gapless up - -C {THERE}")
        yield one
        for shop in one.shops.values():
            shop.remove()
            assert shop.left() == ""


def test_one_command_deploys_to_all_hosts(fleet: Fleet) -> None:
    """Each host has the release of the one artifact then, after as few connections as there can be."""
    laptop = fleet.laptop
    laptop.commit("two")
    laptop.connections()
    document = laptop.json("gapless deploy --json")
    figure(f"connections of a deploy to two hosts: {laptop.connections()}")
    assert [(one["host"], one["state"]) for one in document["hosts"]] == [("web1", "deployed"), ("web2", "deployed")]
    assert fleet.texts() == {"web1": "two", "web2": "two"}


def test_a_release_that_is_bad_on_one_host(fleet: Fleet) -> None:
    """Invariant 3: the host that cannot take it ends the deploy; the others go back; each is named, and why."""
    before = fleet.texts()
    fleet.shops["web2"].host.write("/etc/shop-is-bad", "")
    fleet.laptop.commit("bad", more="assert not os.path.exists('/etc/shop-is-bad'), 'not here'")
    document = fleet.laptop.json("gapless deploy --json", check=False)
    first, second = document["hosts"]
    assert (first["state"], second["state"]) == ("turned back", "failed")
    assert second["error"]["object"].endswith("on web2")
    assert any("not here" in line for line in second["error"]["details"])
    assert "web2: failed" in document["error"]["cause"]
    assert fleet.texts() == before


def test_a_host_that_cannot_be_reached(fleet: Fleet) -> None:
    """It is named, the others have the release; the next deploy brings it along."""
    laptop = fleet.laptop
    laptop.commit("three")
    with fleet.cut("web2"):
        said = laptop("gapless deploy", check=False)
    assert said.returncode == 1
    assert "web1: deployed" in said.stdout
    assert "cannot reach web2" in said.stderr
    assert fleet.texts() == {"web1": "three", "web2": "two"}
    by_hand, together = TRY.findall(said.stderr)
    look, again = together.split("`")[1::2]
    laptop(by_hand.split("`")[1])
    assert "The hosts do not have one release" in laptop(look).stdout
    laptop(again)
    assert fleet.texts() == {"web1": "three", "web2": "three"}


def test_some_hosts_alone(fleet: Fleet) -> None:
    """-H names groups and hosts; one that is not there is refused, and which there are is said."""
    laptop = fleet.laptop
    laptop.commit("four")
    laptop("gapless deploy -H web2")
    assert fleet.texts() == {"web1": "three", "web2": "four"}
    refused = laptop("gapless deploy -H web3", check=False)
    assert refused.returncode == 2
    assert "there are: web, web1, web2" in refused.stderr
    laptop("gapless deploy -H web")
    assert fleet.texts() == {"web1": "four", "web2": "four"}


def test_hosts_that_somebody_else_has(fleet: Fleet) -> None:
    """Invariant 2: where one host is refused, none gets anything; it is said who has it, and what was taken is back."""
    laptop, shop = fleet.laptop, fleet.shops["web2"]
    before = fleet.texts()
    taken = shop("lock", "acquire", "--why", "an upgrade", "--for", "10m", "--by", "ann@desk", "--json")
    laptop.commit("five")
    refused = laptop("gapless deploy", check=False)
    assert refused.returncode == 75
    assert "ann@desk" in refused.stderr
    assert "an upgrade" in refused.stderr
    assert fleet.texts() == before
    assert fleet.shops["web1"].status()["locked_by"] is None
    shop("lock", "release", "--lease", json.loads(taken.stdout)["token"])
    laptop("gapless deploy")
    assert fleet.texts() == {"web1": "five", "web2": "five"}


def test_all_hosts_go_back_to_one_release(fleet: Fleet) -> None:
    """`rollback` chooses what all had before, and `status` shows that they have one release, or that they do not."""
    laptop = fleet.laptop
    before = fleet.texts()
    laptop.commit("six")
    laptop("gapless deploy -H web2")
    apart = laptop.json("gapless status --json")
    assert not apart["same"]
    laptop("gapless deploy")
    together = laptop.json("gapless status --json")
    assert together["same"]
    assert {one["status"]["id"] for one in together["hosts"]} == {laptop.id()}
    document = laptop.json("gapless rollback --json")
    assert [one["state"] for one in document["hosts"]] == ["rolled back", "rolled back"]
    assert fleet.texts() == before


def test_a_caller_who_goes_away(fleet: Fleet) -> None:
    """Invariant 5: Ctrl-C ends it for all hosts, each is named, and what has begun turns itself back."""
    before = fleet.texts()
    with fleet.deploying('[fleet]\nconfirm = "3s"') as command:
        command.send_signal(signal.SIGINT)
        document = json.loads(command.communicate()[0])
    assert command.returncode == 130
    assert [one["state"] for one in document["hosts"]] == ["interrupted", "spared"]
    fleet.decided()
    assert fleet.texts() == before
    assert fleet.shops["web1"].status()["locked_by"] is None


def test_a_caller_who_is_killed(fleet: Fleet) -> None:
    """Invariant 5: nothing is confirmed in his name; the lease says whose it is, and can be ended."""
    before = fleet.texts()
    with fleet.deploying('[fleet]\nconfirm = "3s"') as command:
        command.kill()
        command.communicate()  # Ansible has ended, too: it has this pipe
    fleet.decided()
    assert fleet.texts() == before
    for shop in fleet.shops.values():
        assert "deploy of" in shop.status()["locked_by"]["why"]
        shop("lock", "release", "--yes")


def test_a_host_that_cuts_itself_off(fleet: Fleet) -> None:
    """It cannot be reached anew after its switchover: it turns itself back, and no other host gets the release."""
    before = fleet.texts()
    with fleet.deploying('[fleet]\nconfirm = "4s"') as command, fleet.cut("web1"):
        document = json.loads(command.communicate()[0])
        fleet.decided()
    assert command.returncode == 1
    assert [one["state"] for one in document["hosts"]] == ["unreachable", "spared"]
    assert fleet.texts() == before
    wait_until(lambda: fleet.laptop("ssh web1 gapless lock release --yes -C " + THERE, check=False).returncode == 0)


def test_one_database_is_migrated_once(fleet: Fleet) -> None:
    """By the first host, before any other has the release; with "each" every host migrates for itself."""
    for whose, counts in (("once", [1, 0]), ("each", [2, 1])):
        migrate = 'release = { migrate = "echo now >> $GAPLESS_SHARED/migrated" }'
        fleet.write(f'{HOSTS}[fleet]\nmigrate = "{whose}"\n', migrate)
        fleet.laptop.commit(whose)
        fleet.laptop("gapless deploy")
        assert fleet.texts() == {"web1": whose, "web2": whose}
        found = [shop.host.run("cat", MIGRATED, check=False).stdout for shop in fleet.shops.values()]
        assert [len(one.split()) for one in found] == counts
    fleet.write()
