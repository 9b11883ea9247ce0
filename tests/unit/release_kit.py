"""What the tests of the release package share: a real git project; the manager is the one thing faked there.

Run as a program this is a deployer that is killed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from gapless.home import Home
from gapless.release import copying
from gapless.release.attempt import Target
from gapless.release.deploy import deploy
from gapless.release.ledger import Outcome
from tests.scripted import ScriptedManager

CONFIG = 'name = "shop"\ncommand = "serve"\n'


@dataclass
class Recorder:
    """An observer that remembers."""

    phases: list[tuple[str, Outcome]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def phase_started(self, name: str) -> None:
        pass

    def said(self, line: str) -> None:
        self.lines.append(line)

    def phase_ended(self, name: str, seconds: float, outcome: Outcome) -> None:
        assert seconds >= 0
        self.phases.append((name, outcome))

    def warning(self, text: str) -> None:
        self.warnings.append(text)


def git(directory: Path, *argv: str) -> str:
    """Run git there as somebody, with nobody's own settings."""
    who = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    for role in ("AUTHOR", "COMMITTER"):
        who |= {f"GIT_{role}_NAME": "Test", f"GIT_{role}_EMAIL": "test@example.org"}
    command = ["git", "-C", str(directory), *argv]
    done = subprocess.run(command, env=os.environ | who, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def make_project(directory: Path, config: str = CONFIG) -> Path:
    """A git project with one commit on `main`."""
    directory.mkdir()
    git(directory, "init", "-q", "-b", "main")
    (directory / "gapless.toml").write_text(config)
    (directory / "app.py").write_text("print('hello')\n")
    (directory / ".gitignore").write_text(".gapless/\n*.secret\n")
    commit(directory)
    return directory


def commit(project: Path) -> str:
    """Commit everything; returns the commit's hash."""
    git(project, "add", "--all")
    git(project, "commit", "-q", "--allow-empty", "-m", "change")
    return git(project, "rev-parse", "HEAD")


def configure(project: Path, text: str) -> None:
    """Set what gapless.toml says beyond name and command, and commit it."""
    (project / "gapless.toml").write_text(CONFIG + text)
    commit(project)


def deploy_killed(project: Path, source: str = "HEAD", at: str = "") -> None:
    """A deploy in a process of its own, ended by SIGKILL: `at` its install, a hook of the manager, or by its build.

    Commands of the release find the deployer's process id in $DEPLOYER.
    """
    argv = [sys.executable, "-m", "tests.unit.release_kit", str(project), source, at]
    done = subprocess.run(argv, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(argv: Iterable[str]) -> None:
    project, source, at = argv
    os.environ["DEPLOYER"] = str(os.getpid())
    home = Path(project) / ".gapless"
    manager = ScriptedManager(home, {at: _kill})
    if at == "install":
        copying.mode = lambda _found: _kill()  # type: ignore[assignment, return-value]
    if at == "prune":
        shutil.rmtree = lambda _path: _kill()  # type: ignore[assignment]
    deploy(Target(Home(home), manager), Path(project), source)


if __name__ == "__main__":
    main(sys.argv[1:])
