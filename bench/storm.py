"""A storm: `gapless deploy` as fast as it goes, and other servers that reload as often, under the same clients."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.host.host import REQUIREMENTS

from bench.bulk import KINDS, Bulk, bulk
from gapless.demo.ways import Gapless, Way
from gapless.prove.verdict import bound

RELOADS = 25
BOOT = 0.05  # seconds
CONNECTIONS = 16
AGAIN = 1.0  # seconds after which a signal is sent again: haproxy loses those that come while it starts
GAPLESS = "gapless deploy"
HEADINGS = ["server", "clients", "reloads", "one each", "requests", "failed", "how"]
HAPROXY = """
global
    stats socket {folder}/haproxy.sock expose-fd listeners level admin
defaults
    mode http
    timeout client 30s
    timeout connect 5s
    timeout server 30s
frontend hello
    bind 127.0.0.1:{port}
    http-request return status 200 content-type text/plain string hello
"""
NGINX = """
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    server {{
        listen 127.0.0.1:{port};
        location / {{ return 200 hello; }}
    }}
}}
"""
WSGI = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"hello"]
"""


class Reloading(Way):
    """A server that reloads at a signal to its first process, as its manual says; `files` are those it wants."""

    def __init__(self, name: str, folder: Path, number: signal.Signals, argv: Sequence[str], **files: str) -> None:
        super().__init__(name, folder, BOOT)
        about = {"folder": folder, "port": self.port}
        self.argv = [word.format(**about) for word in argv]
        self.signal = number
        for file, text in files.items():
            (folder / file).write_text(text.format(**about))

    def start(self) -> None:
        self._spawn(self.argv)
        self._until(self._connects, f"{self.name} on port {self.port}")

    def deploy(self) -> None:
        before, told = self._workers(), 0.0

        def reloaded() -> bool:
            nonlocal told
            if time.monotonic() > told + AGAIN:
                self._started[-1].send_signal(self.signal)
                told = time.monotonic()
            return bool(self._workers() - before)

        self._until(reloaded, f"another worker of {self.name}")

    def _workers(self) -> set[str]:
        return {*Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()}

    def _connects(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@dataclass(frozen=True)
class Row:
    """One line of the table; `every` are the seconds from one reload to the next."""

    name: str
    clients: str
    reloads: int
    every: float
    bulk: Bulk


def run(folder: Path, count: int) -> list[Row]:
    """Measure every server with each kind of clients."""
    subprocess.run([REQUIREMENTS, "proxies"], check=True, timeout=480)
    rows: list[Row] = []
    for clients in KINDS:
        every = 0.0  # the first is gapless, as fast as it goes; the others reload as often
        for way in ways(folder / clients.replace(" ", "-")):
            rows.append(_measure(way, clients, count, every))
            every = every or rows[-1].every
            print(" | ".join(cells(rows[-1])), flush=True)
    return rows


def ways(folder: Path) -> Iterator[Way]:
    """Those that are compared: gapless first."""
    folder.mkdir()
    python = [sys.executable, "-m"]
    yield Gapless(GAPLESS, folder / "gapless", BOOT, linger=2)
    yield Reloading(
        "haproxy, SIGUSR2",
        folder / "haproxy",
        signal.SIGUSR2,
        ["haproxy", "-W", "-db", "-f", "{folder}/config"],
        config=HAPROXY,
    )
    yield Reloading(
        "nginx, SIGHUP",
        folder / "nginx",
        signal.SIGHUP,
        ["nginx", "-c", "{folder}/config", "-g", "daemon off;"],
        config=NGINX,
    )
    gunicorn = [*python, "gunicorn", "-w2", "-kgthread", "--threads=8", "--bind=127.0.0.1:{port}"]
    gunicorn += ["--control-socket={folder}/control", "hello:app"]  # else it is below our home
    yield Reloading("gunicorn, SIGHUP", folder / "gunicorn", signal.SIGHUP, gunicorn, **{"hello.py": WSGI})


def _measure(way: Way, clients: str, count: int, every: float) -> Row:
    try:
        way.start()
        with bulk(way.folder, way.url, clients, connections=CONNECTIONS, pause=0) as seen:
            began = time.monotonic()
            for number in range(1, count + 1):
                way.deploy()
                time.sleep(max(began + number * every - time.monotonic(), 0))
            took = time.monotonic() - began
    finally:
        way.stop()
    return Row(way.name, clients, count, took / count, seen)


def unkept(rows: Sequence[Row]) -> list[str]:
    """Say what gapless did not keep of its promise."""
    return [
        f"storm, {row.clients}: {row.bulk.failures} of {row.bulk.requests:,}"
        for row in rows
        if row.name == GAPLESS and (row.bulk.failed or not row.bulk.requests)
    ]


def report(rows: Sequence[Row]) -> str:
    """The figures as Markdown."""
    ours = [row.bulk for row in rows if row.name == GAPLESS]
    lines = [
        f"A storm: deploys as fast as they go, and other servers that reload as often, under {CONNECTIONS} connections "
        "of wrk that ask without a pause. The proxies answer by themselves, gunicorn and gapless run an app. "
        "`make soak` makes this table.",
        "",
        f"| {' | '.join(HEADINGS)} |",
        f"|{' --- |' * len(HEADINGS)}",
        *(f"| {' | '.join(cells(row))} |" for row in rows),
        "",
        f"`{GAPLESS}`: {bound(sum(one.requests for one in ours), sum(one.failed for one in ours))}.",
    ]
    return "\n".join(lines) + "\n"


def cells(row: Row) -> Sequence[str]:
    """A line of the table, as HEADINGS say."""
    how = ", ".join(f"{count:,} {kind}" for kind, count in row.bulk.failures.items() if count)
    return (
        *(row.name, row.clients, f"{row.reloads}", f"{row.every * 1000:,.0f} ms"),
        *(f"{row.bulk.requests:,}", f"{row.bulk.failed:,}", how),
    )
