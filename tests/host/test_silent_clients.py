"""Clients that connect and never send a byte, more of them than the usual limit of descriptors."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

import pytest

from tests.host.host import Host
from tests.host.life import Shop, visits
from tests.support import wait_until

COUNT = 1500
LONG = 40.0  # seconds: more than the 30 of the watchdog
SILENT = """
import signal, socket, sys
held = [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(int(sys.argv[2]))]
print("connected", flush=True)
signal.pause()
"""


@contextlib.contextmanager
def silent_clients(shop: Shop) -> Iterator[None]:
    """COUNT of them, until the block ends."""
    clients = shop.host.popen(sys.executable, "-c", SILENT, str(shop.port), str(COUNT))
    try:
        assert clients.stdout is not None
        assert clients.stdout.readline() == "connected\n"
        yield
    finally:
        clients.kill()
        clients.communicate(timeout=30)


@pytest.fixture
def shops(host: Host) -> Iterator[list[Shop]]:
    """Two apps that are up: one process, and two workers."""
    both = [Shop(host, "shop", 8000), Shop(host, "crew", 8001)]
    for one, command in zip(both, ("gapless serve", "gapless serve --workers 2"), strict=True):
        one.write()
        path = f"{one.project}/gapless.toml"
        host.write(path, host.read(path).replace("gapless serve", command))
        one("up")
    yield both
    for one in both:
        one.remove()
        assert one.left() == ""


def test_silent_clients_cost_a_descriptor_each_and_nothing_else(shops: list[Shop]) -> None:
    """Invariants 3 and 6: visitors are answered, the instance stays the same process, a deploy loses nobody."""
    with contextlib.ExitStack() as stack:
        before = [shop.live()["pid"] for shop in shops]
        seen = [stack.enter_context(visits(shop)) for shop in shops]
        for shop in shops:
            stack.enter_context(silent_clients(shop))
        began = time.monotonic()
        wait_until(lambda: all(shop.live()["status"]["connections"] >= COUNT for shop in shops))
        wait_until(lambda: time.monotonic() - began > LONG, LONG + 10)  # the time itself is what is tested
        assert [shop.live()["pid"] for shop in shops] == before
        for shop in shops:
            said = shop.live()["status"]
            assert COUNT / 4 < said["descriptors"] < said["descriptors_allowed"]
            assert said["descriptors_allowed"] > COUNT  # the hard limit of the machine
            assert f" of {said['descriptors_allowed']:,}" in shop("status").stdout
            shop.deploy()
            shop.settled()
    for each in seen:
        assert each.losses == []
        assert len(each.answers) > 1000
        assert len(each.releases) == 2
