"""Caddy in front of an app, as `gapless up` sets it up: Debian's Caddy, which is an old one, and a newer one."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.host.conftest import _boot
from tests.host.host import Host
from tests.host.life import Shop, insist
from tests.host.proxies import MAIN, install_caddy, loads, logged
from tests.host.traffic import traffic
from tests.support import wait_until

APP = """
import json, os

async def app(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": event["text"]})
        return
    seen = {"client": scope["client"] and scope["client"][0], "scheme": scope["scheme"]}
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-frame-options", b"DENY")]})
    await send({"type": "http.response.body", "body": json.dumps(seen).encode()})
"""
SITE = "/etc/caddy/gapless/shop.caddy"
OTHER = "/etc/caddy/gapless/other.caddy"
PROXY = '[proxy]\ntls = "off"\ndomains = ["shop.example", "127.0.0.1"]\n'
Answer = tuple[int, http.client.HTTPMessage, str]
CA = "/var/lib/caddy/.local/share/caddy/pki/authorities/local/root.crt"


@pytest.fixture(scope="module", params=["debian", "newer"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def server(_proxies: None, version: str) -> Iterator[Host]:
    """A host with a Caddy that runs."""
    with _boot() as one:
        install_caddy(one, newer=version == "newer")
        yield one


@pytest.fixture(scope="module")
def installed(server: Host) -> Iterator[Shop]:
    """The app shop, up behind Caddy."""
    one = Shop(server, "shop", 80)
    write(one)
    one("up")
    yield one
    one.remove()
    assert one.left() == ""
    assert server.run("test", "-e", SITE, check=False).returncode == 1
    assert "shop" not in server.run("ls", "/etc/caddy/gapless").stdout


@pytest.fixture
def shop(installed: Shop) -> Iterator[Shop]:
    """The app shop; its site is as it was afterwards, and so is Caddy's own file."""
    before = installed.host.read(MAIN)
    yield installed
    installed.host.write(MAIN, before)
    installed.host.run("rm", "-f", OTHER)
    write(installed)
    installed("up")


def write(shop: Shop, proxy: str = PROXY, app: str = APP) -> None:
    shop.write(config=proxy)
    shop.host.write(f"{shop.project}/app.py", app)
    shop.host.run("sed", "-i", f's|^listen.*|listen = "unix:/run/{shop.name}.sock"|', f"{shop.project}/gapless.toml")


def visit(
    host: Host,
    method: str = "GET",
    *,
    to: str = "127.0.0.1",
    domain: str = "shop.example",
    path: str = "/some/page",
    **headers: str,
) -> Answer:
    """One request to Caddy, as a visitor of `domain` sends it."""

    def request() -> Answer:
        connection = http.client.HTTPConnection(to, 80, timeout=20)
        with contextlib.closing(connection):
            connection.request(method, path, headers={"Host": domain, **headers})
            response = connection.getresponse()
            return response.status, response.headers, response.read().decode()

    return host.inside(request)


def renewed(host: Host, wanted: Callable[..., object], **request: str) -> Answer:
    """What the site answers as soon as it is `wanted`.

    `caddy reload` returns a moment before the servers of the old configuration have closed: they take the next visitor
    now and then (Caddy's own words in `App.Stop` of caddyhttp).
    """

    def answer() -> Answer | None:
        said = visit(host, **request)
        return said if wanted(*said) else None

    return wait_until(answer)


def seen(host: Host, **headers: str) -> dict[str, str]:
    """What the app says of a visitor."""
    document: dict[str, str] = json.loads(visit(host, **headers)[2])
    return document


def unchanged(shop: Shop, *argv: str) -> str:
    """What a command says that fails, leaves Caddy's files as they are, and visitors where they were."""
    listed = ("find", "/etc/caddy", "-type", "f", "-exec", "sha256sum", "{}", "+")
    before, count = shop.host.run(*listed).stdout, loads(shop.host)
    said = shop.fails(*argv)
    assert shop.host.run(*listed).stdout == before
    assert visit(shop.host)[0] == 200
    assert loads(shop.host) == count
    return said


def test_nobody_else_reads_the_log_of_a_new_site(shop: Shop) -> None:
    """From its first visitor on the log is for root and Caddy, and nothing is left to mend."""
    visit(shop.host)
    wait_until(lambda: logged(shop.host, "shop"))
    assert shop.host.run("stat", "--format=%a %U:%G", "/var/log/caddy/shop.log").stdout == "600 caddy:caddy\n"
    assert shop("up").stdout == "Already up: nothing to change.\n"


def test_visitors_come_through_caddy(shop: Shop) -> None:
    """Over IPv4 and IPv6, compressed, with the headers that a site should send and the app has not set itself."""
    for to in ("127.0.0.1", "::1"):
        status, headers, _ = visit(shop.host, to=to)
        assert (status, headers["X-Content-Type-Options"]) == (200, "nosniff")
        assert headers.get_all("X-Frame-Options") == ["DENY"]
    write(shop, PROXY + 'headers = { "X-Frame-Options" = "", "X-Own" = "a \'b\'" }\nextra = "redir /old /new"\n')
    told = shop("up", "-n").stdout
    assert "+\t\tX-Own" in told
    assert "+redir /old /new" in told
    assert visit(shop.host)[1].get("X-Own") is None
    shop("up")
    headers = renewed(shop.host, lambda _, headers, __: "X-Own" in headers)[1]
    assert headers["X-Own"] == "a 'b'"
    assert headers.get("X-Frame-Options") is None


def test_caddy_reloads_only_when_its_files_change(shop: Shop) -> None:
    """Invariant 7: neither a second `up` nor a deploy has Caddy reload; a killed `up` is finished by the next."""
    count = loads(shop.host)
    assert shop("up").stdout == "Already up: nothing to change.\n"
    shop.deploy()
    assert loads(shop.host) == count
    shop.host.write("/etc/caddy/gapless/shop.unread", "")
    assert "Have Caddy reload" in shop("up").stdout
    assert loads(shop.host) == count + 1
    assert shop("up").stdout == "Already up: nothing to change.\n"


def test_a_deploy_never_needs_the_retries(shop: Shop, version: str) -> None:
    """Invariant 1: nothing is lost through Caddy, which asked once for each; a closed socket shows."""
    before = len(logged(shop.host, "shop"))
    with traffic(shop.host, 80) as sent:
        for _ in range(3):
            sent.flows()
            shop.deploy()
        sent.flows()
    assert sent.lost == []
    assert len(sent.releases) == 4
    if version == "newer":  # the old one logs no retries
        wait_until(lambda: len(logged(shop.host, "shop")) - before >= len(sent.samples))
        assert {(one["status"], one["retries"]) for one in logged(shop.host, "shop")[before:]} == {(200, 0)}
    shop.settled()
    insist(shop.host, "stop", "shop.socket", "shop@*")
    answers: list[int] = []
    waiting = threading.Thread(target=lambda: answers.append(visit(shop.host)[0]))
    waiting.start()
    wait_until(lambda: shop.host.run("ss", "-Htn", "state", "established", "sport = :80").stdout)
    shop.host.run("systemctl", "start", "shop.socket")
    waiting.join()
    assert answers == [200]
    if version == "newer":
        wait_until(lambda: logged(shop.host, "shop")[-1]["retries"] > 0)


def test_a_pause_behind_caddy(shop: Shop, version: str) -> None:
    """Invariant 1: the connections that Caddy keeps open hold up no pause, visitors on them wait, and none is lost."""
    before = len(logged(shop.host, "shop"))
    with traffic(shop.host, 80) as sent:
        for _ in range(3):
            sent.flows()
            shop("pause")
            count = len(sent.samples)
            assert shop.status()["paused"]
            assert len(sent.samples) == count
            shop("resume")
        sent.flows()
    assert sent.lost == []
    if version == "newer":
        wait_until(lambda: len(logged(shop.host, "shop")) - before >= len(sent.samples))
        assert {(one["status"], one["retries"]) for one in logged(shop.host, "shop")[before:]} == {(200, 0)}


def test_who_a_visitor_is(shop: Shop) -> None:
    """Client address and scheme reach the app over Unix; neither a visitor nor another local user can forge them."""
    assert seen(shop.host) == {"client": "127.0.0.1", "scheme": "http"}
    forged = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https", "X-Real-Ip": "6.6.6.6"}
    assert seen(shop.host, **forged) == {"client": "127.0.0.1", "scheme": "http"}
    assert shop.host.run("stat", "--format=%A %U %G", "/run/shop.sock").stdout == "srw-rw---- root caddy\n"
    talk = "import socket; socket.socket(socket.AF_UNIX).connect('/run/shop.sock')"
    for user in ("nobody", "shop"):
        done = shop.host.run("python3", "-c", talk, user=user, check=False)
        assert "PermissionError" in done.stderr
    shop.host.run("python3", "-c", talk)
    found = {one["name"] for one in json.loads(shop("doctor", "--json").stdout)["findings"] if one["state"] != "ok"}
    assert not found & {"Caddy", "visitors' addresses", "maintenance", "Caddy service", "installation"}


def test_https_with_caddys_own_certificates(shop: Shop) -> None:
    """The scheme that the app sees is the visitor's; HTTP leads to HTTPS."""
    write(shop, PROXY.replace('"off"', '"internal"'))
    shop("up")
    wait_until(lambda: shop.host.run("test", "-e", CA, check=False).returncode == 0)
    trust = ssl.create_default_context(cadata=shop.host.read(CA))

    def secure() -> bytes:
        plain = socket.create_connection(("127.0.0.1", 443), 20)
        with plain, trust.wrap_socket(plain, server_hostname="shop.example") as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")
            return b"".join(iter(lambda: sock.recv(65536), b""))

    def answered() -> bytes:
        with contextlib.suppress(ssl.SSLError):  # the certificate comes a moment after the reload
            return shop.host.inside(secure)
        return b""

    assert b'"scheme": "https"' in wait_until(answered)
    _, headers, _ = renewed(shop.host, lambda status, *_: status == 308)
    assert headers["Location"] == "https://shop.example/some/page"


def test_a_page_in_the_place_of_the_app(shop: Shop) -> None:
    """Maintenance, at once and whatever the request, until it is turned off; the state is doctor's to tell."""
    assert shop("maintenance", "on").stdout == "Maintenance of shop is on.\n"
    assert shop("maintenance", "on").stdout == "Maintenance of shop is already on.\n"
    shop.host.write("/srv/shop/maintenance.html", "<h1>At four</h1>")
    for method in ("GET", "POST"):
        status, headers, body = visit(shop.host, method)
        assert (status, body, headers["Retry-After"]) == (503, "<h1>At four</h1>", "60")
    shop.deploy()
    assert visit(shop.host)[0] == 503
    found = {one["name"]: one for one in json.loads(shop("doctor", "--json").stdout)["findings"]}
    assert found["maintenance"]["hint"] == "gapless maintenance off"
    assert json.loads(shop("maintenance", "off", "--json").stdout) == {"maintenance": False, "changed": True}
    assert visit(shop.host)[0] == 200
    assert shop.host.gapless("maintenance", "off", "shop").stdout == "Maintenance of shop is already off.\n"
    assert "it has no site in Caddy" in shop.fails("maintenance", "on", "other")


def test_a_page_until_the_first_release(server: Host) -> None:
    """Where nothing is deployed yet, visitors see the page at once; `down` takes the site away."""
    with contextlib.ExitStack() as stack:
        new = Shop(server, "new", 8001)
        stack.callback(new.remove)
        new.write(config='[proxy]\ntls = "off"\ndomains = ["new.example"]\n', app="raise RuntimeError('not yet')")
        assert "not yet" in new.fails("up")
        _, headers, body = renewed(server, lambda status, *_: status == 503, domain="new.example")
        assert headers["Retry-After"] == "10"
        assert "Back in a moment" in body
        new.write(config='[proxy]\ntls = "off"\ndomains = ["new.example"]\n')
        new.deploy()
        assert visit(server, domain="new.example")[0] == 200
        assert "every local user can connect to 127.0.0.1:8001" in new("doctor", check=False).stdout
    assert visit(server, domain="new.example")[2] != body


def test_what_a_reload_does_to_websockets(shop: Shop, version: str) -> None:
    """A newer Caddy lets them live on for [drain] streams; the one of Debian closes them at once."""

    def talk() -> str:
        with connect("ws://127.0.0.1/") as client:
            client.send("before")
            assert client.recv() == "before"
            write(shop, PROXY + 'headers = { X-New = "1" }\n')
            shop("up")
            renewed(shop.host, lambda _, headers, __: headers["X-New"] == "1")
            try:
                client.send("after")
                return str(client.recv(timeout=10))
            except ConnectionClosed as closed:
                return f"{closed.rcvd and closed.rcvd.code}"

    assert shop.host.inside(talk) == {"newer": "after", "debian": "1001"}[version]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('extra = "no_such_directive"\n', "no_such_directive"),
        ('tls = { cert = "/nowhere.pem", key = "/nowhere.key" }\n', "/nowhere.pem"),
    ],
)
def test_a_site_that_caddy_does_not_accept(shop: Shop, more: str, said: str) -> None:
    """Invariant 8: what Caddy says, before anything is written."""
    write(shop, (PROXY.replace('tls = "off"\n', "") if "tls" in more else PROXY) + more)
    told = unchanged(shop, "up")
    assert "cannot use [proxy]" in told
    assert said in told
    assert "mend it in gapless.toml" in told
    assert said in unchanged(shop, "up", "-n")
    write(shop)
    shop("up")


def test_a_caddyfile_by_hand(shop: Shop, version: str) -> None:
    """Invariant 6: what somebody writes himself is judged as Caddy reads it; the hint mends it."""
    found = doctors(shop, "a.example {\n\treverse_proxy unix//run/shop.sock\n}\n")
    assert found["state"] == "warning"
    assert "2 min" in found["what"]
    assert ("WebSockets" in found["what"]) is (version == "newer")
    delay = "stream_close_delay 1m" if version == "newer" else ""
    block = f"lb_try_duration 5s\n{delay}\ntransport http {{\nkeepalive 500ms\n}}"
    found = doctors(shop, f"a.example {{\n\treverse_proxy unix//run/shop.sock {{\n{block}\n}}\n}}\n")
    assert found["state"] == "ok"


def doctors(shop: Shop, caddyfile: str) -> dict[str, str]:
    """What doctor says of a Caddyfile."""
    shop.host.write(MAIN, caddyfile)
    document = json.loads(shop("doctor", "--json", check=False).stdout)
    found: dict[str, str] = next(one for one in document["findings"] if one["name"] == "Caddy")
    return found


def test_a_reload_that_fails(shop: Shop) -> None:
    """Invariant 8: what Caddy says is told, the old files are put back, and Caddy goes on as before."""
    taker = shop.host.popen("python3", "-m", "http.server", "443")
    try:
        wait_until(lambda: ":01BB" in shop.host.read("/proc/net/tcp"))
        write(shop, PROXY.replace('"off"', '"internal"'))
        before = shop.host.read(SITE)
        told = shop.fails("up")
        assert "cannot reload /etc/caddy/Caddyfile" in told
        assert "address already in use" in told
        assert shop.host.read(SITE) == before
        assert visit(shop.host)[0] == 200
    finally:
        taker.kill()
        taker.communicate()
    shop("up")


def test_an_app_that_comes_behind_caddy_later(server: Host) -> None:
    """Its open socket becomes Caddy's alone at once, the next release believes Caddy; and back again."""
    new = Shop(server, "new", 80)
    mode = ("stat", "--format=%a %G", "/run/new.sock")

    def told() -> dict[str, str]:
        answer = renewed(server, lambda *said: said[2], domain="new.example", **{"X-Forwarded-Proto": "https"})
        document: dict[str, str] = json.loads(answer[2])
        return document

    try:
        write(new, "")
        new("up")
        assert server.run(*mode).stdout == "666 root\n"
        write(new, '[proxy]\ntls = "off"\ndomains = ["new.example"]\n')
        new("up")
        assert server.run(*mode).stdout == "660 caddy\n"
        assert told() == {"client": None, "scheme": "http"}
        new.deploy()
        assert told() == {"client": "127.0.0.1", "scheme": "http"}
        write(new, "")
        new("up")
        assert server.run(*mode).stdout == "666 root\n"
        assert server.run("test", "-e", "/etc/caddy/gapless/new.caddy", check=False).returncode == 1
    finally:
        new.remove()
