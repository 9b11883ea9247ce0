"""What is wrong with Caddy's configuration, or with the host: said by `gapless up`, and nothing is lost."""

from __future__ import annotations

import json

import pytest

from tests.host.conftest import _proxies
from tests.host.life import Shop
from tests.host.proxies import MAIN, hidden
from tests.host.test_proxy import OTHER, PROXY, installed, renewed, server, shop, unchanged, visit, write

__all__ = ["_proxies", "installed", "server", "shop"]


@pytest.fixture(scope="module")
def version() -> str:
    """Debian's says the same in other words, which test_proxy.py reads."""
    return "newer"


def test_a_neighbour_that_is_broken(shop: Shop) -> None:
    """Invariant 8: it is named, and keeps the site alone from being written; deploys, `up` and `down` go on."""
    shop.host.write(OTHER, "http://other.example {\n\tno_such_directive\n}\n")
    write(shop, f'{PROXY}headers = {{ X-New = "1" }}\n')
    told = unchanged(shop, "up")
    assert f"Caddy cannot load {OTHER}" in told
    assert f"Try:   mend {OTHER}, then run `gapless up` again" in told
    shop.deploy()
    new = Shop(shop.host, "new", 8001)
    new.write(config='[proxy]\ndomains = ["new.example"]\n')
    assert f"Caddy cannot load {OTHER}" in new.fails("up")
    assert new.get()
    assert shop.host.run("test", "-e", "/etc/caddy/gapless/new.caddy", check=False).returncode == 1
    shop.host.run("rm", OTHER)
    new("up")
    shop.host.write(OTHER, "http://other.example {\n\tno_such_directive\n}\n")
    assert "Caddy still has the site" in new("down", "--data", "--yes").stderr
    assert new.left() == ""
    shop.host.run("rm", OTHER)
    shop("up")
    renewed(shop.host, lambda _, headers, __: headers["X-New"] == "1")


def test_a_main_file_that_is_broken(shop: Shop) -> None:
    """Invariant 8: Caddy's own file is named, and stays as it is."""
    shop.host.run("sh", "-c", f"echo 'no_such_directive {{' >> {MAIN}")
    write(shop, f'{PROXY}headers = {{ X-New = "1" }}\n')
    assert f"mend {MAIN}, then run `gapless up` again" in unchanged(shop, "up")
    found = {one["name"]: one for one in json.loads(shop("doctor", "--json", check=False).stdout)["findings"]}
    assert found["Caddy"]["state"] == "failed"


@pytest.mark.parametrize("text", ["", "# mine", "{\n\temail a@b.c\n}", "http://only.example {\n\trespond hello\n}"])
def test_a_main_file_of_somebody_elses(shop: Shop, text: str) -> None:
    """It gets a block at its start and a line at its end, and keeps mode and owner; without a last line end, too."""
    shop.host.write(MAIN, text, 0o640)
    shop.host.run("chgrp", "caddy", MAIN)
    told = shop("up", "-n").stdout
    assert "+\tadmin unix//var/lib/caddy/admin.sock" in told
    words = [line for line in text.splitlines() if len(line) > 1]
    assert not any(line in told for line in words)  # which may be secrets, and a plan goes into logs
    shop("up")
    assert set(words) <= set(shop.host.read(MAIN).splitlines())
    assert shop.host.read(MAIN).endswith("\nimport /etc/caddy/gapless/*.caddy\n")
    assert shop.host.run("stat", "--format=%a %U %G", MAIN).stdout == "640 root caddy\n"
    assert visit(shop.host)[0] == 200
    shop.host.run("sh", "-c", f"printf '# \\377\\n' >> {MAIN}")  # in whatever encoding
    assert "Already up: nothing to change." in shop("up").stdout


def test_a_main_file_without_braces(shop: Shop) -> None:
    """Sites that would become a part of the one site of a short Caddyfile are refused, and the file stays as it is."""
    shop.host.write(MAIN, "http://only.example\nrespond hello\n")
    write(shop, f'{PROXY}headers = {{ X-New = "1" }}\n')
    told = unchanged(shop, "up")
    assert f"mend {MAIN}, then" in told
    assert "curly braces" in told or "unrecognized directive" in told


@pytest.mark.parametrize("where", [MAIN, OTHER])
def test_a_domain_that_another_site_has(shop: Shop, where: str) -> None:
    """Invariant 8: the domain and the file that has it are named."""
    before = shop.host.read(MAIN) if where == MAIN else ""
    shop.host.write(where, f"{before}\nhttp://taken.example {{\n\trespond hello\n}}\n")
    write(shop, PROXY.replace('"127.0.0.1"', '"127.0.0.1", "taken.example"'))
    assert f"cannot serve taken.example: another site is for that domain: {where}" in unchanged(shop, "up")


def test_without_caddy(shop: Shop) -> None:
    """Invariant 8: what is missing, and both ways out; not root hears of sudo."""
    with hidden(shop.host, "/lib/systemd/system/caddy.service"):
        assert "there is no caddy.service here" in shop.fails("up")
        assert "`apt install caddy`, or take [proxy] away" in shop.fails("up", "-n")
    shop.host.run("cp", "-r", shop.project, "/opt/nobodys")
    done = shop.host.gapless("up", cwd="/opt/nobodys", user="nobody", check=False)
    assert done.returncode == 1
    assert "only root may" in done.stderr
    done = shop.host.gapless("maintenance", "on", cwd="/opt/nobodys", user="nobody", check=False)
    assert "only root may" in done.stderr
    assert "+\t\tX-Other" in _as_nobody(shop, 'headers = { X-Other = "1" }\n')
    shop.host.run("chmod", "600", MAIN)
    done = shop.host.gapless("up", "-n", cwd="/opt/nobodys", user="nobody", check=False)
    assert f"{MAIN} is not yours to read" in done.stderr
    shop.host.run("chmod", "644", MAIN)


def _as_nobody(shop: Shop, more: str) -> str:
    shop.host.run("sh", "-c", f"printf '%s' '{more}' >> /opt/nobodys/gapless.toml")
    return shop.host.gapless("up", "-n", cwd="/opt/nobodys", user="nobody").stdout
