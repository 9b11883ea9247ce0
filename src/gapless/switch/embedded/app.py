"""An app under the embedded supervisor, as commands ask about it."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import msgspec

from gapless.address import Address
from gapless.config.settings import Config
from gapless.environment import Inherited
from gapless.errors import GaplessError
from gapless.home import EMBEDDED
from gapless.switch.app import Lines, Look, Unneeded
from gapless.switch.embedded import records
from gapless.switch.embedded.control import UnreachableError
from gapless.switch.embedded.home import EmbeddedHome
from gapless.switch.embedded.logs import Follower
from gapless.switch.embedded.manager import EmbeddedManager
from gapless.switch.embedded.records import Record
from gapless.switch.manager import Instance, Role

LOOK_EVERY = 0.2  # seconds
TIMELESS = "`gapless logs --lines 200` shows more of its end, `--grep` what is looked for"


class EmbeddedApp:
    """Implements App for the app in the directory `project`."""

    kind: Literal["embedded"] = "embedded"
    readdress = "restarting `gapless run`"

    def __init__(self, project: Path) -> None:
        self.home = EmbeddedHome(project / EMBEDDED)

    @cached_property
    def manager(self) -> EmbeddedManager:
        return EmbeddedManager(self.home.root)

    @property
    def jobs(self) -> None:
        """Nobody: commands are processes of the deployer."""
        return None

    @property
    def guard(self) -> None:
        """Nobody: who is killed with the supervisor, or by the power, would turn back from nothing."""
        return None

    def inherited(self) -> Inherited:
        """What the supervisor was started with; ours where none runs."""
        with contextlib.suppress(UnreachableError, OSError):
            return Inherited.of(self.manager.about().pid)
        return Inherited.ours()

    def backup(self, config: Config) -> str:  # noqa: ARG002 -- it has none
        """Nothing: local work has no replica."""
        return ""

    def prepare(self) -> None:
        """Make `.gapless`, invisible to git without a line in the project's own .gitignore."""
        self.home.root.mkdir(exist_ok=True)
        (self.home.root / ".gitignore").write_text("*\n")

    def held(self) -> Sequence[Address]:
        """The addresses that the supervisor holds."""
        return [Address.parse(written) for written in self.manager.about().sockets]

    def look(self) -> Look:
        """The supervisor and its instances; without a supervisor, what it left running."""
        try:
            about = self.manager.about()
            return Look(self.manager.instances(), supervisor=msgspec.to_builtins(about))
        except UnreachableError as error:
            return Look([self._left(record) for record in records.running(self.home)], error)

    def log(self, release: str, wanted: Lines) -> list[str]:
        """What is `wanted` of the release's log file, in which nobody knows when a line was written."""
        path = self.home.log_of(release)
        if wanted.since is not None:
            cause = "the lines of the embedded supervisor's logs have no times"
            raise GaplessError("show", f"the log of {release} since a time", cause, TIMELESS, status=2)
        if not path.exists():
            there = ", ".join(one.stem for one in sorted(path.parent.glob("*.log"))) or "none"
            raise GaplessError("show", f"the log of {release}", "there is none", f"there are logs of: {there}")
        with path.open(errors="replace") as text:
            found = (line for one in text if (line := one.rstrip("\n")) in wanted)
            return list(deque(found, wanted.most))

    def follow(self, wanted: Lines) -> Iterator[str]:
        """New lines of every log file, of those that begin meanwhile, too."""
        new: deque[str] = deque()
        followers: dict[str, Follower] = {}
        while True:
            for path in self.home.log.glob("*.log"):
                if path.stem not in followers:
                    followers[path.stem] = Follower(path, path.stem, new.append, cuts=False)
            for follower in followers.values():
                follower.poll()
            while new:
                line = new.popleft()
                if line.partition(" | ")[2] in wanted:
                    yield line
            time.sleep(LOOK_EVERY)

    def unneeded(self) -> Unneeded:
        """Nothing: what the supervisor keeps of an instance goes with the instance."""
        return Unneeded([])

    def _left(self, record: Record) -> Instance:
        role = Role.of(current=record.release == self.home.current(), retiring=record.state.is_retiring)
        ready = record.state.is_ready
        return Instance(record.id, record.release, role, record.pid, record.since, ready, record.private)
