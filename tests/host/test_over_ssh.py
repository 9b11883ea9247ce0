"""From a laptop, over SSH: what docs/guide.md says of it, under traffic, and with a connection that breaks anywhere."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.host import laptop as laptops
from tests.host.advice import hint
from tests.host.host import PROJECT, Host
from tests.host.lan import Lan
from tests.host.laptop import OnHost
from tests.host.life import CONFIG, Shop
from tests.host.traffic import traffic
from tests.support import figure, wait_until

GUIDE = (PROJECT / "docs" / "guide.md").read_text().partition("## 11.")[2]
[COPY] = re.findall(r"^    (ssh .+ && scp .+)$", GUIDE, re.MULTILINE)
UP, DEPLOY, CONFIRM, HAVE = re.findall(
    r"^    ((?:ssh|gapless) .*gapless pack.*|gapless pack.*ssh.*)$", GUIDE, re.MULTILINE
)
THERE = "/opt/shop"
RECEIVING = ("pgrep", "-f", "gapless deploy - -C")  # on the host
LISTING = ("find", "/srv/shop", "-maxdepth", "2", "-not", "-name", "ledger.jsonl", "-not", "-path", "*/log/*")


class Laptop(laptops.Laptop):
    """A checkout of an app that needs a variable, and the host of that app."""

    shop: OnHost

    def __call__(self, line: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a line of the guide as somebody types it; without the proof, which Caddy would have to be there for."""
        return super().__call__(line.replace(" --prove --watch 60s", ""), check)

    def commit(self, text: str, boot: float = 0.0, more: str = "assert os.environ['WHERE'] == 'here'") -> None:
        """The next release, which needs its variable."""
        super().commit(text, boot, more)

    def releases(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.shop("releases", "--json").stdout)["releases"]
        return found

    def sent(self, line: str) -> int:
        """Run a line that sends an artifact; the bytes of that."""
        pack, ssh, deploy = line.rpartition("| ssh")
        self(f"{pack}| tee ../sent {ssh}{deploy}")
        return (self.checkout.parent / "sent").stat().st_size


@pytest.fixture(scope="module")
def laptop(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """The app is up on a host that never saw its repository: by the first lines of the guide."""
    host.write(f"{THERE}/shop.env", "WHERE=here\n", 0o600)
    with Lan() as lan:
        one = Laptop.of(lan, tmp_path_factory.mktemp("laptop"), {"shop.example.com": host})
        one.shop = OnHost(host, "shop", 8000, directory=THERE)
        (one.checkout / "large").write_bytes(os.urandom(4 << 20))
        more = 'env_file = "shop.env"'
        (one.checkout / "gapless.toml").write_text(CONFIG.format(name="shop", port=8000, linger="1s", more=more))
        one.commit("one")
        one(COPY)
        one(UP)
        yield one
        one.shop.remove()
        assert one.shop.left() == ""


def test_the_guides_lines_deploy_and_lose_nothing(laptop: Laptop) -> None:
    """Invariant 1: three deploys over SSH under traffic lose nothing; the host knows a release by the id of `pack`."""
    shop = laptop.shop
    assert shop.get().endswith("one")
    with traffic(shop.host, 8000) as seen:
        seen.flows()
        laptop.commit("two")
        whole = laptop.sent(DEPLOY)
        laptop.commit("three")
        changed = laptop.sent(HAVE)
        same = laptop.sent(HAVE)
        seen.flows()
    assert seen.lost == []
    assert shop.get().endswith("three")
    assert len(seen.releases) == 4
    assert whole > 4 << 20
    assert same < changed < 2000
    assert [one["id"] for one in laptop.releases()[:2]] == [laptop.id()] * 2
    assert laptop.releases()[2]["id"] != laptop.id()


def test_over_ssh_takes_little_longer_than_there(laptop: Laptop) -> None:
    """What SSH, packing and asking add to a deploy is measured."""
    began = time.monotonic()
    laptop(HAVE)
    over = time.monotonic() - began
    inside = sum(laptop.shop.phases(laptop.shop.current()).values())
    figure(f"a deploy over SSH: {over:.2f} s, of which its phases {inside:.2f} s")


def test_a_connection_that_breaks_anywhere(laptop: Laptop) -> None:
    """Invariant 5: cut before all has come, nothing changes and nothing is left; cut after that, the deploy is done."""
    shop = laptop.shop
    laptop.commit("cut", boot=2)
    laptop("gapless pack > ../shop.artifact")
    stream = (laptop.checkout.parent / "shop.artifact").read_bytes()
    before = shop.current()
    shop.settled()
    files = {*shop.host.run(*LISTING).stdout.splitlines()}
    with traffic(shop.host, 8000) as seen:
        for number in range(4):
            length = secrets.randbelow(len(stream))
            with sending(laptop, stream[:length]) as ssh:
                if number % 2:
                    ssh.kill()  # the connection
                else:
                    shop.host.run("kill", "-KILL", *shop.host.run(*RECEIVING).stdout.split())
            over(shop)
            assert shop.current() == before
            assert {*shop.host.run(*LISTING).stdout.splitlines()} == files, length
        with sending(laptop, stream) as ssh:
            assert ssh.stdin is not None
            ssh.stdin.close()  # that was all
            wait_until(lambda: shop.status()["locked_by"] or shop.current() != before, what="a deploy that has begun")
            ssh.kill()
        over(shop)
        assert shop.current() != before
        shop.settled()
        assert laptop.releases()[0]["id"] == laptop.id()
        seen.flows()
    assert seen.lost == []
    assert shop.get().endswith("cut")
    assert shop.host.run(*RECEIVING, check=False).stdout == ""


def test_a_release_is_confirmed_from_the_laptop_or_turned_back(laptop: Laptop) -> None:
    """Invariants 1 and 5: the guide's line confirms over a second connection; where the first breaks nobody does, and
    the host turns back by itself."""
    shop = laptop.shop
    with traffic(shop.host, 8000) as seen:
        laptop.commit("confirmed")
        laptop(CONFIRM)
        assert shop.status()["unconfirmed"] is None
        assert shop.get().endswith("confirmed")
        kept = shop.live()
        laptop.commit("cut off", boot=1)
        laptop("gapless pack > ../shop.artifact")
        with sending(laptop, (laptop.checkout.parent / "shop.artifact").read_bytes(), "--confirm", "2s") as ssh:
            assert ssh.stdin is not None
            ssh.stdin.close()
            wait_until(lambda: shop.status()["locked_by"] or shop.current() != kept["release"], what="a deploy")
            ssh.kill()
        wait_until(lambda: shop.current() != kept["release"], 60, "the release that nobody confirms")
        wait_until(lambda: shop.current() == kept["release"], 60, "the host turns back")
        seen.flows()
    assert seen.lost == []
    assert shop.live()["pid"] == kept["pid"]
    assert laptop.releases()[0]["state"] == "bad"


def sending(laptop: Laptop, part: bytes, *more: str) -> subprocess.Popen[bytes]:
    """An ssh that has a deploy on the host, and has been given `part` of what that is to get."""
    argv = [f"{laptop.checkout.parent}/bin/ssh", "root@shop.example.com", "gapless", "deploy", "-", "-C", THERE, *more]
    ssh = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert ssh.stdin is not None
    wait_until(lambda: laptop.shop.host.run(*RECEIVING, check=False).stdout, what="a deploy that receives")
    ssh.stdin.write(part)
    ssh.stdin.flush()
    return ssh


def over(shop: Shop) -> None:
    """Wait until no deploy runs."""
    wait_until(lambda: not shop.host.run(*RECEIVING, check=False).stdout, 60, "the end of the deploy")
    wait_until(lambda: shop.status()["locked_by"] is None)


def test_advice_about_artifacts(laptop: Laptop) -> None:
    """Invariant 8: what is advised where an artifact, or the list of what a host has, is none, works as it stands."""
    nothing = laptop("false | ssh root@shop.example.com gapless deploy - -C /opt/shop", check=False)
    advice = hint(nothing.stderr).strip("`")
    assert advice == "gapless pack | ssh HOST gapless deploy - -C DIRECTORY"
    laptop(advice.replace("HOST", "root@shop.example.com").replace("DIRECTORY", THERE))
    no_list = laptop("echo | gapless pack --have - > /dev/null", check=False)
    assert "`gapless releases --files --json`" in hint(no_list.stderr)
    assert laptop.sent(HAVE) < 2000
    document = laptop("gapless pack --json", check=False)
    advice = json.loads(document.stdout)["error"]["hint"]
    assert "-n" in advice
    laptop(advice.split("`")[1])
    assert laptop.id() in laptop("gapless pack -n").stdout
