"""A small app on a host: its project, the commands an operator runs on it, and visitors who never stop."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tests.host.host import PROJECTS, SEARCHED, Host
from tests.support import GAPLESS, wait_until

APP = """
import asyncio, os, time
time.sleep({boot})
{more}
NAME = os.environ["GAPLESS_RELEASE"] + " " + str(os.getpid()) + " {text}"

async def app(scope, receive, send):
    if scope["path"] == "/slow":
        await asyncio.sleep(1.5)
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body", "body": NAME.encode()}})
"""
CONFIG = """
name = "{name}"
command = "gapless serve app:app"
listen = "127.0.0.1:{port}"
check = {{ path = "/", timeout = "20s" }}
drain = {{ linger = "{linger}", requests = "5s", streams = "5s" }}
{more}
"""
# In the place of systemctl: the first thing that is told to systemd after a commit is to read it.
DEADLY = """#!/bin/sh
commit=/etc/systemd/system/{name}.socket.d/current.conf
case "$*" in *daemon-reload*) [ -e $commit ] && kill -KILL $PPID && exit ;; esac
exec /usr/bin/systemctl "$@"
"""
UNITS = ("/etc/systemd/system", "/run/systemd/system")


@dataclass
class Shop:
    """The app `name`, its project below PROJECTS of the host; each command fails the test unless `check` is off."""

    host: Host
    name: str
    port: int
    user: str = ""

    @property
    def project(self) -> str:
        return f"/home/{self.user}/{self.name}" if self.user else str(PROJECTS / self.name)

    def write(self, *, text: str = "", boot: float = 0.0, app: str = "", config: str = "", linger: str = "1s") -> None:
        """The next release: it takes `boot` seconds to load, runs `app` then, and ends its answers with `text`."""
        self.host.write(f"{self.project}/app.py", APP.format(boot=boot, more=app, text=text))
        whole = CONFIG.format(name=self.name, port=self.port, linger=linger, more=config)
        self.host.write(f"{self.project}/gapless.toml", whole)
        if self.user:
            self.host.run("chown", "-R", f"{self.user}:", self.project)

    def __call__(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.host.gapless(*argv, check=check, cwd=self.project, user=self.user)

    def popen(self, *argv: str) -> subprocess.Popen[str]:
        return self.host.popen(*GAPLESS, *argv, cwd=self.project, user=self.user)

    def fails(self, *argv: str) -> str:
        """What a command says that must not succeed."""
        done = self(*argv, check=False)
        assert done.returncode > 0, done.stdout
        assert not done.stderr.startswith("Traceback"), done.stderr
        return done.stderr

    def deploy(self) -> str:
        """A deploy that must succeed; its release."""
        release: str = json.loads(self("deploy", "--json").stdout)["release"]
        return release

    def phases(self, release: str) -> dict[str, float]:
        """The seconds of each phase of the deploy of `release`."""
        deploys = json.loads(self("audit", "--json").stdout)["deploys"]
        found = next(one for one in deploys if one["to"] == release)
        return {one["name"]: one["seconds"] for one in found["phases"]}

    def status(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self("status", "--json", check=False).stdout)
        return document

    def current(self) -> str:
        return str(self.status()["current"])

    def live(self) -> dict[str, Any]:
        """The one live instance that is ready, once there is one."""
        found = wait_until(lambda: [one for one in self.status()["instances"] if one["role"] == "live"])
        assert len(found) == 1, found
        return dict(found[0])

    def settled(self) -> None:
        """Wait until nothing but the live instance runs."""
        wait_until(lambda: [one["role"] for one in self.status()["instances"]] == ["live"], 30)

    def get(self, path: str = "/") -> str:
        """The answer to one request on a new connection."""
        status, _, body = self.host.get(self.port, path)
        assert status == 200
        return body.decode()

    def show(self, unit: str, what: str) -> str:
        """A property of a unit."""
        return self.host.run("systemctl", "show", "--value", f"--property={what}", unit).stdout.strip()

    def inode(self) -> int:
        """Of the listening socket, as the kernel has it (proc_net(5)); 0 when nothing listens."""
        rows = [line.split() for line in self.host.read("/proc/net/tcp").splitlines()[1:]]
        return next((int(row[9]) for row in rows if row[1].endswith(f":{self.port:04X}") and row[3] == "0A"), 0)

    def left(self) -> str:
        """The files, units and users of the app that are there."""
        found = self.host.run("find", *UNITS, "/srv", "/run/gapless", "-name", f"{self.name}*", check=False).stdout
        pattern = f"{self.name}*"
        found += self.host.run("systemctl", "list-units", "--all", "--no-legend", "--plain", pattern).stdout
        return found + self.host.run("getent", "passwd", self.name, f"{self.name}-build", check=False).stdout

    def phase(self, command: subprocess.Popen[str], what: str, path: str) -> None:
        """Wait until the file `path` is there, which shows that `command` has come to `what`."""

        def there() -> bool:
            assert command.poll() is None, f"it ended before {what}: {command.communicate()[0]}"
            return self.host.run("test", "-e", path, check=False).returncode == 0

        wait_until(there, 30, what)

    def killed_at_the_commit(self, *argv: str) -> None:
        """A deploy whose deployer is killed after the rename that commits it, before systemd hears of it."""
        self.host.write(f"{PROJECTS}/deadly/systemctl", DEADLY.format(name=self.name), 0o755)
        path = {"PATH": f"{PROJECTS}/deadly:{SEARCHED}"}
        done = self.host.run(*GAPLESS, *(argv or ("deploy",)), cwd=self.project, env=path, check=False)
        assert done.returncode in (137, -9), done.stdout + done.stderr

    def remove(self) -> None:
        self("down", "--data", "--yes")


def insist(host: Host, verb: str, socket: str, *more: str) -> None:
    """Have systemd stop or restart a held socket: by an operator who insists, or as with an older gapless."""
    drop_in = f"/run/systemd/system/{socket}.d/zz-insists.conf"
    host.write(drop_in, "[Unit]\nRefuseManualStop=no\n")
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", verb, socket, *more, check=verb != "restart")  # systemd does not open it for a service
    host.run("rm", drop_in)
    host.run("systemctl", "daemon-reload")


S = TypeVar("S", bound=Shop)


@contextlib.contextmanager
def leaving_nothing(one: S) -> Iterator[S]:
    """The app, whatever becomes of it inside; afterwards nothing of it is left."""
    yield one
    one.remove()
    assert one.left() == ""


@contextlib.contextmanager
def app_up(host: Host, config: str = "") -> Iterator[Shop]:
    """The app `shop`, up inside; afterwards nothing of it is left."""
    with leaving_nothing(Shop(host, "shop", 8000)) as one:
        one.write(config=config)
        one("up")
        yield one


@dataclass
class Visits:
    """What came of the requests of a while; times are monotonic seconds."""

    answers: list[tuple[float, str]] = field(default_factory=list)
    losses: list[tuple[float, float, str]] = field(default_factory=list)
    kills: list[tuple[float, float]] = field(default_factory=list)
    longest: float = 0.0  # seconds that an answer took

    @contextlib.contextmanager
    def killing(self) -> Iterator[None]:
        """What an instance that is killed inside had in its hands may be lost."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.kills.append((began, time.monotonic()))

    @property
    def lost(self) -> list[tuple[float, float, str]]:
        """The losses that no kill excuses: they began after it, or ended before."""
        return [
            loss for loss in self.losses if not any(loss[0] <= done and began <= loss[1] for began, done in self.kills)
        ]

    @property
    def releases(self) -> list[str]:
        """That answered, each once, in the order of their first answers."""
        return list(dict.fromkeys(text.split()[0] for _at, text in self.answers))


@contextlib.contextmanager
def again_and_again(host: Host, call: Callable[[], None], *, threads: int, pause: float) -> Iterator[None]:
    """Have so many threads inside the host `call`, each with a `pause` (seconds) after it, while the block runs."""
    over = threading.Event()

    def go_on() -> None:
        while not over.is_set():
            call()
            over.wait(pause)

    running = [threading.Thread(target=host.inside, args=(go_on,)) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in running:
            thread.join()


@contextlib.contextmanager
def visits(shop: Shop) -> Iterator[Visits]:
    """Four visitors inside the host: each makes one request after the other, on a new connection each."""
    seen = Visits()

    def visit() -> None:
        began = time.monotonic()
        try:
            connection = http.client.HTTPConnection(Host.address, shop.port, timeout=30)
            connection.request("GET", "/", headers={"Connection": "close"})
            response = connection.getresponse()
            text = response.read().decode()
            assert response.status == 200, text
            seen.answers.append((began, text))
            seen.longest = max(seen.longest, time.monotonic() - began)
        except (OSError, http.client.HTTPException, AssertionError) as error:
            seen.losses.append((began, time.monotonic(), repr(error)))
        finally:
            connection.close()

    with again_and_again(shop.host, visit, threads=4, pause=0.01):
        yield seen
