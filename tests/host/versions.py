"""Several versions of gapless on one host, installed as docs/upgrade.md has it."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from gapless.version import VERSION
from tests import older
from tests.host import debs, packages
from tests.host.host import PROJECT, Host
from tests.host.life import Shop
from tests.host.registry import Registry

[BLOCK] = re.findall(r"^```console\n(.*?)^```", (PROJECT / "docs" / "upgrade.md").read_text(), re.MULTILINE | re.DOTALL)
INSTALL, RENEW = (BLOCK.splitlines()[:3], BLOCK.splitlines()[4:])  # in between is the way into the project
LINK = "/usr/local/bin/gapless"
# Debian's Python, in the place of the one that this project has.
PATH = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


class Versions:
    """What a host can install."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def use(self, version: str) -> None:
        """Install a version, where it is not, and link it: every line of the page."""
        there = self.host.run("test", "-e", f"/opt/gapless/{version}", check=False).returncode == 0
        for line in INSTALL[2 if there else 0 :]:
            self.host.run("sh", "-ec", line.replace("0.2.0", version), timeout=120, env=PATH)
        assert self.host.run(LINK, "--version").stdout == f"gapless {version}\n"


@contextlib.contextmanager
def versions(host: Host, folder: Path) -> Iterator[Versions]:
    """Offer this version and `older.VERSION` to pip on `host`; `folder` is for their files."""
    if host.run("/usr/bin/python3", "-c", "import ensurepip", check=False).returncode:
        debs.download()
        debs.offer(host)
        host.run("sh", "-ec", "apt-get update -qq && apt-get install -qq python3-venv", timeout=120, env=PATH)
    wheels = packages.FOLDER / "upgrade" / packages.version()
    packages.wheels(wheels, *older.NEEDS)
    for one in (older.WHEEL, *wheels.glob("*.whl")):
        shutil.copy(one, folder)
    assert {one.name.split("-")[1] for one in folder.glob("gapless-*")} == {VERSION, older.VERSION}
    with Registry(folder, host) as index:
        host.write("/etc/pip.conf", f"[global]\nindex-url = {index.url}/simple\ntrusted-host = {host.address}\n")
        yield Versions(host)


class Linked(Shop):
    """The app of an operator who calls what LINK leads to."""

    def __call__(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.host.run(LINK, *argv, check=check, cwd=self.project, env=PATH)
