"""A laptop: a checkout of a project, and a shell in it that reaches hosts by their names over SSH."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.host.host import REQUIREMENTS, SEARCHED, Host
from tests.host.lan import Lan
from tests.host.life import APP, Shop

CALLED = """
Host {name}
    HostName {address}
    User root
    IdentityFile {lan.key}
    UserKnownHostsFile {lan.known_hosts}
    BatchMode yes
"""
# Each run of ssh is a line in the file that is beside its program.
PROGRAM = """#!/bin/sh
echo "$*" >> {folder}/{name}.log
exec {lan.programs}/{name} -F {folder}/config "$@"
"""


@dataclass
class OnHost(Shop):
    """An app whose directory on the host has its settings and variables alone."""

    directory: str = "/etc/gapless/shop"

    @property
    def project(self) -> str:
        return self.directory


@dataclass
class Laptop:
    """A checkout in the network `lan`, whose hosts `ssh` knows by name."""

    lan: Lan
    checkout: Path

    @classmethod
    def of(cls, lan: Lan, folder: Path, hosts: Mapping[str, Host]) -> Self:
        """Make the laptop in `folder`, and have it know the hosts. Raises CalledProcessError."""
        subprocess.run([REQUIREMENTS, "fleet"], check=True, timeout=300)
        (folder / "bin").mkdir()
        for name, host in hosts.items():
            host.write("/etc/ssh/sshd_config.d/gapless.conf", f"SetEnv PATH={SEARCHED}\n")
            address = lan.join(host, name)
            with (folder / "config").open("a") as file:
                file.write(CALLED.format(name=name, address=address, lan=lan))
        for name in ("ssh", "scp"):
            program = folder / "bin" / name
            program.write_text(PROGRAM.format(name=name, folder=folder, lan=lan))
            program.chmod(0o755)
        one = cls(lan, folder / "shop")
        one.checkout.mkdir()
        return one

    @property
    def env(self) -> dict[str, str]:
        """The variables with which programs find the hosts."""
        return {"PATH": f"{self.checkout.parent}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def __call__(self, line: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a line as somebody types it."""
        argv = ("bash", "-o", "pipefail", "-c", line)
        return self.lan.run(*argv, check=check, cwd=self.checkout, env=self.env, timeout=300)

    def popen(self, line: str) -> subprocess.Popen[str]:
        """Start a line as somebody types it; standard output and error come as one."""
        return subprocess.Popen(
            ["bash", "-c", f"exec {line}"],
            cwd=self.checkout,
            env={**os.environ, **self.env, "PATH": self.env["PATH"]},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def json(self, line: str, check: bool = True) -> dict[str, Any]:
        """The document that a line answers."""
        document: dict[str, Any] = json.loads(self(line, check).stdout)
        return document

    def connections(self) -> int:
        """How often ssh was run; counted from the last time that this was asked."""
        log = self.checkout.parent / "ssh.log"
        count = len(log.read_text().splitlines()) if log.exists() else 0
        log.write_text("")
        return count

    def commit(self, text: str, boot: float = 0.0, more: str = "") -> None:
        """The next release: it takes `boot` seconds to load, runs `more` then, and ends its answers with `text`."""
        (self.checkout / "app.py").write_text(APP.format(boot=boot, more=more, text=text))
        git = f"git -c user.name=a -c user.email=a@example.com commit --allow-empty -qm {shlex.quote(text)}"
        self(f"git init -q; git add --all; {git}")

    def id(self) -> str:
        """What `gapless pack` calls what it would write."""
        return str(self.json("gapless pack -n --json")["id"])
