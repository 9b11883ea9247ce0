"""Write into docs/security.md how exposed systemd finds each kind of unit (`systemd-analyze security`)."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from gapless import config as configuration
from gapless.switch.job import Kind
from gapless.switch.systemd import units
from gapless.switch.systemd.home import SystemdHome

PAGE = Path(__file__).with_name("security.md")
BEGIN, END = "<!-- exposure: begin -->\n", "<!-- exposure: end -->\n"
RELEASE = "20261122T221041Z-5f0c1d2"
SETTINGS = """
name = "shop"
command = "/bin/true"
processes.worker = { command = "/bin/true" }
timers.tidy = { command = "/bin/true", calendar = "daily" }
database = { path = "shop.db", replica = "s3://bucket/shop" }
"""


def texts(more: str = "") -> Mapping[str, str]:
    """Render a unit of each kind, as a deploy does with the defaults of [sandbox], or with `more` settings."""
    config, home = configuration.parse(SETTINGS + more, Path("gapless.toml")), SystemdHome("shop")
    of_release = units.of_release(config, home, RELEASE)
    run = ["/bin/true"]
    return {
        "server": of_release[home.unit(RELEASE)],
        "process": of_release[home.other("worker", RELEASE)],
        "timer": of_release[home.other("tidy", RELEASE)],
        "migration": units.job(config, home, RELEASE, Kind.MIGRATION, run, 300),
        "build": units.job(config, home, RELEASE, Kind.BUILD, run, 900),
        "exec": units.execution(config, home, RELEASE, run, ["tty"] * 3, "/dev/pts/0"),
        "rehearsal": units.service(config, home, RELEASE, "shop.rehearsal.socket"),
        "Litestream": units.render("litestream", config=config, home=home, program="/usr/bin/litestream"),
    }


def levels(more: str = "") -> dict[str, float]:
    """Ask systemd how exposed each kind is with `more` settings, from 0 (not at all) to 10."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind, text in texts(more).items():
            path = Path(folder, f"{kind}.service")
            path.write_text(text)
            argv = ["systemd-analyze", "security", "--no-pager", "--offline=yes", str(path)]
            said = subprocess.run(argv, capture_output=True, text=True, check=False)
            level = re.search(r"exposure level for \S+: ([\d.]+)", said.stdout)
            if level is None:
                raise RuntimeError(said.stdout + said.stderr)
            found[kind] = float(level[1])
    return found


def version() -> str:
    """Name the systemd that is here, if any is."""
    if not shutil.which("systemd-analyze"):
        return "no systemd"
    said = subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True, check=True).stdout
    return " ".join(said.split()[:2])


def table() -> str:
    rows = "".join(f"| {kind} | {level} |\n" for kind, level in levels().items())
    return f"| unit | exposure, as {version()} says |\n| --- | --- |\n{rows}"


if __name__ == "__main__":
    before, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(before + BEGIN + table() + END + rest.split(END)[1])
