"""A fleet: from a laptop, one command deploys a project to all hosts that its gapless.toml names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.host.host import Host
from tests.host.lan import Lan
from tests.host.laptop import Laptop
from tests.host.life import CONFIG, Shop
from tests.support import figure

THERE = "/etc/gapless/shop"
HOSTS = """
[hosts]
web = ["web1", "root@web2"]
"""


class OnHost(Shop):
    """The app `shop`, whose directory on the host has its settings alone."""

    @property
    def project(self) -> str:
        return THERE


@dataclass
class Fleet:
    """The laptop, and the app on each host by the host's name."""

    laptop: Laptop
    shops: dict[str, OnHost]

    def write(self, hosts: str = HOSTS, config: str = "") -> None:
        """The settings, in the checkout."""
        whole = CONFIG.format(name="shop", port=8000, linger="1s", more=config + hosts)
        (self.laptop.checkout / "gapless.toml").write_text(whole)

    def texts(self) -> dict[str, str]:
        """What each host's app answers, less its release and process."""
        return {name: " ".join(shop.get().split()[2:]) for name, shop in self.shops.items()}


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
