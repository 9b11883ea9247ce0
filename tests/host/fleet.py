"""A fleet for tests: hosts with sshd and gapless as its users install it, and a project on the laptop they all know."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from gapless.version import VERSION
from tests.host import packages
from tests.host.host import REQUIREMENTS, Host
from tests.host.lan import Lan
from tests.support import wait_until

HOSTS = 6
PORT = 8000
DIRECTORY = "/etc/gapless/shop"  # on each host
WHEELS = packages.FOLDER / "lab"
LINK = "/usr/local/bin/gapless"
# As docs/upgrade.md says; a release of a fleet needs nothing that its own build would have to bring.
INSTALL = f"""
rm -rf /opt/gapless && /usr/bin/python3 -m venv /opt/gapless/{VERSION}
/opt/gapless/{VERSION}/bin/pip install -q --no-index --find-links {WHEELS} "gapless[serve,cli]=={VERSION}"
ln -sf /opt/gapless/{VERSION}/bin/gapless {LINK}
"""
PROGRAM = ("opt/gapless", LINK[1:])
# The journal says of each connection "Accepted …", and so of each command that one runs.
TELLING = "LogLevel VERBOSE\nMaxStartups 100\n"
CONFIG = """
name = "shop"
command = "gapless serve app:app"
listen = "0.0.0.0:{port}"
check = {{ path = "/health", timeout = "60s" }}
drain = {{ linger = "2s", requests = "5s", streams = "5s" }}
env = {{ DEMO_BOOT = "0.1" }}
{more}
"""
APP = files("gapless").joinpath("demo/app.py").read_text()
ACCEPTED, SESSION = "Accepted publickey for root", "Starting session: command"

T = TypeVar("T")


class Fleet:
    """The hosts by their names, on a network with the laptop, which has the project `shop` in `checkout`."""

    def __init__(self, lan: Lan, hosts: Mapping[str, Host]) -> None:
        self.lan, self.hosts = lan, dict(hosts)
        self.checkout = lan.home / "shop"
        self.checkout.mkdir()
        self.commits = 0
        self._git("init", "--quiet")

    def commit(self, more: str = "", settings: str = "") -> None:
        """Commit the next release; it runs `more` when it is loaded, and `settings` are among its own."""
        self.commits += 1
        (self.checkout / "app.py").write_text(f"{APP}\n{more}\n# {self.commits}\n")
        (self.checkout / "gapless.toml").write_text(CONFIG.format(port=PORT, more=settings))
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message", f"Release {self.commits}")

    def _git(self, *argv: str) -> None:
        git = ("git", "-c", "user.name=a", "-c", "user.email=a@example.com", "-C", str(self.checkout))
        subprocess.run([*git, *argv], check=True, timeout=60)

    def run(self, *argv: str, check: bool = True, timeout: float = 300.0) -> subprocess.CompletedProcess[str]:
        """Run a command on the laptop, in the project."""
        return self.lan.run(*argv, check=check, timeout=timeout, cwd=self.checkout, env=self._env)

    def gapless(self, *argv: str, check: bool = True, timeout: float = 300.0) -> subprocess.CompletedProcess[str]:
        """Run gapless on the laptop, in the project."""
        return self.run(sys.executable, "-m", "gapless", *argv, check=check, timeout=timeout)

    def popen(self, *argv: str) -> subprocess.Popen[str]:
        """Start gapless on the laptop, in the project, with a session of its own; all that it says comes as one."""
        return subprocess.Popen(
            [sys.executable, "-m", "gapless", *argv],
            cwd=self.checkout,
            env={**os.environ, **self._env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    @property
    def _env(self) -> dict[str, str]:
        path = f"{self.lan.programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {"PATH": path, "HOME": str(self.lan.home), "ANSIBLE_HOME": str(self.lan.home / "ansible")}

    def close(self) -> None:
        """End the SSH connections that Ansible keeps for its next run."""
        for master in (self.lan.home / "ansible" / "cp").glob("*"):
            self.run("ssh", "-o", f"ControlPath={master}", "-O", "exit", "any", check=False)

    def pack(self) -> Path:
        """The project as an artifact."""
        packed = self.lan.home / "shop.artifact"
        with packed.open("wb") as file:
            argv = [sys.executable, "-m", "gapless", "pack"]
            subprocess.run(argv, cwd=self.checkout, check=True, timeout=60, stdout=file)
        return packed

    def on(self, name: str, *argv: str) -> Any:
        """What gapless on a host answers about the app, asked there."""
        return json.loads(self.hosts[name].run(LINK, *argv, "--json", "-C", DIRECTORY, check=False).stdout)

    def each(self, call: Callable[[str], T]) -> dict[str, T]:
        """The result of `call` for each host's name, side by side."""
        return each(self.hosts, call)

    def up(self, settings: str = "") -> None:
        """Have the project's next release, with `settings`, serve on every host, without the laptop's own commands."""
        self.commit(settings=settings)
        packed = self.pack().read_bytes()
        toml = (self.checkout / "gapless.toml").read_text()

        def on(name: str) -> None:
            self.hosts[name].write(f"{DIRECTORY}/gapless.toml", toml)
            self.feed(name, packed, LINK, "up", "-", "-q", "-C", DIRECTORY)

        self.each(on)

    def feed(self, name: str, data: bytes, *argv: str) -> None:
        """Run `argv` on a host with `data` on its standard input. Raises CalledProcessError."""
        subprocess.run(self.hosts[name].argv(*argv), input=data, check=True, timeout=120, stdout=subprocess.DEVNULL)

    def boot(self, name: str) -> None:
        """Have a host boot that had no power, at its former address; returns when ssh reaches it."""
        host = self.hosts[name]
        host.boot()
        self.lan.plug(host.pid, self.lan.addresses[name])
        wait_until(lambda: self.lan.run("ssh", name, "true", check=False).returncode == 0, 60, f"{name} is reached")

    def revisions(self) -> dict[str, str]:
        """The id of the artifact whose release is the current one, by host."""
        return self.each(self._revision)

    def _revision(self, name: str) -> str:
        found = self.on(name, "releases")
        return next(str(one["id"]) for one in found["releases"] if one["release"] == found["current"])

    def ssh(self) -> dict[str, tuple[int, int]]:
        """How many connections each sshd has accepted, and how many commands it has started."""

        def counted(name: str) -> tuple[int, int]:
            host = self.hosts[name]
            host.run("journalctl", "--sync")  # not of ssh.service alone: a session is in a scope of its own
            said = host.run("journalctl", "--output=cat", "--identifier=sshd", "--identifier=sshd-session").stdout
            return said.count(ACCEPTED), said.count(SESSION)

        return self.each(counted)


@contextlib.contextmanager
def booted(count: int = HOSTS) -> Iterator[Fleet]:
    """So many hosts web1, web2, … on one network, with gapless and no app."""
    subprocess.run([REQUIREMENTS, "fleet"], check=True, timeout=300)
    with contextlib.ExitStack() as stack:
        lan = stack.enter_context(Lan())
        names = [f"web{number}" for number in range(1, count + 1)]
        hosts = each(names, lambda _: Host())
        for host in hosts.values():
            stack.enter_context(host)
        with _program(hosts["web1"]).open("rb") as program:
            tree = program.read()

        def prepare(name: str) -> None:
            hosts[name].write("/etc/ssh/sshd_config.d/gapless.conf", TELLING)
            subprocess.run(hosts[name].argv("tar", "-xf", "-", "-C", "/"), input=tree, check=True, timeout=120)

        each(names, prepare)
        for name in names:
            lan.join(hosts[name], name)
        yield Fleet(lan, hosts)


def each(names: Mapping[str, Any] | list[str], call: Callable[[str], T]) -> dict[str, T]:
    """The result of `call` for each name, side by side."""
    with ThreadPoolExecutor(max_workers=len(names)) as threads:
        return dict(zip(names, threads.map(call, names), strict=True))


def _program(host: Host) -> Path:
    """An archive of this gapless, installed; the first who needs it installs it on `host`, and others wait for that."""
    packages.FOLDER.mkdir(exist_ok=True)
    with (packages.FOLDER / "lab.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        WHEELS.mkdir(exist_ok=True)
        ours = packages.build(WHEELS)
        about = f"{packages.version()}-{hashlib.sha256(ours.read_bytes()).hexdigest()[:16]}"
        there = packages.FOLDER / f"lab-{about}.tar"
        if not there.exists():
            packages.wheels(WHEELS)
            host.run("sh", "-e", "-c", INSTALL, timeout=300)
            for old in packages.FOLDER.glob("lab-*.tar"):
                old.unlink()
            with there.with_suffix(".new").open("wb") as new:
                subprocess.run(host.argv("tar", "-cf", "-", "-C", "/", *PROGRAM), check=True, timeout=120, stdout=new)
            shutil.move(there.with_suffix(".new"), there)
        return there
