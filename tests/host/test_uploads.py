"""Files beside the code on a host: directories that a release links to, and uploads that Caddy serves.

The attacks are those of the app: root and Caddy do nothing that its links ask for.
"""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator

import pytest

from tests.host.conftest import _proxies
from tests.host.host import Host
from tests.host.life import Shop, leaving_nothing
from tests.host.proxies import loads
from tests.host.test_proxy import PROXY, renewed, server, visit, write
from tests.host.traffic import traffic
from tests.support import wait_until

__all__ = ["_proxies", "server"]

# What it was asked for is in its answer; an instance that finds something of another one's does not start.
APP = """
import os, pathlib

RELEASE = os.environ["GAPLESS_RELEASE"]
runtime = pathlib.Path(os.environ["GAPLESS_RUNTIME"])
assert [*runtime.iterdir()] == [], "it is not empty"
(runtime / "counter.db").write_text(RELEASE)
asked = []

async def app(scope, receive, send):
    path, body = scope["path"], f"the app {RELEASE} {asked}".encode()
    status = 200 if path == "/" else 404
    if scope["method"] == "POST":
        pathlib.Path(path[1:]).write_bytes((await receive())["body"])
        status = 201
    elif path != "/":
        asked.append(path)
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""
SHARED = '[shared]\nmedia = "media"\n'
UPLOADS = '[uploads]\n"/media" = "media"\n'
MEDIA, VIEW = "/srv/shop/shared/media", "/srv/shop/uploads/media"
UNIT = "shop.uploads.service"
KEY = "/var/lib/caddy/key"


@pytest.fixture(scope="module")
def version() -> str:
    """Debian's Caddy alone: what the site says of uploads, the newer one knows, too."""
    return "debian"


@pytest.fixture(scope="module")
def shop(server: Host) -> Iterator[Shop]:
    """The app shop, up behind Caddy, with uploads from before Caddy was to serve them."""
    server.write(KEY, "the key", 0o400)
    server.run("chown", "caddy", KEY)
    with leaving_nothing(Shop(server, "shop", 80)) as one:
        write(one, SHARED + PROXY, APP)
        one("up")
        give(one, "/media/early.txt", "early")
        assert visit(server, path="/media/early.txt")[0] == 404
        write(one, SHARED + UPLOADS + PROXY, APP)
        one("up")
        yield one


def give(shop: Shop, path: str, text: str) -> None:
    """An upload of a visitor's."""

    def request() -> int:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", 80, timeout=20)) as connection:
            connection.request("POST", path, text, {"Host": "shop.example"})
            return connection.getresponse().status

    assert shop.host.inside(request) == 201


def state(shop: Shop) -> str:
    """What doctor finds of the installation."""
    found = {one["name"]: one for one in json.loads(shop("doctor", "--json", check=False).stdout)["findings"]}
    return f"{found['installation']['state']}: {found['installation']['what']}"


def test_caddy_has_uploads_over_deploys_and_rollbacks(shop: Shop) -> None:
    """Those from before as well; the app is not asked, no release has them, no deploy has Caddy reload."""
    host = shop.host
    assert renewed(host, lambda status, *_: status == 200, path="/media/early.txt")[2] == "early"
    first, count = shop.deploy(), loads(host)
    with traffic(host, 80) as sent:
        sent.flows()
        shop.deploy()
        give(shop, "/media/page.html", "<script>alert(1)</script>")
        sent.flows()
        shop("rollback", "-q")
        sent.flows()
    assert sent.lost == []
    assert shop.current() == first
    status, headers, body = visit(host, path="/media/page.html")
    assert (status, body) == (200, "<script>alert(1)</script>")
    assert "sandbox" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert visit(host, path="/")[2].endswith(" []")
    for path in ("/media/none", "/media/", "/media/.hidden", "/media/../../shop.db", "/media/%2e%2e/x"):
        assert visit(host, path=path)[2].startswith("the app"), path
    assert host.run("stat", "-c", "%U:%G %a", MEDIA, f"{MEDIA}/page.html").stdout.split() == [
        *("shop:caddy", "2750", "shop:caddy", "640")
    ]
    shop("exec", "--", "sh", "-c", 'cd "$GAPLESS_SHARED"; echo moved > m; mv m media/moved')
    assert visit(host, path="/media/moved")[0] == 403
    shop("exec", "--", "chmod", "644", "media/moved")
    assert visit(host, path="/media/moved")[2] == "moved\n"
    assert loads(host) == count
    assert state(shop).startswith("ok")
    host.run("systemctl", "disable", UNIT)
    assert f"Enable {UNIT}." in shop("up").stdout
    assert "Already up" in shop("up").stdout


def test_no_link_of_the_apps_leads_anywhere(shop: Shop) -> None:
    """Invariant 9: Caddy's own key is nobody's by a link in the uploads; others neither look into them nor write."""
    links = f"cd media; ln -s {KEY} key; ln -s /var/lib/caddy all; ln -s / .root; ln early.txt two"
    shop("exec", "--", "sh", "-c", links)
    for path in ("/media/key", "/media/all/key", "/media/.root/etc/passwd", f"/media/.root{KEY}"):
        status, _, body = visit(shop.host, path=path)
        assert (status, body[:7]) == (404, "the app"), path
    assert visit(shop.host, path="/media/two")[2] == "early"
    assert shop.host.run("cat", f"{VIEW}/key", check=False).returncode == 1  # root itself gets nothing there
    assert shop.host.run("ls", "/srv/shop/uploads", user="nobody", check=False).returncode != 0
    assert shop.host.run("touch", f"{VIEW}/mine", check=False).returncode != 0
    options = {*shop.host.run("findmnt", "-no", "OPTIONS", VIEW).stdout.strip().split(",")}
    assert {"ro", "nosuid", "nodev", "noexec", "nosymfollow"} <= options


def test_the_directory_itself_made_a_link(shop: Shop) -> None:
    """Invariants 8 and 9: root shows what is the app's alone, now and at a boot; the error names what is in the way."""
    host = shop.host
    shop("exec", "--", "sh", "-c", 'cd "$GAPLESS_SHARED"; mv media kept; ln -s /var/lib/caddy media')
    assert visit(host, path="/media/early.txt")[2] == "early"
    assert state(shop).startswith("failed")
    refused = shop.fails("up")
    assert "a link is in the way" in refused or "not a directory of the app's own" in refused
    host.kill_power()
    host.boot()
    wait_until(lambda: visit(host, path="/")[0] == 200, 60)
    wait_until(lambda: shop.show(UNIT, "ActiveState") == "failed", 60)
    for path in ("/media/key", "/media/early.txt"):
        assert visit(host, path=path)[0] == 404, path
    assert host.run("find", "/srv/shop/uploads", "-type", "f").stdout == ""
    assert host.run("stat", "-c", "%U", "/var/lib/caddy", KEY).stdout.split() == ["caddy", "caddy"]
    host.run("sh", "-c", "cd /srv/shop/shared; rm media; mv kept media")
    shop("up")
    assert visit(host, path="/media/early.txt")[2] == "early"
    host.kill_power()
    host.boot()
    wait_until(lambda: visit(host, path="/")[0] == 200, 60)
    wait_until(lambda: shop.show(UNIT, "ActiveState") == "active", 60)
    assert visit(host, path="/media/early.txt")[2] == "early"
    assert visit(host, path="/")[2].endswith(" []")


def test_a_build_has_no_part_in_them(shop: Shop) -> None:
    """Invariants 3 and 9: it neither reads what a link leads to, nor leads the release elsewhere."""
    write(shop, f'{SHARED}{UPLOADS}{PROXY}[build]\nrun = "! ls media/ && ! touch media/x && test -L media"\n', APP)
    serving = shop.deploy()
    write(shop, f'{SHARED}{UPLOADS}{PROXY}[build]\nrun = "rm media; ln -s /var/lib/caddy media"\n', APP)
    assert "its build put something else" in shop.fails("deploy")
    assert shop.current() == serving
    assert shop.host.run("ls", "-A", "/srv/shop/uploads").stdout == "media\n"


def test_an_instance_that_starts_again_finds_nothing_of_the_last(shop: Shop) -> None:
    """Its own directory is empty then: no count of a process that is gone is in what it tells of itself."""
    pid = shop.live()["pid"]
    shop.host.run("kill", "-KILL", str(pid))
    wait_until(lambda: shop.live()["pid"] != pid, 30)
    assert visit(shop.host, path="/")[0] == 200


def test_uploads_that_caddy_is_not_to_have_any_more(shop: Shop) -> None:
    """The view goes, the files stay; `gapless serve` has them."""
    write(shop, SHARED + PROXY, APP)
    shop("up")
    assert shop.host.run("test", "-e", "/srv/shop/uploads", check=False).returncode == 1
    assert shop.host.read(f"{MEDIA}/early.txt") == "early"
    assert renewed(shop.host, lambda status, *_: status == 200, path="/media/early.txt")[2] == "early"
