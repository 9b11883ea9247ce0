"""Managers that hold a socket and deploy by themselves: what they lose under load, and by a release that fails."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import math
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.scorecard.servers import BIN, version
from gapless.demo.compare import TRAFFIC
from gapless.demo.ways import Gapless, Way
from gapless.errors import GaplessError
from gapless.prove.background import load
from gapless.prove.kinds import Result
from gapless.prove.verdict import windowed
from gapless.prove.workload import Workload

BOOT = 1.0  # seconds the app takes to load; one that fails does so at once
INTERVAL = 5  # seconds that start_server looks on before it retires the old release: longer than an app takes to load
DEPLOYS = 5
RATE = 120.0  # requests a second
GAP = 2.0  # seconds between a deploy and the next
FAILS = 12.0  # seconds for which the release that fails is watched
STALL = 0.5  # seconds: half of BOOT. Who waits longer, waited for a release to load
PATIENCE = 60.0  # seconds that a deploy may take

UVICORN = ("uvicorn", "app:app", "--timeout-graceful-shutdown", "6", "--fd")
OURS = ("gapless", "serve", "app:app", "--linger", "3s", "--streams", "6s", "--bind")


class Managed(Way):
    """A way whose one process is the manager; the server is its child."""

    def __init__(self, folder: Path, server: Sequence[str] = ()) -> None:
        super().__init__(type(self).__name__, folder, BOOT)
        self.server = list(server)

    @abstractmethod
    def manager(self) -> list[str]:
        """The manager's command."""

    @abstractmethod
    def order(self) -> Sequence[str] | signal.Signals:
        """How the manager is told to deploy: a command, or a signal."""

    @property
    def words(self) -> str:
        """The manager's command as one would type it."""
        return shlex.join(Path(word).name if word.startswith("/") else word for word in self.manager())

    def start(self) -> None:
        self._spawn(self.manager())
        self._until(self.answers, f"{self.words} on port {self.port}")

    def deploy(self) -> None:
        order = self.order()
        if isinstance(order, signal.Signals):
            self._started[-1].send_signal(order)
            return
        try:
            done = subprocess.run(
                order, env=self.env, cwd=self.folder, timeout=PATIENCE, capture_output=True, text=True, check=False
            )
        except subprocess.TimeoutExpired:
            raise GaplessError("deploy with", self.words, f"it took more than {PATIENCE:g} s") from None
        if done.returncode:
            raise GaplessError("deploy with", self.words, (done.stderr or done.stdout).strip())

    def answers(self) -> bool:
        return answers(self.port)


class StartServer(Managed):
    """Server::Starter: the new release has to live for `--interval`, then the old one gets SIGTERM."""

    FILES = ("--pid-file", "pid", "--status-file", "status")

    def manager(self) -> list[str]:
        port = f"127.0.0.1:{self.port}=3"
        return ["start_server", "--interval", str(INTERVAL), "--port", port, *self.FILES, "--", *self.server]

    def start(self) -> None:
        super().start()
        self._until((self.folder / "status").exists, "the status file of start_server")  # it comes after the interval

    def order(self) -> Sequence[str]:
        return ["start_server", "--restart", *self.FILES]


class Circus(Managed):
    """circusd, and `circusctl reload`: the new release starts, then the old one gets SIGTERM."""

    def manager(self) -> list[str]:
        (self.folder / "circus.ini").write_text(f"""\
[circus]
endpoint = ipc://{self.folder}/c
pubsub_endpoint = ipc://{self.folder}/p
[watcher:web]
cmd = {shlex.join(self.server)}
use_sockets = True
copy_env = True
graceful_timeout = 12
[socket:web]
host = 127.0.0.1
port = {self.port}
""")
        return [str(BIN / "circusd"), "circus.ini"]

    def order(self) -> Sequence[str]:
        return [str(BIN / "circusctl"), "--endpoint", f"ipc://{self.folder}/c", "reload", "web", "--waiting"]


class Gunicorn(Managed):
    """gunicorn's master, which is a manager itself: SIGHUP starts new workers, and ends the old ones."""

    def manager(self) -> list[str]:
        where = ["--bind", f"127.0.0.1:{self.port}", "--control-socket", "gunicorn.ctl"]
        return [str(BIN / "gunicorn"), "-k", "asgi", "app:app", *where, "--graceful-timeout", "6"]

    def order(self) -> signal.Signals:
        return signal.SIGHUP


def _server(words: Sequence[str], descriptor: str) -> list[str]:
    first = [sys.executable, "-m", "gapless"] if words[0] == "gapless" else [str(BIN / words[0])]
    prefix = "fd:" if words[0] == "gapless" else ""
    return [*first, *words[1:], prefix + descriptor]


@dataclass(frozen=True)
class Candidate:
    """A row: the manager, how to make it in a directory, what is to be known, and whose versions stand in it."""

    name: str
    make: Callable[[Path], Way]
    about: str
    packages: tuple[str, ...]


HELD = "$(circus.sockets.web)"
STARTER, RELOAD = f"`start_server --interval {INTERVAL}`, then `start_server --restart`", "`circusctl reload web`"
CANDIDATES = (
    Candidate(
        "gapless run, gapless serve",
        lambda folder: Gapless("gapless", folder, BOOT, linger=3),
        "`gapless run`, then `gapless deploy`",
        ("gapless",),
    ),
    Candidate(
        "Server::Starter, gapless serve",
        lambda folder: StartServer(folder, _server(OURS, "3")),
        f"{STARTER}; the server is `gapless serve app:app --bind fd:3`",
        ("start_server", "gapless"),
    ),
    Candidate(
        "Server::Starter, uvicorn",
        lambda folder: StartServer(folder, _server(UVICORN, "3")),
        f"{STARTER}; the server is `uvicorn app:app --fd 3`",
        ("start_server", "uvicorn"),
    ),
    Candidate(
        "circus, gapless serve",
        lambda folder: Circus(folder, _server(OURS, HELD)),
        f"{RELOAD}; the server is `gapless serve app:app --bind fd:{HELD}`",
        ("circus", "gapless"),
    ),
    Candidate(
        "circus, uvicorn",
        lambda folder: Circus(folder, _server(UVICORN, HELD)),
        f"{RELOAD}; the server is `uvicorn app:app --fd {HELD}`",
        ("circus", "uvicorn"),
    ),
    Candidate("gunicorn asgi", Gunicorn, "SIGHUP to `gunicorn -k asgi app:app`", ("gunicorn",)),
)


def answers(port: int) -> bool:
    """Whether the app answers a GET on a new connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


async def _measure(way: Way, deploys: int) -> tuple[Result, float, bool]:
    """Deploy good releases, then one that fails; the samples, when that one came, and whether the app answers then."""
    workload = Workload(way.url, rate=RATE, kinds=TRAFFIC, timeout_seconds=5, pause_seconds=0.3, upload_seconds=0.6)
    try:
        await asyncio.to_thread(way.start)
        async with load(workload, lambda _requests, _lost: None) as running:
            for _ in range(deploys):
                await asyncio.sleep(GAP)
                await asyncio.to_thread(way.deploy)
            await asyncio.sleep(GAP + INTERVAL)  # a manager that only took the order does it meanwhile
            came = time.time()
            (way.folder / "app.py").write_text("raise RuntimeError('this release fails')\n")
            failing = asyncio.create_task(asyncio.to_thread(way.deploy))
            await asyncio.sleep(FAILS)
            serves = await asyncio.to_thread(answers, way.port)
    finally:
        await asyncio.to_thread(way.stop)
    with contextlib.suppress(GaplessError):  # it may well say so
        await failing
    return running.result, came, serves


def row(one: Candidate, deploys: int = DEPLOYS) -> dict[str, Any]:
    """What is kept of a manager."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gapless-bench-") as folder:
        result, came, serves = asyncio.run(_measure(one.make(Path(folder) / "a"), deploys))
    split = windowed(result.samples, [(came, math.inf)])
    inside = split.lost_inside
    all_of = sum(sample.ended_at >= came for sample in result.samples)
    worst = split.outside.max or 0.0
    good = f"{split.lost_outside} of {len(result.samples) - all_of:,}"
    verdicts = {
        "lost": ["fail" if split.lost_outside else "pass", good],
        "stall": ["fail" if worst > STALL else "pass", f"{worst * 1000:,.0f} ms"],
        "lost by one that fails": ["fail" if inside else "pass", f"{inside} of {all_of:,}"],
        "answers then": ["pass" if serves else "fail", "yes" if serves else "no"],
    }
    kept = {
        "name": one.name,
        "version": ", ".join(f"{package} {version(package)}" for package in one.packages),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "command": one.about,
        "error": "",
        "deploys": deploys,
        "seconds": round(time.monotonic() - began),
        "cases": verdicts,
    }
    print(f"{one.name}: {', '.join(f'{name}: {seen}' for name, (_, seen) in verdicts.items())}", flush=True)
    return kept
