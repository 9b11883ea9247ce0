"""Another local user, an app and Caddy's own account against the Caddy in front, and against root who asks it."""

from __future__ import annotations

import time

import pytest

from tests.host.conftest import _proxies
from tests.host.host import Host
from tests.host.life import Shop
from tests.host.test_proxy import installed, seen, server, shop, version, visit
from tests.support import wait_until

__all__ = ["_proxies", "installed", "server", "shop", "version"]

# Caddy's default, where it takes orders from whoever can connect.
TCP = ("curl", "--silent", "--show-error", "--max-time", "5", "http://localhost:2019/config/")
SOCKET = (
    "curl",
    "--silent",
    "--max-time",
    "5",
    "--unix-socket",
    "/var/lib/caddy/admin.sock",
    "http://localhost/config/",
)
# In the name of Caddy's account: nothing else of it ever answers.
STOPS = """
while :; do
    pkill -STOP --euid caddy --full 'caddy (adapt|validate|reload)' || sleep 0.01
done
"""


@pytest.fixture
def host(server: Host) -> Host:
    """The host, as the fixtures of this directory call it."""
    return server


def test_caddy_takes_no_orders_from_a_local_user(shop: Shop) -> None:
    """Invariant 9: who could give Caddy a configuration could end the site, be any visitor, and read what Caddy may."""
    for user in ("nobody", "shop"):
        for order in (TCP, SOCKET):
            done = shop.host.run(*order, user=user, check=False)
            assert (done.returncode, done.stdout) == (7, ""), done.stderr
    assert shop("exec", "--", *TCP, check=False).returncode == 7
    assert shop.host.run(*SOCKET).stdout  # root can
    assert seen(shop.host, **{"X-Forwarded-For": "6.6.6.6"})["client"] != "6.6.6.6"
    shop.host.run("systemctl", "reload", "caddy.service")
    shop.host.run("systemctl", "restart", "caddy.service")
    assert visit(shop.host)[0] == 200
    assert shop.host.run(*TCP, check=False).returncode == 7


def test_a_caddy_that_took_orders_from_everybody(shop: Shop) -> None:
    """Invariants 1 and 9: doctor says so, and the next `up` ends it, with no connection refused."""
    shop.host.run("sed", "-i", "/admin unix/d", "/etc/caddy/Caddyfile")
    reload = ["/usr/bin/caddy", "reload", "--force", "--config", "/etc/caddy/Caddyfile"]
    reload += ["--address", "unix//var/lib/caddy/admin.sock"]
    shop.host.run(*reload, env={"HOME": "/dev/null"})
    assert shop.host.run(*TCP).stdout
    told = shop("doctor", check=False).stdout
    assert "every local user, and every app, can have it do anything: it takes orders on localhost:2019" in told
    assert "Add `admin unix//var/lib/caddy/admin.sock` to /etc/caddy/Caddyfile." in shop("up").stdout
    assert shop.host.run(*TCP, check=False).returncode == 7
    assert visit(shop.host)[0] == 200


def test_what_a_visitor_says_behind_another_proxy(shop: Shop, version: str) -> None:
    """Whoever a visitor says comes first in X-Forwarded-For: Caddy judges the list, and the app hears one address."""
    if version == "newer":  # 2.6.2 knows no proxy to trust
        trusted = "admin unix//var/lib/caddy/admin.sock\n\tservers {\n\t\ttrusted_proxies static 127.0.0.1\n"
        trusted += "\t\ttrusted_proxies_strict\n\t}"
        main = shop.host.read("/etc/caddy/Caddyfile").replace("admin unix//var/lib/caddy/admin.sock", trusted)
        shop.host.write("/etc/caddy/Caddyfile", main)
        shop.host.run("systemctl", "reload", "caddy.service")
    wanted = {"newer": "7.7.7.7", "debian": "127.0.0.1"}[version]
    wait_until(lambda: seen(shop.host, **{"X-Forwarded-For": "6.6.6.6, 7.7.7.7"})["client"] == wanted)


def test_the_log_of_requests(shop: Shop) -> None:
    """What visitors ask for, and from where, is for nobody but root and Caddy to read."""
    visit(shop.host)
    assert shop.host.run("stat", "--format=%a %U", "/var/log/caddy/shop.log").stdout == "600 caddy\n"


def test_caddys_account_keeps_nobody_waiting(shop: Shop) -> None:
    """Invariant 8: who has Caddy's user stops what root asks as that user; root hears of it, and deploys go on."""
    with shop.host.popen("sh", "-c", STOPS, user="caddy") as stops:
        began = time.monotonic()
        told = shop.host.gapless("doctor", cwd=shop.project, check=False, timeout=120).stdout
        took = time.monotonic() - began
        shop.deploy()
        stops.kill()
    assert "✗ Caddy            it cannot load its configuration" in told, told
    assert "it said nothing" in told or "asked as caddy, it took longer than" in told
    assert took < 90
    wait_until(lambda: shop.host.run("pgrep", "--full", "caddy adapt", check=False).stdout == "")
