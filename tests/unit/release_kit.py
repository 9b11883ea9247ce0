"""What the tests of the release package share: a real git project, and a scripted manager.

The manager is the one thing faked here (the real ones have their own contract suite). Its state is a file,
as the real ones' is, so that it outlives a deployer that is killed. Run as a program this is that deployer.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gapless.home import Home
from gapless.release.attempt import Target
from gapless.release.deploy import deploy
from gapless.release.ledger import Outcome
from gapless.switch.manager import Instance, Readiness, Role, Started

CONFIG = 'name = "shop"\ncommand = "serve"\n'


class ScriptedManager:
    """Starts nothing: it notes instances in a file. `hooks` run inside the calls that they name."""

    def __init__(self, home: Path, hooks: dict[str, Callable[[], None]] | None = None) -> None:
        self.path = home.parent.with_suffix(".manager")
        self.hooks = hooks or {}
        self.readiness = Readiness.READY
        self.timeouts: list[float] = []

    def _state(self) -> dict[str, Any]:
        if not self.path.exists():
            return {"current": None, "instances": []}
        state: dict[str, Any] = json.loads(self.path.read_text())
        return state

    def _save(self, **changes: object) -> None:
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self._state() | changes))
        new.rename(self.path)

    def _call(self, name: str) -> None:
        self.hooks.get(name, lambda: None)()

    @property
    def commit(self) -> Path:
        return self.path

    def start(self, release: str, timeout: float) -> Started:
        self.timeouts.append(timeout)
        instances = self._state()["instances"]
        self._save(instances=[*instances, {"release": release, "retiring": False}])
        self._call("start")
        cause = "" if self.readiness is Readiness.READY else "it said no"
        return Started(self.instances()[-1], self.readiness, cause)

    def retire(self, instance: Instance) -> None:
        instances = self._state()["instances"]
        for one in instances:
            one["retiring"] |= one["release"] == instance.release
        self._save(instances=instances)
        self._call("retire")

    def stand_by(self, instance: Instance) -> bool:
        return bool(instance.private)  # nothing of it runs, so there is none

    def resume(self, instance: Instance) -> bool:
        return bool(instance.private)

    def stop(self, instance: Instance) -> None:
        self.end(instance.release)

    def end(self, *releases: str) -> None:
        """The instances of these releases are gone."""
        self._save(instances=[one for one in self._state()["instances"] if one["release"] not in releases])

    def instances(self) -> Sequence[Instance]:
        self._call("instances")
        current = self.current()
        return [
            Instance(one["release"], one["release"], self._role(one, current), 1, 0.0, True)
            for one in self._state()["instances"]
        ]

    def in_use(self) -> Collection[str]:
        return {one.release for one in self.instances()}

    def tidy(self) -> None:
        self._call("tidy")

    def _role(self, one: dict[str, Any], current: str | None) -> Role:
        if one["retiring"]:
            return Role.RETIRING
        return Role.LIVE if one["release"] == current else Role.CANDIDATE

    def point(self, release: str) -> None:
        self._call("before point")
        self._save(current=release)
        self._call("after point")

    def current(self) -> str | None:
        current: str | None = self._state()["current"]
        return current

    def end_retired(self) -> None:
        """Every drain ended."""
        self.end(*(instance.release for instance in self.instances() if instance.role is Role.RETIRING))


@dataclass
class Recorder:
    """An observer that remembers."""

    phases: list[tuple[str, Outcome]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def phase_started(self, name: str) -> None:
        pass

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
    """A deploy in a process of its own that is killed by SIGKILL: `at` a point of the manager, or by its own build.

    Commands of the release and git's filters find the deployer's process id in $DEPLOYER.
    """
    argv = [sys.executable, __file__, str(project), source, at]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(argv: Iterable[str]) -> None:
    project, source, at = argv
    os.environ["DEPLOYER"] = str(os.getpid())
    home = Path(project) / ".gapless"
    manager = ScriptedManager(home, {at: _kill})
    if at == "prune":
        shutil.rmtree = lambda _path: _kill()  # type: ignore[assignment]
    deploy(Target(Home(home), manager), Path(project), source)


if __name__ == "__main__":
    main(sys.argv[1:])
