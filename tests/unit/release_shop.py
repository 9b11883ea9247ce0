"""A project, its site and a clock that a test turns."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gapless.errors import GaplessError
from gapless.release.attempt import Site
from gapless.release.clock import Clock
from gapless.release.ledger import Outcome
from gapless.release.steps import deploy
from tests.unit.release_kit import Recorder, ScriptedManager


@dataclass
class Shop:
    """A project with its site."""

    project: Path
    manager: ScriptedManager
    observer: Recorder = field(default_factory=Recorder)
    time: float = 1795435805.0

    @property
    def site(self) -> Site:
        return Site(self.project / ".gapless", self.manager, self.observer, clock=Clock(now=lambda: self.time))

    def deploy(self, drained: bool = True) -> str:
        self.time += 60
        release = deploy(self.site, self.project).release
        if drained:
            self.manager.end_retired()
        return release

    def fail(self, error: str) -> GaplessError:
        self.time += 60
        with pytest.raises(GaplessError, match=error) as failed:
            deploy(self.site, self.project)
        return failed.value

    def outcomes(self) -> list[Outcome]:
        return [entry.outcome for entry in self.site.ledger.entries()]

    def files(self) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in self.project.parent.rglob("*") if path.is_file()}
