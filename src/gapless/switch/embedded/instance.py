"""One instance as the supervisor sees it: watched by its pidfd, heard on its notify socket, moved by one table."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable

import msgspec

from gapless.linux import priority, signals
from gapless.switch.embedded import notifications, records, spawn
from gapless.switch.embedded.home import EmbeddedHome
from gapless.switch.embedded.records import Record
from gapless.switch.embedded.spawn import Launch
from gapless.switch.embedded.states import MOVES, InstanceState

LEAVE = 3.0  # seconds from SIGTERM to SIGKILL for an instance that was never ready
ABORT = 5.0  # seconds from SIGABRT to SIGKILL for one that hangs: time for a core dump or a traceback
UNKNOWN = "ended"  # an adopted instance is not our child: the kernel does not tell us its exit status


class Supervised:
    """`on_change` is called after every move, GONE included; it is called from the event loop."""

    def __init__(
        self,
        home: EmbeddedHome,
        record: Record,
        pidfd: int,
        notify: socket.socket,
        on_change: Callable[[Supervised], None],
    ) -> None:
        """Watch the process of `record`, a child or an adopted orphan, by its `pidfd`; owns both descriptors."""
        self.record = record
        self.cause = ""
        self.status = ""  # how it ended, in words
        self.trouble = ""  # with its record on disk
        self.said = ""  # its last STATUS=
        self.settled = asyncio.Event()  # it became ready, or it is gone
        self.gone = asyncio.Event()
        self._home = home
        self._pidfd = pidfd
        self._notify = notify
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._deadline: asyncio.TimerHandle | None = None
        self._watchdog: asyncio.TimerHandle | None = None
        self._loop.add_reader(self._notify, self.hear)
        self._loop.add_reader(self._pidfd, self.reap)
        if record.state.is_ready:
            self.settled.set()
        if record.state.is_retiring:
            self._expect_end()

    @classmethod
    def launched(cls, launch: Launch, on_change: Callable[[Supervised], None]) -> Supervised:
        """Start an instance; raises OSError, and then nothing runs."""
        home, record = launch.home, launch.record
        with contextlib.ExitStack() as undo:
            notify = undo.enter_context(notifications.bind(home.notify(record.id)))
            pid, complaint = spawn.spawn(launch)
            priority.lower(pid)
            undo.callback(os.waitpid, pid, 0)
            undo.callback(os.kill, pid, signal.SIGKILL)
            running = cls(home, record.of(pid), os.pidfd_open(pid), notify, on_change)
            undo.pop_all()
        running.cause = complaint
        return running

    @classmethod
    def adopted(cls, home: EmbeddedHome, record: Record, on_change: Callable[[Supervised], None]) -> Supervised | None:
        """Watch an instance that another supervisor left; None when it has just ended. Raises OSError.

        Anybody can read the name of its notify socket, unix(7), and may have taken it in between: then it is not heard.
        """
        with contextlib.ExitStack() as undo:
            notify = undo.enter_context(notifications.bind_again(home.notify(record.id)))
            try:
                pidfd = os.pidfd_open(record.pid)
            except ProcessLookupError:
                return None
            undo.callback(os.close, pidfd)
            if not record.runs():  # asked after pidfd_open(2): from here on the number cannot be another's
                return None
            undo.pop_all()
        return cls(home, record, pidfd, notify, on_change)

    @property
    def state(self) -> InstanceState:
        return self.record.state

    @property
    def is_heard(self) -> bool:
        """Whether what it says comes to us."""
        return bool(self._notify.getsockname())

    def retire(self, why: str) -> None:
        """Tell the instance to drain, and kill it when its longest budget is over; again is no error."""
        if self.state in {InstanceState.BOOTING, InstanceState.READY}:
            self.cause = why
            self._move(InstanceState.DRAINING if self.state.is_ready else InstanceState.LEAVING)
            self.send(signal.SIGTERM)

    def send(self, number: int) -> None:
        """Send the instance a signal; one that is gone already is no error."""
        if self.state is not InstanceState.GONE:  # the descriptor may be another file's by then
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def kill(self, why: str) -> None:
        """SIGKILL its whole process group: workers must not go on accepting without their leader."""
        if self.state is not InstanceState.GONE:
            self.cause = why
            self.send(signal.SIGKILL)
            self._kill_group()

    def limit(self, seconds: float, why: str) -> None:
        """Kill the instance unless it leaves its present state within `seconds`."""
        self._cancel_deadline()
        self._deadline = self._loop.call_later(seconds, self._expired, why)

    def hear(self) -> None:
        """Act on the messages that wait."""
        if self.state is InstanceState.GONE:
            return
        for message in notifications.messages(self._notify):
            self._obey(message)

    def reap(self) -> None:
        """Take note that the instance ended; nothing happens while it runs."""
        if self.state is InstanceState.GONE:
            return
        try:
            result = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if result is None:
                return  # a child that still runs
            self.status = _in_words(result)
            # The zombie keeps the group's number ours, so its group is killed before it is reaped.
            self._kill_group()
            os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        except ChildProcessError:
            # Adopted. Readers of a pidfd are only called when the process ended. Members that are left keep
            # the group's number from being used again; if there are none, there is no such group.
            self.status = UNKNOWN
            self._kill_group()
        self.hear()  # a READY=1 or STATUS that it sent before its end still counts
        for source in (self._notify, self._pidfd):
            self._loop.remove_reader(source)
        self._notify.close()
        os.close(self._pidfd)
        self._disarm()
        self._move(InstanceState.GONE)

    def _obey(self, message: dict[str, str]) -> None:
        self.said = message.get("STATUS", self.said)
        if message.get("READY") == "1" and self.state in {InstanceState.BOOTING, InstanceState.LEAVING}:
            self._move(InstanceState.READY if self.state is InstanceState.BOOTING else InstanceState.DRAINING)
        if message.get("STOPPING") == "1" and self.state is InstanceState.READY:
            self.cause = "said that it stops"
            self._move(InstanceState.DRAINING)
        if (
            message.get("WATCHDOG") == "1" and self.state is InstanceState.READY
        ):  # as systemd: a boot has its own time-out
            self._disarm()
            self._watchdog = self._loop.call_later(spawn.WATCHDOG, self._is_silent)
        if self._deadline and message.get("EXTEND_TIMEOUT_USEC", "").isdecimal():
            wanted = self._loop.time() + int(message["EXTEND_TIMEOUT_USEC"]) / 1_000_000
            if wanted > self._deadline.when():
                self.limit(wanted - self._loop.time(), "it did not end in the time that it asked for")

    def _is_silent(self) -> None:
        armed = self._watchdog
        self.hear()  # we may be the one that slept
        if self._watchdog is armed and self.state is not InstanceState.GONE:
            self._watchdog = None
            self.cause = f"its watchdog was silent for {spawn.WATCHDOG:g} s"
            self.send(signal.SIGABRT)
            self.limit(ABORT, self.cause)
            self._on_change(self)

    def _expired(self, why: str) -> None:
        self._deadline = None
        before = self.state
        self.hear()
        if self.state is before:
            self.kill(why)
            self._on_change(self)

    def _move(self, state: InstanceState) -> None:
        if state not in MOVES[self.state]:
            raise AssertionError(f"illegal move of {self.record.id}: {self.state} -> {state}")
        self.record = msgspec.structs.replace(self.record, state=state)
        self._cancel_deadline()
        if state.is_ready or state is InstanceState.GONE:
            self.settled.set()
        if state is InstanceState.READY:
            priority.restore(self.record.pid)
        if state is InstanceState.GONE:
            self.gone.set()
        self._write_down()
        if state.is_retiring:
            self._disarm()  # a drain has a deadline of its own
            self._expect_end()
        self._on_change(self)

    def _write_down(self) -> None:
        try:
            if self.state is InstanceState.GONE:
                records.erase(self._home, self.record)
            else:
                records.write(self._home, self.record)
            self.trouble = ""
        except OSError as error:
            # A full disk must not keep us from draining or restarting; only a later supervisor will know less.
            self.trouble = f"its record could not be written: {error}"

    def _expect_end(self) -> None:
        budget = self.record.drain if self.state.is_ready else LEAVE
        self.limit(budget, f"it was still there {budget:g} s after it was told to retire")

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.record.pid, signal.SIGKILL)

    def _cancel_deadline(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None

    def _disarm(self) -> None:
        if self._watchdog:
            self._watchdog.cancel()
            self._watchdog = None


def _in_words(result: os.waitid_result) -> str:
    if result.si_code == os.CLD_EXITED:
        return f"exited with status {result.si_status}"
    return f"was killed by {signals.name(result.si_status)}"
