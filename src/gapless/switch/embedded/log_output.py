"""What the supervisor shows: its own words and the lines of every running release, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gapless.switch.embedded.home import EmbeddedHome
from gapless.switch.embedded.logs import Follower

INTERVAL = 0.2  # seconds between two looks at the logs
OURS = "gapless"  # in the place of the release, for the supervisor's own words


class LogOutput:
    """Follows a release's log while an instance of it runs; `emit` gets every line."""

    def __init__(self, home: EmbeddedHome, emit: Callable[[str], None]) -> None:
        self._home = home
        self._emit: Callable[[str], None] | None = emit
        self._followers: dict[str, Follower] = {}
        self._instances: dict[str, str] = {}  # instance → release; a release may run twice

    def say(self, line: str) -> None:
        """Emit the supervisor's own `line`, after what the releases have logged so far."""
        self.poll()
        self._show(f"{OURS} | {line}")

    def open(self, instance: str, release: str) -> None:
        """Follow the log of `release`, from its present end on."""
        self._instances[instance] = release
        if release not in self._followers:
            self._followers[release] = Follower(self._home.log_of(release), release, self._show, cuts=True)

    def shut(self, instance: str) -> None:
        """`instance` is gone: emit the rest, and let go of its log unless another instance has the same."""
        self.poll()
        release = self._instances.pop(instance)
        if release in self._followers and release not in self._instances.values():
            self._followers.pop(release).close()

    def poll(self) -> None:
        """Emit every line that is new."""
        for release, follower in list(self._followers.items()):
            try:
                follower.poll()
            except OSError as error:
                # A bad disk must not keep us from supervising: we only stop to look.
                del self._followers[release]
                self._show(f"{OURS} | the log of {release} cannot be followed any more: {error}")

    async def follow(self) -> None:
        """Poll until cancelled."""
        while True:
            self.poll()
            await asyncio.sleep(INTERVAL)

    def close(self) -> None:
        """Let go of every log."""
        for instance in list(self._instances):
            self.shut(instance)

    def _show(self, line: str) -> None:
        if self._emit:
            try:
                self._emit(line)
            except OSError:
                # The terminal or the pipe is gone. That must not end what serves; the log files have it all.
                self._emit = None
