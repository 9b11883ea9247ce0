"""Run commands of a release: build and migration with a log and a time-out, `gapless exec` on the caller's terminal."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gapless import environment
from gapless.config import Command
from gapless.errors import GaplessError
from gapless.home import Home
from gapless.linux.disk import refusal
from gapless.linux.log_file import logged
from gapless.release.lock import DeployLock
from gapless.release.owner import account, stranger
from gapless.release.store import Store
from gapless.switch.job import Kind, failure, how_it_ended

GRACE = 5.0  # seconds between SIGTERM and SIGKILL
TOLD = {signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP}
FITTING = {signal.SIGWINCH, signal.SIGCONT}  # our terminal has another size, or is ours again
NOT_EXECUTED = 127  # as the shell exits


def shell(command: Command) -> list[str]:
    """The argument vector of a command: a string goes to `/bin/sh -e` (its first line that fails ends it)."""
    return ["/bin/sh", "-ec", command] if isinstance(command, str) else command


@dataclass(frozen=True)
class OwnJobs:
    """Implements Jobs with processes of ours, as the user that we are."""

    store: Store
    lock: DeployLock

    def run(self, kind: Kind, argv: Sequence[str], release: str, timeout: float) -> None:
        """Run `argv`; should we be killed, a migration keeps other deploys out until it ends."""
        locked = self.lock.migrating() if kind is Kind.MIGRATION else contextlib.nullcontext()
        with locked as kept, logged(self.store.log(release)):
            run(kind, argv, store=self.store, release=release, timeout=timeout, pass_fds=[kept] if kept else ())

    def under_way(self) -> str:
        """Nothing: the lock knows."""
        return ""


def run(
    kind: Kind, argv: Sequence[str], *, store: Store, release: str, timeout: float, pass_fds: Sequence[int] = ()
) -> None:
    """Run `argv` as the release runs, within `timeout` seconds; its output goes to the release's log.

    Raises GaplessError with the last 30 lines of the log.
    """
    log = store.log(release)
    process: subprocess.Popen[bytes] | None = None
    try:
        with _surroundings(store, release, "") as surroundings:
            if kind is Kind.BUILD:
                surroundings["env"] |= environment.for_build(Home(store.home), release)
            with log.open("ab") as output, signals_held():
                process = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # a group of its own, and no terminal to ask for a password on
                    pass_fds=pass_fds,
                    **surroundings,
                )
            status = process.wait(timeout)
    except OSError as error:
        raise refusal(f"start the {kind} of", release, error) from error
    except BaseException as error:  # Ctrl-C came to this process only
        if process is not None:
            end(process)
        if isinstance(error, subprocess.TimeoutExpired):
            raise failure(kind, release, log, f"it took longer than {timeout:g} s") from None
        raise
    if status:
        raise failure(kind, release, log, how_it_ended(status))


def interact(argv: Sequence[str], *, store: Store, release: str, owner: str = "") -> int:
    """Run `argv` in the release's directory on the caller's terminal; returns its status, 128 + n for signal n.

    Another user than we are gets a terminal of its own in the place of ours: who has ours could type on it.
    Signals are for the command: we end when it has. Raises GaplessError (status 127) when it cannot be started.
    """
    other = stranger(owner)
    awaited = {*TOLD, signal.SIGCHLD, *(FITTING if other else ())}
    with contextlib.ExitStack() as stack:
        surroundings = stack.enter_context(_surroundings(store, release, owner))
        try:
            terminal = None
            if other:
                from gapless.linux.terminal import stand_in  # only an exec pays for it

                terminal = stack.enter_context(stand_in(other.pw_uid, awaited))
            if terminal:
                surroundings |= {**terminal.streams, "terminal": terminal.stands_for[0]}
            with signals_held():
                process = _start(argv, other, **surroundings)
                mask = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
        except (OSError, GaplessError) as error:
            refused = refusal("start", argv[0], error) if isinstance(error, OSError) else error
            refused.status = NOT_EXECUTED
            raise refused from error
        try:
            while process.poll() is None:
                if terminal:
                    terminal.copy()
                told = signal.sigwaitinfo(awaited)
                if told.si_signo in FITTING and terminal:
                    terminal.fit()
                elif told.si_signo in TOLD:
                    _pass_on(told, process, own_session=other is not None)
            if terminal:
                terminal.drain(TOLD)
        finally:
            while signal.sigtimedwait(TOLD, 0):
                pass  # it came too late for the command, and is not for us
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


def _pass_on(told: signal.struct_siginfo, process: subprocess.Popen[bytes], *, own_session: bool) -> None:
    if told.si_code <= 0:
        process.send_signal(told.si_signo)
    elif own_session:
        # The kernel tells it to a whole group, sigaction(2): Ctrl-C on our terminal. One in our group got it too.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, told.si_signo)


def _start(argv: Sequence[str], other: pwd.struct_passwd | None, **options: Any) -> subprocess.Popen[bytes]:
    if other is None:
        return subprocess.Popen(argv, **options)
    from gapless.linux import confined  # only who starts something as another user pays for it

    return confined.start(argv, other, **options)


@contextlib.contextmanager
def _surroundings(store: Store, release: str, owner: str) -> Iterator[dict[str, Any]]:
    """What makes Popen run a command as the release runs: its directory and its environment."""
    options: dict[str, Any] = {"cwd": store.path(release)}
    env = environment.inherited()
    if owner:
        user = account(owner)
        env |= {"HOME": user.pw_dir, "USER": owner, "LOGNAME": owner}
        options["umask"] = 0o022
    env |= environment.read(store.home, release)
    env["PATH"] = environment.search_path(store.path(release), env.get("PATH") or os.defpath)
    with environment.shelter(store.home, release, owner) as credentials:
        if credentials.is_dir():
            env["CREDENTIALS_DIRECTORY"] = str(credentials)
        env |= environment.handed_over(Home(store.home), release)
        yield options | {"env": env}


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Deliver the signals that this process handles afterwards: Ctrl-C between a start and its return loses the child.

    Handlers instead of a mask: the child would inherit a mask.
    """
    caught: list[int] = []
    handlers = {}
    if threading.current_thread() is threading.main_thread():
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        handlers = {number: was for number in numbers if callable(was := signal.getsignal(number))}
    for number in handlers:
        signal.signal(number, lambda number, _frame: caught.append(number))
    try:
        yield
    finally:
        for number, was in handlers.items():
            signal.signal(number, was)
    for late in caught:
        signal.raise_signal(late)


def end(process: subprocess.Popen[bytes]) -> None:
    """End the process's whole group: SIGTERM, and SIGKILL for what is left 5 seconds later."""
    try:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
            deadline = time.monotonic() + GRACE
            while time.monotonic() < deadline:
                process.poll()  # reaps it, or the group would never be empty
                os.killpg(process.pid, 0)
                time.sleep(0.02)
    finally:  # a second Ctrl-C does not spare it either
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
