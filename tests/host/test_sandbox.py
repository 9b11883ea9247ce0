"""[sandbox]: what an app may not do under systemd, tried by an app that tries it; see test_libraries.py, too."""

from __future__ import annotations

import contextlib
import fcntl
import re
import socket
import struct
from collections.abc import Iterator

import pytest

from tests.host.host import Host
from tests.host.life import Shop, leaving_nothing

APP = """
import os, pathlib, socket

def write(path):
    pathlib.Path(os.path.expandvars(path)).write_text("written")

def read(path):
    pathlib.Path(path).read_text()

def dial(host):
    socket.create_connection((host, 9000), 2).close()

async def app(scope, receive, send):
    what, _, argument = scope["query_string"].decode().partition("=")
    try:
        globals()[what](argument) if what else None
        body = b"done"
    except Exception as error:
        body = repr(error).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""
PUBLIC = "192.0.2.1"  # an address of the host that is not loopback
SIOCSIFADDR = 0x8916


@pytest.fixture
def shop(host: Host) -> Iterator[Shop]:
    """An app that tries what it is asked to; not up yet."""
    with leaving_nothing(Shop(host, "shop", 8000)) as one:
        one.write()
        host.write(f"{one.project}/app.py", APP)
        yield one


def up(shop: Shop, sandbox: str = "") -> None:
    text = shop.host.read(f"{shop.project}/gapless.toml")
    shop.host.write(f"{shop.project}/gapless.toml", f"{text}\n[sandbox]\n{sandbox}\n")
    shop("up")


def may(shop: Shop, what: str, argument: str = "") -> bool:
    return shop.get(f"/?{what}={argument}") == "done"


def listen(host: Host) -> contextlib.closing[socket.socket]:
    """A listener on every address of the host, of which one is not loopback."""

    def make() -> socket.socket:
        with socket.socket() as any_socket:
            request = struct.pack("16sHH4s16x", b"lo:1", socket.AF_INET, 0, socket.inet_aton(PUBLIC))
            fcntl.ioctl(any_socket, SIOCSIFADDR, request)
        return socket.create_server(("0.0.0.0", 9000))

    return contextlib.closing(host.inside(make))


def test_the_default_unit_is_hardly_exposed(shop: Shop) -> None:
    """systemd's own judgement, 0 (nothing) to 10 (everything): at most 1.5, with the network open."""
    up(shop)
    unit = f"shop@{shop.current()}.service"
    said = shop.host.run("systemd-analyze", "security", "--no-pager", unit, check=False).stdout
    level = re.search(r"exposure level for \S+: ([\d.]+)", said)
    assert level is not None, said
    assert float(level[1]) <= 1.5, said


def test_only_shared_and_what_is_named_can_be_written(shop: Shop) -> None:
    """$GAPLESS_SHARED, a /tmp of its own, and `writable`; nothing else, not even the release itself."""
    host = shop.host
    host.run("mkdir", "-p", "-m", "777", "/var/spool/shop", "/var/spool/other")
    up(shop, 'writable = ["/var/spool/shop"]')
    for path in ("$GAPLESS_SHARED/x", "/var/spool/shop/x", "/tmp/x"):  # noqa: S108
        assert may(shop, "write", path), path
    assert host.read("/srv/shop/shared/x") == "written"
    assert host.run("test", "-e", "/tmp/x", check=False).returncode == 1  # noqa: S108
    host.run("mkdir", "-p", "-m", "1777", "/run/lock")
    for path in ("x", "/var/spool/other/x", "/etc/x", "/usr/x", "/var/x", "/srv/shop/x", "/run/x", "/run/lock/x"):
        assert not may(shop, "write", path), path


def test_homes_and_what_belongs_to_others_cannot_be_read(shop: Shop) -> None:
    """Files that anybody could read otherwise, in /root and /home; and the app's own environment file."""
    host = shop.host
    up(shop)
    paths = ("/root/open", "/home/someone/open", "/srv/open")
    for path in paths:
        host.write(path, "for all")
    host.run("chmod", "755", "/root")
    assert [may(shop, "read", path) for path in paths] == [False, False, True]
    assert not may(shop, "read", f"/srv/shop/env/{shop.current()}.env")
    assert not may(shop, "read", "/proc/1/environ")


@pytest.mark.parametrize(("network", "reached"), [("none", False), ("local", True), ("full", True)])
def test_the_network_that_can_be_reached(shop: Shop, network: str, reached: bool) -> None:
    """Visitors come in with any of them; "none" dials nowhere, "local" the host itself, "full" anywhere."""
    up(shop, f'network = "{network}"')
    with listen(shop.host):
        assert may(shop, "dial", "127.0.0.1") is reached
        elsewhere = may(shop, "dial", PUBLIC)
    unit = f"shop@{shop.current()}.service"
    if network == "local" and elsewhere:  # where the kernel lets systemd attach no BPF, it only says so
        assert "BPF" in shop.host.journal()
        assert shop.show(unit, "IPAddressDeny") == "0.0.0.0/0 ::/0"
        assert shop.show(unit, "IPAddressAllow") == "127.0.0.0/8 ::1/128"
    else:
        assert elsewhere is (network == "full")


def test_a_writable_path_that_is_missing_is_named(shop: Shop) -> None:
    """Invariant 8: the first deploy fails, and says which path is not there."""
    text = shop.host.read(f"{shop.project}/gapless.toml")
    shop.host.write(f"{shop.project}/gapless.toml", f'{text}\n[sandbox]\nwritable = ["/var/spool/missing"]\n')
    assert "/var/spool/missing" in shop.fails("up")
