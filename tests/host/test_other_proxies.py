"""nginx and haproxy in front, as docs/proxy.md sets them up, with every span a tenth of what it says there."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.host.host import Host
from tests.host.life import Shop, app_up
from tests.host.proxies import NEWER

PAGE = (Path(__file__).parents[2] / "docs" / "proxy.md").read_text()
ASSETS_PAGE = (Path(__file__).parents[2] / "docs" / "assets.md").read_text()
BUILD = '[assets]\n"/static" = "static"\n[build]\nrun = "mkdir static; date +%N > static/$GAPLESS_RELEASE"\n'
PORTS = {"nginx": 8080, "haproxy": 8081}
FILES = {"nginx": "/etc/nginx/conf.d/shop.conf", "haproxy": "/etc/haproxy/haproxy.cfg"}
GAPS = (3.4, 3.5, 3.6, 5.0, 7.0)  # seconds without a request, around [drain] linger
AT_ONCE = 6  # POSTs, so that a proxy has as many connections


def block(name: str) -> str:
    """A block of the page, with shorter spans."""
    found = re.search(rf"<!-- {name}: begin -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found
    text = found[1].replace("8080", str(PORTS[name]))
    assert "keepalive_timeout 30s" in text or "pool-purge-delay 5s" in text
    return text.replace("keepalive_timeout 30s", "keepalive_timeout 3s").replace("delay 5s", "delay 500ms")


def doctors(shop: Shop, name: str) -> dict[str, str]:
    """What doctor says of a proxy."""
    document = json.loads(shop("doctor", "--json", check=False).stdout)
    found: dict[str, str] = next(one for one in document["findings"] if one["name"] == name)
    return found


def post(host: Host, port: int) -> str:
    """A POST on a new connection to a proxy: the release that answered, or what went wrong."""
    connection = http.client.HTTPConnection(host.address, port, timeout=20)
    with contextlib.closing(connection):
        try:
            connection.request("POST", "/", body=b"paid", headers={"Connection": "close"})
            response = connection.getresponse()
            text = response.read().decode()
        except (OSError, http.client.HTTPException) as error:
            return f"lost: {error!r}"
        return text.split()[0] if response.status == 200 else f"lost: {response.status}"


@pytest.mark.timeout(120)
@pytest.mark.usefixtures("_proxies")
def test_deploys_behind_them(host: Host) -> None:
    """Invariant 6: POSTs after idle gaps around linger, and on through deploys, get lost behind neither."""
    host.run("rm", "-f", "/etc/nginx/sites-enabled/default")
    with app_up(host) as shop:
        shop.write(linger="3.5s", text="2")
        shop.deploy()
        for name, file in FILES.items():
            host.write(file, block(name))
            host.run("systemctl", "restart", name)
            assert doctors(shop, name)["state"] == "ok"
        over, answers = threading.Event(), list[str]()

        def deploys() -> int:
            count = 0
            while not over.is_set():
                shop.deploy()
                count += 1
                over.wait(2)
            return count

        with ThreadPoolExecutor(AT_ONCE * len(PORTS) + 1) as pool:
            deploying = pool.submit(deploys)
            for gap in (0.0, *GAPS):
                time.sleep(gap)  # this idle time is what is tested
                sent = [
                    pool.submit(host.inside, lambda port=port: post(host, port))
                    for port in PORTS.values()
                    for _ in range(AT_ONCE)
                ]
                answers += [one.result() for one in sent]
            over.set()
            assert deploying.result() >= len(GAPS)
        assert [one for one in answers if one.startswith("lost")] == []
        assert len({*answers}) >= len(GAPS)
        host.write(FILES["nginx"], block("nginx").replace("keepalive_timeout 3s;", ""))
        assert "keeps idle connections to us for 60.0 s" in doctors(shop, "nginx")["what"]
        assert "`keepalive_timeout 1s;` in its upstream block" in doctors(shop, "nginx")["hint"]
        host.write(FILES["haproxy"], block("haproxy").replace("delay 500ms", "delay 1m"))
        assert doctors(shop, "haproxy")["state"] == "warning"
        for name, file in FILES.items():
            host.run("systemctl", "stop", name)
            host.run("rm", file)


SERVER = """
server {{
    listen 8082;
    location / {{ {line} }}
    location @app {{ proxy_pass http://127.0.0.1:8000; }}
}}
"""


@pytest.mark.usefixtures("_proxies")
def test_nginx_has_the_files_of_pages(host: Host) -> None:
    """As docs/assets.md has it: those of the release before, too; what is not there the app answers."""
    (line,) = re.findall(r"nginx: `(root .*?)`", ASSETS_PAGE)
    host.run("rm", "-f", "/etc/nginx/sites-enabled/default")
    with app_up(host, BUILD) as shop:
        before = shop.current()
        shop.deploy()
        host.write(FILES["nginx"], SERVER.format(line=line.replace("NAME", "shop")))
        host.run("systemctl", "restart", "nginx")
        for release in (before, shop.current()):
            status, headers, body = host.get(8082, f"/static/{release}")
            assert (status, "gapless-release" in headers) == (200, False)
            assert body.decode() == host.read(f"/srv/shop/releases/{release}/static/{release}")
        status, headers, _ = host.get(8082, "/")
        assert (status, headers["gapless-release"]) == (200, shop.current())
        host.run("systemctl", "stop", "nginx")
        host.run("rm", FILES["nginx"])


@pytest.mark.usefixtures("_proxies")
def test_the_balancers_of_five_servers(tmp_path: Path) -> None:
    """Caddy and haproxy take the lines of docs/five.md, and ask five hosts."""
    page = (Path(__file__).parents[2] / "docs" / "five.md").read_text()
    blocks = dict(re.findall(r"<!-- (\w+): begin -->\n```\w+\n(.*?)```", page, re.DOTALL))
    for name, argv in (
        ("caddy", (NEWER, "adapt", "--adapter", "caddyfile", "--config")),
        ("haproxy", ("haproxy", "-c", "-f")),
    ):
        file = tmp_path / name
        file.write_text(blocks[name])
        subprocess.run([*argv, file], check=True, timeout=60)
        assert len({*re.findall(r"10\.0\.0\.1[1-5]:8000", blocks[name])}) == 5
