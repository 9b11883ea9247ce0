"""Files of pages over deploys on a host: Caddy has them, the one of Debian and a newer one, or `gapless serve`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from gapless.prove.kinds import Kind
from tests.host.conftest import _proxies
from tests.host.host import PROJECT, Host
from tests.host.life import Shop, leaving_nothing
from tests.host.proxies import loads
from tests.host.test_proxy import PROXY, server, version, visit, write
from tests.host.traffic import traffic

__all__ = ["_proxies", "server", "version"]

# It serves none of its files itself.
APP = """
import os, pathlib

PAGE = "".join(f'<script src="/static/{one.name}"></script>' for one in pathlib.Path("static").glob("*.js")).encode()

async def app(scope, receive, send):
    page = scope["path"] in ("/", "/some/page")
    await send({"type": "http.response.start", "status": 200 if page else 404, "headers": []})
    await send({"type": "http.response.body", "body": PAGE if page else b"the app"})
"""
ASSETS = '[assets]\n"/static" = "static"\n'
PUBLIC = "/srv/shop/assets/files"


def release(shop: Shop, more: str = "", **files: str) -> None:
    """The next release, with its public files."""
    write(shop, ASSETS + PROXY + more, APP)
    shop.host.run("rm", "-rf", f"{shop.project}/static")
    for name, text in files.items():
        shop.host.write(f"{shop.project}/static/{name}.js", text)


@pytest.fixture(scope="module")
def shop(server: Host) -> Iterator[Shop]:
    """The app shop, up behind Caddy, with public files; nothing of it is left afterwards."""
    with leaving_nothing(Shop(server, "shop", 80)) as one:
        release(one, first="1")
        one("up")
        yield one


def test_no_file_is_missing_over_deploys(shop: Shop) -> None:
    """Every page finds its files, of its own release whichever it was, and no deploy has Caddy reload."""
    count = loads(shop.host)
    with traffic(shop.host, 80, {Kind.PAGE: 1}) as sent:
        for number in range(5):
            sent.flows()
            release(shop, **{f"file{number}": f"{number}", f"other{number}": "x"})
            shop.deploy()
        sent.flows()
    assert sent.lost == []
    assert len(sent.releases) == 6
    assert sum(one.kind is Kind.ASSET for one in sent.samples) > 100
    assert loads(shop.host) == count
    found = {one["name"]: one for one in json.loads(shop("doctor", "--json").stdout)["findings"]}
    assert (found["installation"]["state"], found["assets"]["state"]) == ("ok", "ok")


def test_how_caddy_has_them(shop: Shop) -> None:
    """With type and validators that outlive a deploy; all else, and all but GET and HEAD, the app answers."""
    extra = re.findall(r"^extra = '(header @assets.*)'$", (PROJECT / "docs/assets.md").read_text(), re.M)
    release(shop, f"extra = '{extra[0]}'\n", same="same", changed="1")
    shop("up")
    shop.deploy()
    before = [visit(shop.host, path=f"/static/{name}.js")[1] for name in ("same", "changed")]
    release(shop, f"extra = '{extra[0]}'\n", same="same", changed="2")
    shop.deploy()
    after = [visit(shop.host, path=f"/static/{name}.js")[1] for name in ("same", "changed")]
    assert [one["ETag"] == other["ETag"] for one, other in zip(before, after, strict=True)] == [True, False]
    assert before[0]["Last-Modified"] == after[0]["Last-Modified"]
    assert after[0]["Content-Type"].startswith(("text/javascript", "application/javascript"))
    assert after[0]["Cache-Control"].endswith("immutable")
    assert visit(shop.host, path="/static/changed.js")[2] == "2"
    assert visit(shop.host, path="/static/same.js", **{"If-None-Match": after[0]["ETag"]})[0] == 304
    assert visit(shop.host, path="/static/same.js", Range="bytes=1-2")[::2] == (206, "am")
    assert visit(shop.host, "POST", path="/static/same.js")[::2] == (404, "the app")
    for path in ("/static/none.js", "/static/", "/static", "/static/../../first.json", "/static/%2e%2e/%2e%2e/x"):
        status, headers, body = visit(shop.host, path=path)
        assert (status, body, headers["Cache-Control"]) == (404, "the app", None), path
    shop("rollback", "-q")
    assert visit(shop.host, path="/static/changed.js")[2] == "1"
    release(shop)
    shop.fails("deploy")
    assert visit(shop.host, path="/static/changed.js")[2] == "1"


def test_what_a_build_cannot_publish(shop: Shop) -> None:
    """Invariant 9: a link to what Caddy may read is none of the files; they are root's, and neither account writes."""
    shop.host.write("/var/lib/caddy/key", "key", 0o400)
    shop.host.run("chown", "caddy", "/var/lib/caddy/key")
    build = "ln -s /var/lib/caddy/key static/key; ln -s /var/lib/caddy static/all; chmod 777 static/a.js"
    release(shop, f'[build]\nrun = "{build}"\n', a="1")
    assert "'static/all', 'static/key'" in shop("deploy").stderr
    for path in ("/static/key", "/static/all/key"):
        assert visit(shop.host, path=path)[2] == "the app"
    assert visit(shop.host, path="/static/a.js")[2] == "1"
    odd = ("(", "!", "-user", "root", "-o", "-perm", "/022", "-o", "-type", "l", ")")
    assert shop.host.run("find", "/srv/shop/assets", *odd).stdout == ""
    for user in ("shop", "shop-build"):
        assert shop.host.run("touch", f"{PUBLIC}/static/mine", user=user, check=False).returncode != 0
    release(shop, '[build]\nrun = "rm -r static; ln -s /var/lib/caddy static"\n', a="1")
    told = shop.fails("deploy")
    assert "static is a link" in told
    assert visit(shop.host, path="/static/a.js")[2] == "1"


def test_files_of_releases_that_are_gone(shop: Shop) -> None:
    """They stay when `prune` has removed their release, and go when that was the current one long enough ago."""
    release(shop, old="old")
    gone = shop.deploy()
    for number in range(3):
        release(shop, **{f"new{number}": "new"})
        shop.deploy()
    shop.settled()
    shop("prune", "--keep", "2")
    assert shop.host.run("test", "-e", f"/srv/shop/releases/{gone}", check=False).returncode == 1
    assert visit(shop.host, path="/static/old.js")[2] == "old"
    shop.host.run("touch", "--date=8 days ago", f"/srv/shop/assets/{gone}.json")
    shop("prune")
    assert visit(shop.host, path="/static/old.js")[2] == "the app"
    assert visit(shop.host, path="/static/new0.js")[2] == "new"


def test_without_a_proxy(server: Host) -> None:
    """`gapless serve` has them then, in its sandbox; what is damaged doctor sees, and `prune` mends."""
    with leaving_nothing(Shop(server, "plain", 8002)) as plain:
        plain.write(config=ASSETS)
        server.write(f"{plain.project}/app.py", APP)
        server.write(f"{plain.project}/static/a.js", "1")
        plain("up")
        server.run("mv", f"{plain.project}/static/a.js", f"{plain.project}/static/b.js")
        with traffic(server, 8002, {Kind.PAGE: 1}) as sent:
            sent.flows()
            plain.deploy()
            sent.flows()
        assert sent.lost == []
        assert plain.get("/static/a.js") == "1"
        server.run("rm", "/srv/plain/assets/files/static/b.js")
        found = {one["name"]: one for one in json.loads(plain("doctor", "--json", check=False).stdout)["findings"]}
        assert found["assets"]["state"] == "failed"
        assert "static/b.js" in found["assets"]["what"]
        server.run("sh", "-c", found["assets"]["hint"], cwd=plain.project)
        assert plain.get("/static/b.js") == "1"
