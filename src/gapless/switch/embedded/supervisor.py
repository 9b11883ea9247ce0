"""What `gapless run` runs: holds the sockets, keeps the current release running, obeys the control socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, assert_never

from gapless import variables
from gapless.config.settings import Config
from gapless.errors import GaplessError
from gapless.linux import orphans, procfs
from gapless.switch import pause
from gapless.switch.embedded import control, control_server, records, sockets, successor
from gapless.switch.embedded.alarm import Alarm
from gapless.switch.embedded.control import About, Request
from gapless.switch.embedded.home import EmbeddedHome
from gapless.switch.embedded.instance import Supervised
from gapless.switch.embedded.lock import locked
from gapless.switch.embedded.log_output import LogOutput
from gapless.switch.embedded.reconciler import Reconciler
from gapless.switch.embedded.records import Record
from gapless.switch.embedded.states import InstanceState
from gapless.switch.manager import Readiness, Role, Started
from gapless.version import VERSION

STOP_ANSWER = 5.0  # seconds after which `stop` answers that the instance is still there
Emit = Callable[[str], None]
First = Callable[[], list[str]]


def run(
    home: Path, config: Config, emit: Emit, *, first: First | None = None, arguments: Sequence[str] = ("run",)
) -> int:
    """Supervise until SIGTERM or SIGINT, then drain; the exit status: 0, or 1 when no first release came about.

    `emit` gets each line to show. `first` gives the command that makes the first release; it is called when
    there is no current one and runs once the sockets are up. `arguments` are those by which gapless came here: a
    successor gets them, too. Raises GaplessError when another supervisor is there, an address is taken, or an
    instance's sockets cannot be taken back.
    """
    place = EmbeddedHome(home.absolute())
    try:
        place.make()
        with locked(place):
            found = records.running(place)
            held = sockets.hold(config.addresses, found)
            try:
                supervisor = Supervisor(place, held, LogOutput(place, emit))
                status = asyncio.run(supervisor.run(found, first))
                if supervisor.successor:
                    argv = [supervisor.successor, "-P", "-m", "gapless", *arguments]
                    successor.become(argv, {address: one.fileno() for address, one in held.items()})
                return status
            finally:
                for one in held.values():
                    one.close()
                place.tidy()
    except OSError as error:
        raise GaplessError("supervise", str(home), str(error)) from error


class Supervisor:
    """Answers requests and signals; `Reconciler` keeps them running."""

    def __init__(self, home: EmbeddedHome, held: dict[str, socket.socket], log: LogOutput) -> None:
        self._home = home
        self._log = log
        self._instances = Reconciler(home, held, log, self._end_if_done)
        self._alarm = Alarm(log.say)
        self._since = time.time()
        self._first = 0  # pid of the command that makes the first release
        self._stopping: int | None = None  # the exit status, once we are to end
        self.successor = ""  # the interpreter whose gapless goes on in our place, once it is to
        self._ended = asyncio.Event()

    async def run(self, found: list[Record], first: First | None) -> int:
        """Adopt `found`, then supervise; the exit status."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._failed)
        self._handle_signals(loop)
        orphans.take_in()
        for record in found:
            self._instances.adopt(record)
        successor.listen_again()
        self._reap()  # what ended before there was a handler
        self._take_over_alarm()
        server = await control_server.serve(control_server.bind(self._home), self._answer)
        following = asyncio.create_task(self._log.follow())
        try:
            self._instances.start_current()
            if first and self._instances.current() is None:
                self._make_first(first())
            await self._ended.wait()
        finally:
            following.cancel()
            self._alarm.disarm()
            self._log.close()
            server.close()
            self._home.control.unlink(missing_ok=True)
            orphans.end_all(but=self._known())
        return self._stopping or 0

    async def _answer(self, request: Request, hung_up: control_server.HungUp) -> object:
        match request:
            case control.Start():
                return await self._start(request.release, request.timeout, hung_up())
            case control.Retire():
                if running := self._instances.get(request.id, request.pid):
                    running.retire("it was told to retire")
            case control.Stop():
                return await self._stop_instance(self._instances.get(request.id, request.pid))
            case control.Arm() | control.Disarm():
                self._set_alarm(request)
            case control.Instances():
                return [self._instances.instance(running) for running in self._instances]
            case control.Info():
                return About(os.getpid(), self._since, self._instances.inodes, VERSION)
            case control.Settle():
                self._instances.settle()
            case control.Replace():
                self._leave_to(request.python)
            case _:
                assert_never(request)
        return True

    def _leave_to(self, python: str) -> None:
        """End without a word to any instance: whoever comes in our place adopts them all. Raises GaplessError."""
        booting = [running.record.id for running in self._instances if not running.settled.is_set()]
        cause = "it is stopping" if self._stopping is not None else f"{', '.join(booting)} starts" if booting else ""
        if self._first:
            cause = "the first release is made"
        hint = "try again when that is over"
        if not cause and not os.access(python, os.X_OK):
            cause, hint = f"there is no program {python}", "call a gapless that the supervisor can execute, too"
        if cause:  # what a start says would be heard by nobody for a moment
            raise GaplessError("replace", f"the supervisor of {self._home.root}", cause, hint)
        self._log.say(f"leaving to {python}; what runs goes on")
        successor.hold_back()
        self.successor = python
        self._ended.set()

    def _set_alarm(self, request: control.Arm | control.Disarm) -> None:
        if isinstance(request, control.Disarm):
            self._alarm.disarm()
        elif running := self._instances.get(request.id, request.pid):
            self._alarm.arm(running, request.seconds)

    def _take_over_alarm(self) -> None:
        """Arm what a killed supervisor had armed: else visitors would wait for ever."""
        if found := pause.read(self._home):
            self._set_alarm(control.Arm(found.instance.id, found.instance.pid, found.left))

    async def _start(self, release: str, timeout: float, hung_up: Awaitable[None]) -> Started:
        if release == self._instances.current() and (live := self._instances.live()):
            raise GaplessError("start", release, f"it is the current release and runs already (pid {live.record.pid})")
        running = self._instances.launch(release)
        waits = [asyncio.ensure_future(running.settled.wait()), asyncio.ensure_future(hung_up)]
        try:
            await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        running.hear()  # what it said before this moment counts
        instance = self._instances.instance(running)
        if running.state.is_ready:
            return Started(instance, Readiness.READY)
        if running.state is InstanceState.GONE:
            said = f": {running.said}" if running.said else ""
            hint = " (it must stay in the foreground)" if running.status == "exited with status 0" else ""
            cause = running.cause or f"{running.status} before it was ready{hint}{said}"
            return Started(instance, Readiness.EXITED, cause)
        cause = "its deployer is gone" if waits[1].done() else f"it was not ready within {timeout:g} s"
        if instance.role is Role.CANDIDATE:
            # Nobody waits for it any more: it must not become ready behind the back of its deployer.
            running.retire(cause)
        return Started(instance, Readiness.TIMED_OUT, cause)

    async def _stop_instance(self, running: Supervised | None) -> bool:
        if running is None:
            return True
        running.retire("it was told to stop")
        try:
            async with asyncio.timeout(STOP_ANSWER):
                await running.gone.wait()
        except TimeoutError:
            return False
        return True

    def _handle_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, 0)
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            loop.add_signal_handler(number, self._pass_on, number)
        if os.isatty(0):
            loop.add_signal_handler(signal.SIGHUP, self._stop, 0)  # the terminal is gone
        elif signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup(1)
            loop.add_signal_handler(signal.SIGHUP, self._pass_on, signal.SIGHUP)
        loop.add_signal_handler(signal.SIGCHLD, self._reap)

    def _stop(self, status: int) -> None:
        if self.successor:  # the signal came just before they were held back
            os.kill(os.getpid(), signal.SIGTERM)
            return
        again = self._stopping is not None
        if not again:
            self._stopping = status
        self._log.say("stopping; again to hurry" if not again else "hurrying")
        if self._first:
            os.kill(self._first, signal.SIGTERM)
        for running in self._instances:
            if again:
                running.send(signal.SIGTERM)
            running.retire("the supervisor stops")
        self._instances.close()
        self._end_if_done()

    def _pass_on(self, number: int) -> None:
        if live := self._instances.live():
            live.send(number)

    def _reap(self) -> None:
        """Reap every child: as process 1 of a container we get those of others too."""
        while True:
            try:
                # Look first: an instance's group must be killed while its zombie keeps the number.
                result = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if result is None:
                self._end_orphans()
                return
            running = next((running for running in self._instances if running.record.pid == result.si_pid), None)
            if running:
                running.reap()
                continue
            os.waitpid(result.si_pid, 0)
            if result.si_pid == self._first:
                self._first = 0
                self._first_ended(result.si_status)

    def _end_orphans(self) -> None:
        """End what an instance that is gone left behind: its variables tell whose it is; without, it ends with us."""
        alive = {running.record.private for running in self._instances}
        for pid in {*procfs.children()} - self._known():
            with contextlib.suppress(OSError):  # it has just ended
                private = procfs.variables(pid).get(variables.PRIVATE)
                if private and private not in alive:
                    orphans.end(pid)

    def _known(self) -> set[int]:
        """The children that we started: the instances, and the command that makes the first release."""
        return {self._first, *(running.record.pid for running in self._instances)}

    def _make_first(self, argv: list[str]) -> None:
        """Run the command that makes the first release; it writes to our own output."""
        self._first = os.posix_spawnp(argv[0], argv, os.environ, setsigdef=(signal.SIGPIPE,))

    def _first_ended(self, status: int) -> None:
        if self._instances.current() is None and self._stopping is None:
            self._log.say(f"there is no first release: the command that makes it ended with status {status}")
            self._stop(1)
        self._end_if_done()

    def _end_if_done(self) -> None:
        if self._stopping is not None and not self._first and not any(True for _ in self._instances):
            self._ended.set()

    def _failed(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A bug of ours in one callback: show it, and go on holding the sockets."""
        error = context.get("exception")
        self._log.say("".join(traceback.format_exception(error)) if error else str(context["message"]))
