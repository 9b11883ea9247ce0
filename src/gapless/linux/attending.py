"""Wait for a command that runs for whoever called us: it is told what we are told, and ends when its caller leaves."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import stat
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from gapless.linux import signals
from gapless.linux.terminal import Terminal

TOLD = {signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP}
FITTING = {signal.SIGWINCH, signal.SIGCONT}  # our terminal has another size, or is ours again
GRACE = 5.0  # seconds from SIGHUP to SIGKILL, once nobody is there any more


@dataclass(frozen=True)
class Command:
    """A command by its `pid` and the `pidfd` of that; `apart`: it leads a session of its own."""

    pid: int
    pidfd: int
    apart: bool

    def send(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)

    def send_all(self, number: int) -> None:
        """Send a signal to its whole group, where that is not ours, too."""
        self.send(number)
        with contextlib.suppress(ProcessLookupError):
            if self.apart and os.getpgid(self.pid) == self.pid:
                os.killpg(self.pid, number)

    def pass_on(self, told: signal.struct_siginfo) -> None:
        if told.si_code <= 0:
            self.send(told.si_signo)
        elif self.apart:
            # The kernel tells it to a whole group, sigaction(2): Ctrl-C on our terminal. One in our group got it too.
            self.send_all(told.si_signo)

    def has_ended(self) -> bool:
        return bool(select.select([self.pidfd], [], [], 0)[0])


@contextlib.contextmanager
def told() -> Iterator[set[signal.Signals]]:
    """Block what we are told inside, and give it to nobody afterwards: it came too late for the command."""
    awaited = {*TOLD, *FITTING}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    try:
        yield awaited
    finally:
        while signal.sigtimedwait(TOLD, 0):
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def attend(command: Command, terminal: Terminal | None) -> None:
    """Return when the command has ended. Only inside of `told`."""
    waiting = signals.waiting({*TOLD, *FITTING})
    try:
        caller = Caller(() if terminal else (1, 2))
        deadline = 0.0
        while not command.has_ended():
            if terminal and terminal.is_there:
                terminal.copy(command.pidfd)
                left = not terminal.is_there
            else:
                left = caller.left(waiting, command.pidfd, deadline)
            if left:
                command.send_all(signal.SIGKILL if deadline else signal.SIGHUP)
                deadline = time.monotonic() + GRACE
            while heard := signal.sigtimedwait({*TOLD, *FITTING}, 0):
                if heard.si_signo in TOLD:
                    command.pass_on(heard)
                elif terminal:
                    terminal.fit()
    finally:
        os.close(waiting)


class Caller:
    """Whoever reads what we say: where that is nobody any more, an SSH connection has broken, say."""

    def __init__(self, streams: Collection[int]) -> None:
        self._read = {one for one in streams if _has_reader(one)}
        self._gone = not self._read  # nobody can leave

    def left(self, waiting: int, pidfd: int, deadline: float) -> bool:
        """Wait for a signal, or the command's end; True when all readers have left, and again at the `deadline`.

        A reader of one stream may leave as he likes: `gapless exec … | head`.
        """
        watch = select.poll()
        for one in (waiting, pidfd):
            watch.register(one, select.POLLIN)
        for one in self._read:
            watch.register(one, 0)  # POLLERR and POLLHUP are always told
        patience = max(deadline - time.monotonic(), 0) * 1000 if deadline else None
        ready = {descriptor for descriptor, _ in watch.poll(patience)}
        self._read -= ready
        if not self._read and not self._gone:
            self._gone = True
            return True
        return not ready


def _has_reader(descriptor: int) -> bool:
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
