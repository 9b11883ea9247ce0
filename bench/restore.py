"""A host is lost while both releases of a switchover write, and a new one goes on from the replica; as root.

python -m bench.restore --switchovers 100 --losses 5

Every row that was acknowledged before the last `gapless database sync` must be on the new host. The exit status is not
0 when one is missing, or when the database is not whole.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.host.databases import DATABASE, FILE, Database, bring, in_s3, install_litestream, s3
from tests.host.host import Host, install_requirements
from tests.host.lan import Lan

from bench.__main__ import put_between

PAGE = Path(__file__).parents[1] / "docs" / "database.md"
ALL = 100  # switchovers with each kind of replica: fewer write nothing
WRITERS = 4
BODY = 1000  # bytes of a row
PAUSE = 0.05  # seconds between two rows of a writer
AFTER = 3.0  # seconds of writing after the last sync
WITHIN = 120.0  # seconds for a command
CHECK = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1])
print(*database.execute("PRAGMA integrity_check").fetchone())
print(*[id for id, in database.execute("SELECT id FROM orders")])
"""
HEADINGS = ["replica", "switchovers", "hosts lost", "rows acknowledged", "missing of those before the last sync"]
HEADINGS += ["lost at the worst", "`gapless up` on the new host"]


@dataclass
class Written:
    """The rows that were acknowledged: when, in Unix seconds, by the name of each."""

    rows: dict[str, float] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)


@dataclass
class Loss:
    """One host that was lost: what was missing on the next, over how many seconds, and how long its `up` took."""

    rows: int
    seconds: float
    took: float


@dataclass
class Figures:
    """What came of the hosts that were lost with one kind of replica."""

    replica: str
    switchovers: int = 0
    acknowledged: int = 0
    losses: list[Loss] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def cells(self) -> str:
        """The row of the table."""
        worst = max(self.losses, key=lambda one: one.seconds)
        lost = f"{worst.seconds:.2f} s: {worst.rows} rows, {worst.rows * BODY:,} bytes"
        took = max(one.took for one in self.losses)
        found = [self.replica, str(self.switchovers), str(len(self.losses)), f"{self.acknowledged:,}"]
        return f"| {' | '.join([*found, str(len(self.wrong)), lost, f'{took:.1f} s'])} |"


def run(
    figures: Figures, settings: str, variables: str, hosts: Callable[[], Host], switchovers: int, losses: int
) -> None:
    """Lose so many hosts, one after the other, each after its share of the switchovers."""
    with contextlib.ExitStack() as stack:
        host = stack.enter_context(hosts())
        shop = prepare(host, settings, variables)
        shop("up", "-q")
        before = set[str]()
        for number in range(losses):
            with writing(shop, f"{figures.replica[0]}{number}") as written:
                for _ in range(switchovers // losses):
                    deploy(shop)
                synced = time.time()
                said = shop.answer("sync")
                time.sleep(AFTER)  # what is lost is what is written from here on
                ended = time.time()
                host.kill_power()
            figures.switchovers += switchovers // losses
            figures.acknowledged += len(written.rows)
            fresh = stack.enter_context(hosts())
            if "file:" in settings:
                bring(host, fresh)
            host.close()
            host, shop = fresh, prepare(fresh, settings, variables)
            began = time.monotonic()
            shop("up", "-q")
            took = time.monotonic() - began
            whole, *found = host.run("python3", "-c", CHECK, DATABASE, user="shop", timeout=WITHIN).stdout.split()
            there = set(found)
            if whole != "ok":
                figures.wrong.append(f"the database is not whole: {whole}")
            must = before | {row for row, at in written.rows.items() if at < synced}
            figures.wrong += [f"{row} was acknowledged before the sync to {said['txid']}" for row in must - there]
            missing = [at for row, at in written.rows.items() if row not in there]
            figures.losses.append(Loss(len(missing), ended - min(missing, default=ended), took))
            before = there


def prepare(host: Host, settings: str, variables: str) -> Database:
    """The project, and Litestream, on a host."""
    install_litestream(host)
    shop = Database(host, "shop", 8000)
    shop.release(settings)
    shop.credentials(variables)
    return shop


def deploy(shop: Database) -> None:
    """A switchover, in which both releases write."""
    done = shop.host.gapless("deploy", "-q", cwd=shop.project, timeout=WITHIN, check=False)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)


@contextlib.contextmanager
def writing(shop: Database, prefix: str) -> Iterator[Written]:
    """Clients who add one row after the other, until the host is lost or the block ends."""
    written, over = Written(), threading.Event()

    def write(client: int) -> None:
        number = 0
        while not over.wait(PAUSE):
            number += 1
            row = f"{prefix}-{client}-{number}"
            connection = http.client.HTTPConnection(Host.address, shop.port, timeout=10)
            try:
                connection.request("GET", f"/add/{row}", headers={"Connection": "close"})
                if connection.getresponse().status == 200:
                    written.rows[row] = time.time()
                else:
                    written.refused.append(row)
            except (OSError, http.client.HTTPException):
                written.refused.append(row)
            finally:
                connection.close()

    threads = [threading.Thread(target=shop.host.inside, args=(lambda one=one: write(one),)) for one in range(WRITERS)]
    for thread in threads:
        thread.start()
    try:
        yield written
    finally:
        over.set()
        for thread in threads:
            thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.restore", description=__doc__)
    parser.add_argument("--switchovers", type=int, default=ALL, help="with each kind of replica")
    parser.add_argument("--losses", type=int, default=5, help="of hosts, with each kind of replica")
    parser.add_argument("--only", default="", help="only replicas whose name contains this")
    options = parser.parse_args()
    install_requirements()
    every = []
    for replica, measure in {"directory": in_directory, "S3": at_s3}.items():
        if options.only in replica:
            every.append(Figures(replica))
            measure(every[-1], options.switchovers, options.losses)
            print(every[-1].cells(), flush=True)
    text = report(every)
    print(text)
    if options.switchovers >= ALL and not options.only:
        put_between(PAGE, "restore", text)
    if wrong := [f"{one.replica}: {what}" for one in every for what in one.wrong]:
        sys.exit("\n".join(wrong))


def in_directory(figures: Figures, switchovers: int, losses: int) -> None:
    """With a replica in a directory, which is brought to the new host."""
    run(figures, FILE, "", Host, switchovers, losses)


def at_s3(figures: Figures, switchovers: int, losses: int) -> None:
    """With a replica in the S3 of another host."""
    with Lan() as lan, Host() as store:

        def attached() -> Host:
            host = Host()
            lan.attach(host)
            return host

        address = lan.attach(store)
        with s3(store, address) as variables:
            run(figures, in_s3(address), variables, attached, switchovers, losses)


def report(every: list[Figures]) -> str:
    """The figures as Markdown."""
    about = (
        f"{WRITERS} clients, each with a row of {BODY:,} bytes after a pause of {PAUSE * 1000:g} ms; the host is lost "
        f"{AFTER:g} s after a `gapless database sync`; {os.cpu_count()} cores. `make restore` makes this table."
    )
    rule = f"|{' --- |' * len(HEADINGS)}"
    return "\n".join([about, "", f"| {' | '.join(HEADINGS)} |", rule, *(one.cells() for one in every)]) + "\n"


if __name__ == "__main__":
    main()
