"""What is wrong with Caddy's configuration, or with the host: said by `gapless up`, and nothing is lost."""

from __future__ import annotations

import json

import pytest

from tests.host.advice import doctor, follow, hint
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
    assert found["Caddy"]["hint"] == "mend it: `caddy validate` says the same"
    validate = ["caddy", "validate", "--config", MAIN]
    assert "syntax error" in shop.host.run(*validate, check=False).stderr
    shop.host.run("sed", "-i", "$ d", MAIN)
    shop("up")
    renewed(shop.host, lambda _, headers, __: headers["X-New"] == "1")


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
    said = unchanged(shop, "up")
    assert f"cannot serve taken.example: another site is for that domain: {where}" in said
    assert hint(said) == "take it out there, or out of [proxy] domains"
    if where == MAIN:
        shop.host.write(MAIN, before)
    else:
        write(shop, PROXY)
    shop("up")


def test_without_caddy(shop: Shop) -> None:
    """Invariant 8: what is missing, and both ways out; not root hears of sudo."""
    with hidden(shop.host, "/lib/systemd/system/caddy.service"):
        assert "there is no caddy.service here" in shop.fails("up")
        assert "`apt install caddy`, or take [proxy] away" in shop.fails("up", "-n")
    shop("up", "-n")  # once it is there again
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


UNIT = "/etc/systemd/system/caddy.service.d/ours.conf"
UNITS = {
    "ExecStart=\nExecStart=/usr/bin/caddy run --config /etc/caddy/other.json": "say `--config /etc/caddy/Caddyfile`",
    "User=root\nGroup=root": "give it User=caddy and Group=caddy, as its packages do",
}


@pytest.mark.parametrize("setting", UNITS)
def test_a_service_that_reads_or_runs_otherwise(shop: Shop, setting: str) -> None:
    """With the unit as it is advised, `up` looks at the site again; nothing was written or reloaded before."""
    shop.host.write(UNIT, f"[Service]\n{setting}\n")
    shop.host.run("systemctl", "daemon-reload")
    said = unchanged(shop, "up")
    shop.host.run("sh", "-c", f"rm {UNIT} && systemctl daemon-reload")
    assert UNITS[setting] in hint(said)
    shop("up")


def test_a_site_of_somebody_elses(shop: Shop) -> None:
    """Moved away as it is advised, it is not lost, and the app has its own."""
    new = Shop(shop.host, "new", 8001)
    new.write(config='[proxy]\ntls = "off"\ndomains = ["new.example"]\n')
    theirs = "/etc/caddy/gapless/new.caddy"
    shop.host.write(theirs, "http://theirs.example {\n\trespond hello\n}\n")
    assert hint(new.fails("up")) == "move it away, or choose another `name`"
    shop.host.run("mv", theirs, "/etc/caddy/theirs")
    new("up")
    assert visit(shop.host, domain="new.example")[0] == 200
    new.remove()


def test_doctors_advice_about_caddy(shop: Shop) -> None:
    """A service that is stopped, orders from everybody, an address for everybody: each advice mends what it found."""
    shop.host.run("systemctl", "disable", "--now", "caddy")
    follow(shop, doctor(shop)["Caddy service"]["hint"])
    assert visit(shop.host)[0] == 200
    before = shop.host.read(MAIN)
    shop.host.write(MAIN, "{\n\tadmin localhost:2019\n}\nimport /etc/caddy/gapless/*.caddy\n")
    said = doctor(shop)["Caddy's orders"]["hint"]
    assert said.startswith("say `admin unix//")
    shop.host.write(MAIN, before.replace("admin localhost:2019", said.split("`")[1]))
    assert doctor(shop)["Caddy's orders"]["state"] == "ok"
    shop.host.run("sh", "-c", f"sed -i 's|^listen.*|listen = \"127.0.0.1:8003\"|' {shop.project}/gapless.toml")
    said = doctor(shop)["visitors' addresses"]["hint"]
    shop.host.run("sh", "-c", f"sed -i 's|^listen.*|{said}|' {shop.project}/gapless.toml")
    assert "visitors' addresses" not in doctor(shop)


def test_a_caddy_that_does_not_start(shop: Shop) -> None:
    """Its journal, as it is advised, has more; with what kept it from starting removed, `up` starts it."""
    shop.host.write(UNIT, "[Service]\nExecStartPre=/bin/sh -c 'echo not today; exit 1'\n")
    shop.host.run("sh", "-c", "systemctl daemon-reload && systemctl stop caddy")
    write(shop, f'{PROXY}headers = {{ X-New = "1" }}\n')
    said = shop.fails("up")
    shop.host.run("sh", "-c", f"rm {UNIT} && systemctl daemon-reload && systemctl reset-failed caddy")
    assert "not today" in follow(shop, hint(said))
    shop("up")
    assert visit(shop.host)[1]["X-New"] == "1"


def test_maintenance_without_a_site(shop: Shop) -> None:
    """With [proxy] domains and an `up`, as it is advised, the page can be shown."""
    new = Shop(shop.host, "new", 8001)
    new.write()
    new("up")
    assert hint(new.fails("maintenance", "on")) == "give it [proxy] domains, and run `sudo gapless up`"
    new.write(config='[proxy]\ntls = "off"\ndomains = ["new.example"]\n')
    new("up")
    new("maintenance", "on")
    renewed(shop.host, lambda status, _, __: status == 503, domain="new.example")
    new.remove()


def _as_nobody(shop: Shop, more: str) -> str:
    shop.host.run("sh", "-c", f"printf '%s' '{more}' >> /opt/nobodys/gapless.toml")
    return shop.host.gapless("up", "-n", cwd="/opt/nobodys", user="nobody").stdout
