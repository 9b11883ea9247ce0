"""The supervisor's one rule, the current release runs: what dies is started again, and everything is adopted."""

from __future__ import annotations

import asyncio
import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from gapless.errors import GaplessError
from gapless.switch.embedded import records, spawn
from gapless.switch.embedded.backoff import Backoff
from gapless.switch.embedded.home import EmbeddedHome
from gapless.switch.embedded.instance import Supervised
from gapless.switch.embedded.log_output import LogOutput
from gapless.switch.embedded.records import Record
from gapless.switch.embedded.spawn import Launch
from gapless.switch.embedded.states import InstanceState
from gapless.switch.held import inode, inodes, restore
from gapless.switch.manager import Instance, Role


class Reconciler:
    """Starts, adopts and keeps the instances. On one event loop: no step of a decision interleaves with another's."""

    def __init__(
        self, home: EmbeddedHome, held: Mapping[str, socket.socket], log: LogOutput, on_end: Callable[[], None]
    ) -> None:
        self._home = home
        self._held = held
        self._log = log
        self._on_end = on_end
        self._running: dict[str, Supervised] = {}
        self._backoff = Backoff()
        self._restart: asyncio.TimerHandle | None = None
        self._closed = False
        self._named: str | None = None
        self.inodes = {address: inode(one) for address, one in held.items()}

    def __iter__(self) -> Iterator[Supervised]:
        """The instances that run, oldest first; they may end during the iteration."""
        return iter(list(self._running.values()))

    def get(self, instance: str, pid: int) -> Supervised | None:
        """The very instance that is meant, or None when it is gone."""
        running = self._running.get(instance)
        return running if running and running.record.pid == pid else None

    def live(self) -> Supervised | None:
        """The instance of the current release that is not retiring; after it is told to go there may be another."""
        return next((running for running in self if self.role(running) is Role.LIVE), None)

    def current(self) -> str | None:
        """The release that the commit file names or, should the file be lost while we run, the one that it named last.

        Read at each call: a deployer renames it without asking us.
        """
        self._named = self._home.current() or self._named
        return self._named

    def role(self, running: Supervised) -> Role:
        """Return the role of an instance; the commit file is read at each call."""
        return Role.of(current=running.record.release == self.current(), retiring=running.state.is_retiring)

    def instance(self, running: Supervised) -> Instance:
        """The instance as the protocol shows it."""
        record, ready = running.record, running.state.is_ready
        return Instance(record.id, record.release, self.role(running), record.pid, record.since, ready, record.private)

    def settle(self) -> None:
        """Apply the rule: see to it that the current release runs, after a pause that grows with its failures."""
        current = self.current()
        if current is None or self._closed or self.live():
            return
        if self._restart and self._backoff.release == current:
            return
        self._cancel_restart()
        self._restart = asyncio.get_running_loop().call_later(self._backoff.delay(current), self.start_current)

    def start_current(self) -> None:
        """Start the current release now, unless there is none or it runs."""
        self._cancel_restart()
        current = self.current()
        if current is None or self._closed or self.live():
            return
        try:
            timeout = float(self._home.config(current).check.timeout)
            self.launch(current).limit(timeout, f"it was not ready within {timeout:g} s")
        except GaplessError as error:
            self._log.say(f"{error}; trying again")
            self.settle()

    def close(self) -> None:
        """Start nothing from now on, and close the held sockets: new connections are refused at once.

        Instances that drain have their own copies until they stop to accept; connections that nobody will
        accept would otherwise wait in vain for as long as the longest drain.
        """
        self._closed = True
        self._cancel_restart()
        for one in self._held.values():
            one.close()

    def launch(self, release: str) -> Supervised:
        """Start an instance of `release`; raises GaplessError, and then nothing runs."""
        if self._closed:
            raise GaplessError("start", release, "the supervisor is stopping", "start it again with `gapless run`")
        directory, config = self._home.release(release), self._home.config(release)
        instance = f"{release}.{secrets.token_hex(3)}"
        record = Record(
            id=instance,
            release=release,
            since=time.time(),
            drain=config.longest_drain,
            private=self._home.private(instance),
            sockets=self.inodes,
        )
        Path(record.private).unlink(missing_ok=True)
        env = spawn.environment(self._home, record, config)
        descriptors = [one.fileno() for one in self._held.values()]
        try:
            self._log.open(instance, release)
            Path(self._home.runtime(instance)).mkdir(mode=0o700)
            launch = Launch(self._home, record, config.argv, env, directory, descriptors)
            running = Supervised.launched(launch, self._changed)
        except OSError as error:
            self._log.shut(instance)
            records.erase(self._home, record)
            raise GaplessError("start", release, str(error)) from error
        self._running[instance] = running
        self._log.say(f"{instance} (pid {running.record.pid}) was started")
        return running

    def adopt(self, record: Record) -> None:
        """Take over an instance that a killed supervisor left; one that has just ended is forgotten. Raises OSError."""
        running = Supervised.adopted(self._home, record, self._changed)
        if running is None:
            records.erase(self._home, record)
            return
        self._running[record.id] = running
        self._log.open(record.id, record.release)
        self._log.say(f"{record.id} (pid {record.pid}) was found {record.state} and adopted")
        if record.state is InstanceState.BOOTING and self.role(running) is Role.CANDIDATE:
            running.retire("its deployer lost the supervisor")
        elif not running.is_heard:
            self._log.say(f"{record.id} is not heard: another process has the name of its notify socket")
            if record.state is InstanceState.BOOTING:
                running.retire("nobody would hear that it is ready")
        if record.state.is_retiring and inodes(record.pid, self._held):
            # It still accepts: its supervisor was killed after it had noted that, and before it sent the signal.
            running.send(signal.SIGTERM)

    def _changed(self, running: Supervised) -> None:
        record = running.record
        reasons = "; ".join(filter(None, [running.cause, running.trouble]))
        why = f" ({reasons})" if reasons else ""
        gone = running.state is InstanceState.GONE
        self._log.say(f"{record.id} (pid {record.pid}) {running.status if gone else f'is {record.state}'}{why}")
        if gone:
            del self._running[record.id]
            self._log.shut(record.id)
            self._backoff.ended(record.release, time.time() - record.since)
        if not self._closed:
            restore(self._held.values())
            self.settle()
        if gone:
            self._on_end()

    def _cancel_restart(self) -> None:
        if self._restart:
            self._restart.cancel()
            self._restart = None
