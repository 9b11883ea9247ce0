"""examples/celery on a host with Debian's Redis: orders keep coming over deploys, and each is shipped exactly once."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.host.host import PROJECT, Host
from tests.host.life import Shop, again_and_again, leaving_nothing
from tests.support import wait_until

DEPLOYS = int(os.environ.get("DEPLOYS", "3"))
LEDGER = """
import json, sqlite3
rows = sqlite3.connect("/srv/shop/shared/ledger.db", timeout=30).execute("SELECT order_id, release FROM shipped")
print(json.dumps(rows.fetchall()))
"""


@pytest.fixture(scope="module")
def server(_bootable: None, request: pytest.FixtureRequest) -> Host:
    """A host with a Redis that runs."""
    subprocess.run([str(Path(__file__).with_name("requirements.sh")), "redis"], check=True, timeout=300)
    host: Host = request.getfixturevalue("host")
    host.run("systemctl", "start", "redis-server.service")
    return host


@pytest.fixture
def shop(server: Host) -> Iterator[Shop]:
    with leaving_nothing(Shop(server, "shop", 8000)) as one:
        server.run("mkdir", "-p", str(Path(one.project).parent))
        server.run("cp", "-r", str(PROJECT / "examples" / "celery"), one.project)
        one("up")
        yield one


@dataclass
class Orders:
    """What visitors ordered: `accepted` by their answers, `failed` with why."""

    accepted: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


@contextlib.contextmanager
def orders(shop: Shop) -> Iterator[Orders]:
    """Two visitors inside the host who order one thing after the other, each on a new connection."""
    seen, numbers = Orders(), itertools.count(1)

    def order() -> None:
        connection = http.client.HTTPConnection(Host.address, shop.port, timeout=30)
        try:
            name = str(next(numbers))
            connection.request("POST", f"/orders/{name}", headers={"Connection": "close"})
            response = connection.getresponse()
            text = response.read().decode()
            (seen.accepted if response.status == 202 else seen.failed).append(name if response.status == 202 else text)
        except (OSError, http.client.HTTPException) as error:
            seen.failed.append(repr(error))
        finally:
            connection.close()

    with again_and_again(shop.host, order, threads=2, pause=0.3):
        yield seen


def shipped(shop: Shop) -> list[tuple[str, str]]:
    """Each time that a job was done: what was ordered, and by the worker of which release."""
    return [(name, release) for name, release in json.loads(shop.host.run("python3", "-c", LEDGER).stdout)]


def test_no_job_is_lost_or_done_twice_over_deploys(shop: Shop) -> None:
    """Invariant 6, of a queue: what was accepted is shipped once, by old and new workers, and Redis keeps nothing."""
    with orders(shop) as seen:
        wait_until(lambda: len(shipped(shop)) > 3, 60)
        for number in range(DEPLOYS):
            shop.host.write(f"{shop.project}/VERSION", str(number))
            shop.deploy()
        after = len(seen.accepted)
        wait_until(lambda: len(seen.accepted) > after + 5)
    assert seen.failed == []
    wait_until(lambda: len(shipped(shop)) >= len(seen.accepted), 120, "every order is shipped")
    for what in (("llen", "celery"), ("hlen", "unacked")):
        wait_until(lambda what=what: shop.host.run("redis-cli", *what).stdout == "0\n")  # type: ignore[misc]
    done = shipped(shop)
    assert Counter(name for name, _ in done) == Counter(seen.accepted)
    assert len({release for _, release in done}) > DEPLOYS // 2
    workers = len({release for _, release in done})
    print(f"{DEPLOYS} deploys, {len(done)} jobs, by the workers of {workers} releases")  # noqa: T201 -- for -rP
