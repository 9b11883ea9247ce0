"""Become an instance: fork, hand over the sockets at descriptors 3…, exec (sd_listen_fds(3), execve(2))."""

from __future__ import annotations

import fcntl
import os
import signal
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from gapless import programs
from gapless.config.settings import Config
from gapless.switch.embedded import records
from gapless.switch.embedded.home import EmbeddedHome
from gapless.switch.embedded.records import Record

FIRST = 3  # SD_LISTEN_FDS_START
CLEAR = 64  # descriptors are moved above this before the low ones are overwritten
NOT_EXECUTED = 127  # as the shell exits
WATCHDOG = 30.0  # seconds of silence after which an instance that uses the watchdog counts as hung


@dataclass(frozen=True)
class Launch:
    """All that the child needs; computed before the fork."""

    home: EmbeddedHome
    record: Record
    argv: Sequence[str]
    env: Mapping[str, str]
    directory: Path
    sockets: Sequence[int]


def environment(home: EmbeddedHome, record: Record, config: Config) -> dict[str, str]:
    """The instance's environment, less the two variables that hold its own pid; durations are in seconds.

    Raises GaplessError.
    """
    return programs.of_program(home, record.release, programs.Inherited.ours()) | {
        "LISTEN_FDS": str(len(record.sockets)),
        "LISTEN_FDNAMES": ":".join([config.name] * len(record.sockets)),
        "NOTIFY_SOCKET": "@" + home.notify(record.id)[1:],
        "WATCHDOG_USEC": str(int(WATCHDOG * 1_000_000)),
        **programs.for_server(home, config, record.private, home.runtime(record.id)),
    }


def spawn(launch: Launch) -> tuple[int, str]:
    """Start the instance; its pid, and why it could not be executed (empty when it was).

    When this returns, the record is on disk and the child has executed or is about to exit with status 127.
    Raises OSError when there is no process, log or pipe to be had.
    """
    log = launch.home.log_of(launch.record.release)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    heard, report = os.pipe()
    # Until its handlers are reset, a signal to the child would be written to *our* asyncio wake-up descriptor.
    mask = signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    try:
        try:
            pid = os.fork()
            if not pid:
                _child(launch, output, report)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.close(report)
        with os.fdopen(heard, encoding="utf-8", errors="replace") as complaint:
            cause = complaint.read()  # ends when the child executes: the descriptor is close-on-exec
        if cause:
            os.write(output, f"gapless: {cause}\n".encode())
    finally:
        os.close(output)
    return pid, cause


def _child(launch: Launch, output: int, report: int) -> NoReturn:
    doing = "write its record"
    try:
        os.setsid()  # Ctrl-C is for the supervisor alone, and the whole session can be killed as one group
        signal.set_wakeup_fd(-1)
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        record = launch.record.of(os.getpid())
        records.write(launch.home, record)
        doing = "arrange its descriptors"
        report = _arrange(launch.sockets, output, report)  # closes the supervisor's lock: the record is there
        doing = f"enter {launch.directory}"
        os.chdir(launch.directory)
        doing = f"execute {launch.argv[0]!r}"
        env = {**launch.env, "LISTEN_PID": str(record.pid), "WATCHDOG_PID": str(record.pid)}
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.execvpe(launch.argv[0], list(launch.argv), env)  # noqa: S606 -- no shell is the point: LISTEN_PID
    except OSError as error:
        os.write(report, f"could not {doing}: {error.strerror} (errno {error.errno})".encode())
    except BaseException:
        os.write(report, traceback.format_exc().encode())
    os._exit(NOT_EXECUTED)


def _arrange(sockets: Sequence[int], output: int, report: int) -> int:
    """Put /dev/null, the log and the sockets where they belong, close all else; where `report` is now."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    wanted = [nothing, output, output, *sockets, report]
    # Any source may sit where another one must go: first move all out of the way.
    moved = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, CLEAR + len(wanted)) for one in wanted]
    last = FIRST + len(sockets)
    for place, source in enumerate(moved):
        os.dup2(source, place, inheritable=place != last)
    os.closerange(last + 1, os.sysconf("SC_OPEN_MAX"))
    return last
