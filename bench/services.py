"""The example wppackages as a service on a host, in different ways, and as gapless has it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections import Counter
from pathlib import Path

from tests.host.ansible import Playbooks
from tests.host.host import Host
from tests.host.lan import Lan

from bench.clients import DOMAIN, EXAMPLE
from gapless.errors import GaplessError

HOST = "web1"
DESTINATION = "lab"
# What lies over the example's own gapless.toml.
LAB = """\
name = "wppackages-lab"
listen = "unix:/run/wppackages-lab.sock"

[env]
WPPACKAGES_UPSTREAM = "{upstream}"
WPPACKAGES_MIRROR = "*"

[proxy]
domains = ["{domain}"]
tls = "internal"

[timers]
discover.calendar = "*:*:0/5"
update.calendar = "*:*:1/5"
build.calendar = "*:*:2/5"
"""
BUILT = "/opt/wppackages-built"  # what the build of a release made, for the other way
# By package, what was counted.
COUNTED = """
import json, sqlite3, sys
database = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True, timeout=20)
query = '''SELECT 'wp-' || type || '/' || slug, sum(count) FROM installed
    JOIN package ON package.id = installed.package GROUP BY 1'''
print(json.dumps(dict(database.execute(query))))
"""
BUILD_SECONDS = 240.0  # at most, on a busy machine


class Project:
    """The example in a git checkout on the controller; each commit is a version that visitors can tell from others."""

    def __init__(self, folder: Path, upstream: str) -> None:
        self.folder, self.upstream, self.number = folder, upstream, 0
        shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        (folder / f"gapless.{DESTINATION}.toml").write_text(LAB.format(upstream=upstream, domain=DOMAIN))
        self._git("init", "--quiet")
        self.commit()

    def commit(self) -> None:
        """Commit the next version: its pages say its number, its style sheet has another name."""
        self.number += 1
        self._change("pyproject.toml", r'(?m)^version = ".*"$', f'version = "{self.number}"')
        self._change("wppackages/templates/base.html", r"<footer>(Version \d+\. )?", f"<footer>Version {self.number}. ")
        with (self.folder / "wppackages/static/style.css").open("a") as file:
            file.write(f"/* {self.number} */\n")
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message", f"Version {self.number}")

    def _change(self, path: str, pattern: str, text: str) -> None:
        changed, times = re.subn(pattern, text, (self.folder / path).read_text())
        if times != 1:
            raise GaplessError("change", path, f"{pattern} is there {times} times")
        (self.folder / path).write_text(changed)

    def pack(self, revision: str = "HEAD") -> Path:
        """An archive of a revision."""
        packed = self.folder.with_suffix(".tar")
        self._git("archive", f"--output={packed}", revision)
        return packed

    def _git(self, *argv: str) -> None:
        git = ("git", "-c", "user.name=a", "-c", "user.email=a@example.com", "-C", str(self.folder))
        subprocess.run([*git, *argv], check=True, timeout=60)


class Service(ABC):
    """The service on `host` of `lan`, in one of the ways to have it."""

    name: str  # in tables
    log: str  # the name of Caddy's log
    database: str  # on the host
    by_playbook = 0  # how many of the deploys

    def __init__(self, lan: Lan, host: Host, project: Project) -> None:
        self.lan, self.host, self.project = lan, host, project

    @abstractmethod
    def start(self) -> None:
        """Have it serve, with packages in it after a while."""

    @abstractmethod
    def deploy(self, number: int) -> None:
        """Have the next version serve: the deploy of a number, from 1 on."""

    @abstractmethod
    def roll_back(self) -> None:
        """Have the version before serve again."""

    @abstractmethod
    def stop(self) -> None:
        """Remove it from the host."""

    def counted(self) -> Counter[str]:
        """The installs that were counted, by package."""
        said = self.host.run("/usr/bin/python3", "-c", COUNTED, self.database).stdout
        return Counter(json.loads(said))

    def _send(self, revision: str = "HEAD") -> str:
        """Copy a revision's archive to the host, over SSH; where it is there."""
        there = f"/root/{self.log}.tar"
        self.lan.send(HOST, self.project.pack(revision), there)
        return there


class ByGapless(Service):
    """A host by the playbook, `gapless deploy` and `gapless rollback`."""

    name, log, database = "gapless deploy", "wppackages-lab", "/srv/wppackages-lab/shared/wppackages.db"

    def __init__(self, lan: Lan, host: Host, project: Project, play: Playbooks) -> None:
        super().__init__(lan, host, project)
        self.play = play

    def start(self) -> None:
        self.play("provision")

    def deploy(self, number: int) -> None:
        self.project.commit()
        if number % 10 == 0:
            _, changed = self.play("deploy")
            if changed != {HOST: 1}:
                raise GaplessError("deploy", "by the playbook", f"it changed {changed}")
            self.by_playbook += 1
        else:
            self._gapless("deploy", self._send())

    def roll_back(self) -> None:
        self._gapless("rollback", "--yes")

    def stop(self) -> None:
        self.host.run("cp", "-a", "/srv/wppackages-lab/current/.venv", BUILT)
        self._gapless("down", "--data", "--yes")

    def _gapless(self, verb: str, *argv: str) -> None:
        where = ("-C", f"/etc/gapless/wppackages-{DESTINATION}", "-d", DESTINATION)
        self.lan.ssh(HOST, "/usr/local/bin/gapless", verb, *where, *argv, timeout=BUILD_SECONDS)
