"""The collection, installed as its users install it, and its playbooks run on hosts of a network."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.host import debs, packages
from tests.host.host import PROJECT, REQUIREMENTS, Host
from tests.host.lan import Lan

COLLECTION = PROJECT / "ansible"
BARE = """
rm -rf /opt/gapless /usr/local/bin/gapless /etc/caddy /var/log/caddy /var/lib/caddy /etc/timezone
userdel caddy 2> /dev/null || :
"""
RECAP = re.compile(r"^(\S+) +: ok=\d+ +changed=(\d+) +unreachable=(\d+) +failed=(\d+)", re.MULTILINE)


def program(name: str) -> str:
    """The path of one of Ansible's commands."""
    return str(Path(sys.executable).with_name(name))


def install_collection(folder: Path) -> Path:
    """Build the collection and install it below `folder`; returns where it is then. Raises CalledProcessError."""
    galaxy, built, collections = program("ansible-galaxy"), folder / "built", folder / "collections"
    _run(galaxy, "collection", "build", str(COLLECTION), "--output-path", str(built))
    [archive] = built.glob("*.tar.gz")
    _run(galaxy, "collection", "install", str(archive), "--offline", "--collections-path", str(collections))
    return collections


def make_bare(host: Host) -> None:
    """Take from `host` what a fresh Debian lacks, and offer its apt what is installed on one.

    Raises CalledProcessError.
    """
    subprocess.run([REQUIREMENTS, "fleet"], check=True, timeout=300)
    debs.download()
    debs.offer(host)
    host.run("sh", "-c", BARE)


def installing(folder: Path) -> dict[str, str]:
    """The variables that have playbooks install this gapless, with versions as in tests; `folder` is theirs."""
    lines = (PROJECT / "requirements-dev.txt").read_text().splitlines()
    versions = folder / "versions.txt"
    versions.write_text("".join(f"{line.rstrip(chr(92)).strip()}\n" for line in lines if line[:1].isalnum()))
    return {
        "host_gapless": f"{packages.build(packages.FOLDER / 'wheel')}[serve,cli]",
        "host_constraints": str(versions),
        "host_wheels_cache": str(packages.FOLDER / "fleet"),
    }


def _run(*argv: str) -> None:
    subprocess.run(argv, cwd=PROJECT, check=True, timeout=120, capture_output=True)


class Playbooks:
    """Runs the collection's playbooks from the controller of `lan`, with `variables` of its own."""

    def __init__(self, lan: Lan, collections: Path, variables: Mapping[str, object]) -> None:
        self.lan = lan
        self.variables = lan.home / "variables.json"
        self.variables.write_text(json.dumps(dict(variables)))
        self._masters = lan.home / "masters"
        self._env = {
            "ANSIBLE_COLLECTIONS_PATH": str(collections),
            "ANSIBLE_HOME": str(lan.home / "ansible"),
            "ANSIBLE_LOCAL_TEMP": str(lan.home / "ansible" / "tmp"),
            "ANSIBLE_INVENTORY": str(lan.inventory),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self._masters),
        }

    def __call__(self, playbook: str, *argv: str, ok: bool = True) -> tuple[str, dict[str, int]]:
        """What ansible-playbook prints, and how many changes it made on each host; it succeeds, if `ok`, or fails.

        The playbook is one of the collection, or a file of another.
        """
        named = playbook if playbook.endswith(".yml") else f"gapless.deploy.{playbook}"
        words = [program("ansible-playbook"), named, "-e", f"@{self.variables}", *argv]
        done = self.lan.run(*words, env=self._env, check=False, timeout=300)
        assert (done.returncode == 0) == ok, done.stdout + done.stderr
        return done.stdout, {host: int(changed) for host, changed, _, _ in RECAP.findall(done.stdout)}

    def close(self) -> None:
        """End the SSH connections that Ansible keeps for its next run."""
        for master in self._masters.glob("*"):
            self.lan.run("ssh", "-o", f"ControlPath={master}", "-O", "exit", "any", check=False)
