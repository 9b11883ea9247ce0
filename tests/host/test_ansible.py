"""The collection: from a bare Debian with SSH and Python to deploys that lose nothing, by its playbooks."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.host import debs
from tests.host.ansible import CACHE, Playbooks, install_collection, program, wheel
from tests.host.host import PROJECT, REQUIREMENTS, Host
from tests.host.lan import Lan
from tests.host.life import APP, CONFIG
from tests.host.traffic import traffic
from tests.support import wait_until

PORT = 8000
DIRECTORY = "/etc/gapless/shop"


@dataclass
class Site:
    """The app `shop`: its checkout on the controller, and the host that it is deployed on."""

    host: Host
    lan: Lan
    play: Playbooks
    checkout: Path

    def commit(self, text: str, app: str = "", config: str = "") -> None:
        """Commit the next release, whose answers end with `text`."""
        (self.checkout / "app.py").write_text(APP.format(boot=0, more=app, text=text))
        whole = CONFIG.format(name="shop", port=PORT, linger="1s", more=f'env_file = "shop.env"\n{config}')
        (self.checkout / "gapless.toml").write_text(whole)
        git = ("git", "-c", "user.name=a", "-c", "user.email=a@example.com", "-C", str(self.checkout))
        for argv in ((*git, "add", "--all"), (*git, "commit", "--quiet", "--message", text)):
            subprocess.run(argv, check=True, timeout=60)

    def gapless(self, *argv: str) -> str:
        """What the gapless that the playbook installed says."""
        return self.host.run("/usr/local/bin/gapless", *argv, "-C", DIRECTORY).stdout

    def current(self) -> str:
        release: str = json.loads(self.gapless("status", "--json"))["current"]
        return release

    def answer(self) -> str:
        status, _, body = self.host.get(PORT)
        assert status == 200
        return body.decode()

    def state(self) -> str:
        """All that is on the host's disk but what its programs write by themselves."""
        kept = "find / -xdev -newer /tmp/mark -not -path '/proc/*' -not -path '/var/log/*' -not -path '/tmp*' -type f"
        return self.host.run("sh", "-c", f"{kept} | sort", check=False).stdout


@pytest.fixture(scope="module")
def site(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    subprocess.run([REQUIREMENTS, "fleet"], check=True, timeout=300)
    debs.download("unattended-upgrades", "nftables", "python3-apt")
    debs.offer(host)
    host.run("sh", "-c", "rm -rf /usr/local/bin/gapless /opt/gapless; userdel caddy 2> /dev/null || :")
    folder = tmp_path_factory.mktemp("controller")
    versions = folder / "versions"
    pinned = (PROJECT / "requirements-dev.txt").read_text().splitlines()
    versions.write_text(
        "".join(f"{line.rstrip(' ').removesuffix(chr(92)).strip()}\n" for line in pinned if line[:1].isalnum())
    )
    checkout = folder / "shop"
    subprocess.run(["git", "init", "--quiet", str(checkout)], check=True, timeout=60)
    variables = {
        "host_gapless": f"{wheel()}[serve,cli]",
        "host_constraints": str(versions),
        "host_wheels_cache": str(CACHE / "fleet"),
        "host_timezone": "Europe/Berlin",
        "host_firewall": True,
        "app_name": "shop",
        "app_source": str(checkout),
        "app_files": {"shop.env": "GREETING=hello\n"},
    }
    with Lan() as lan:
        lan.join(host, "web1")
        play = Playbooks(lan, install_collection(folder), variables)
        one = Site(host, lan, play, checkout)
        one.commit("one")
        try:
            yield one
        finally:
            play.close()


def test_provision(site: Site) -> None:
    """x"""
    import time

    for argv in (["--check", "--diff"], [], [], ["--check"]):
        t = time.time()
        said, changed = site.play("provision", *argv)
        print(said, changed, time.time() - t)
    print(site.answer())
