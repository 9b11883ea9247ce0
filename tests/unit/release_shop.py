"""A project, its target and a clock that a test turns."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gapless.errors import GaplessError
from gapless.home import Home
from gapless.release.attempt import Target
from gapless.release.clock import Clock
from gapless.release.deploy import deploy
from gapless.release.ledger import Outcome
from tests.scripted import ScriptedManager
from tests.unit.release_kit import Recorder


@dataclass
class Shop:
    """A project with its target."""

    project: Path
    manager: ScriptedManager
    observer: Recorder = field(default_factory=Recorder)
    time: float = 1795435805.0

    @property
    def target(self) -> Target:
        return Target(Home(self.project / ".gapless"), self.manager, self.observer, clock=Clock(now=lambda: self.time))

    def deploy(self, drained: bool = True, source: str | None = None) -> str:
        self.time += 60
        release = deploy(self.target, self.project, source).release
        if drained:
            self.manager.end_retired()
        return release

    def fail(self, error: str) -> GaplessError:
        self.time += 60
        with pytest.raises(GaplessError, match=error) as failed:
            deploy(self.target, self.project)
        return failed.value

    def outcomes(self) -> list[Outcome]:
        return [entry.outcome for entry in self.target.ledger.entries()]

    def files(self) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in self.project.parent.rglob("*") if path.is_file()}
