"""Caddy's own ports, held by systemd as docs/proxy.md sets them up."""

from __future__ import annotations

import contextlib
import functools
import re
import socket
import ssl
import threading
from collections import Counter
from pathlib import Path

import pytest

from tests.host.host import Host
from tests.host.life import app_up
from tests.host.proxies import MAIN, install_caddy
from tests.support import figure, wait_until

PAGE = (Path(__file__).parents[2] / "docs" / "proxy.md").read_text()
ROOT = "/var/lib/caddy/.local/share/caddy/pki/authorities/local/root.crt"
REQUEST = b"GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n"


def block(name: str) -> str:
    """A block of the page."""
    found = re.search(rf"<!-- {name}: begin -->\n```\w*\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return found[1]


def visit(trust: ssl.SSLContext) -> str:
    """One visit by HTTPS on a new connection: the status line, or what went wrong."""
    try:
        plain = socket.create_connection(("127.0.0.1", 443), 20)
        with plain, trust.wrap_socket(plain, server_hostname="shop.example") as sock:
            sock.sendall(REQUEST)
            return b"".join(iter(lambda: sock.recv(65536), b"")).partition(b"\r\n")[0].decode()
    except OSError as error:
        return repr(error)


def reached(said: list[str], goal: int) -> bool:
    """Whether there were so many visits."""
    return len(said) >= goal


@pytest.mark.usefixtures("_proxies")
@pytest.mark.parametrize("held", [True, False])
def test_a_restart_of_caddy(host: Host, held: bool) -> None:
    """With its ports held by systemd a restart of Caddy refuses nobody; without, it does, so that the test can fail."""
    with contextlib.ExitStack() as stack:
        host.write(MAIN, block("held") if held else ":81 {\n}\n")
        if held:
            host.write("/etc/systemd/system/caddy.socket", block("socket"))
            host.run("systemctl", "daemon-reload")
            host.run("systemctl", "stop", "caddy")
            host.run("systemctl", "enable", "--now", "caddy.socket")
            away = "systemctl disable --now caddy.socket; rm /etc/systemd/system/caddy.socket"
            stack.callback(host.run, "sh", "-c", away)
        install_caddy(host, newer=True)
        stack.enter_context(app_up(host, '[proxy]\ndomains = ["shop.example"]\ntls = "internal"\n'))
        wait_until(lambda: host.run("test", "-e", ROOT, check=False).returncode == 0)
        trust = ssl.create_default_context(cadata=host.read(ROOT))
        wait_until(lambda: host.inside(lambda: visit(trust)) == "HTTP/1.1 200 OK")
        said, over = list[str](), threading.Event()

        def visits() -> None:
            while not over.is_set():
                said.append(visit(trust))

        visitors = [threading.Thread(target=host.inside, args=(visits,)) for _ in range(3)]
        for one in visitors:
            one.start()
        for _ in range(2):
            host.run("systemctl", "restart", "caddy")
            goal = len(said) + 30
            wait_until(functools.partial(reached, said, goal))
        over.set()
        for one in visitors:
            one.join()
        wrong = Counter(one for one in said if one != "HTTP/1.1 200 OK")
        figure(f"held: {held}; {len(said)} visits; {dict(wrong)}")
        assert any("ConnectionRefusedError" in one for one in wrong) is not held, wrong
        host.run("systemctl", "stop", "caddy")
