"""Run commands of a release as the user that we are: build, migration and hooks, with a log and a time-out; `exec`.

Where a systemd manager runs the release, they are units instead.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from gapless import programs
from gapless.config.settings import Command
from gapless.home import Home
from gapless.linux import attending, signals
from gapless.linux.disk import refusal
from gapless.linux.log_file import logged
from gapless.linux.orphans import nothing_left
from gapless.programs import Inherited
from gapless.release.lock import DeployLock
from gapless.release.store import Store
from gapless.switch.job import NOT_EXECUTED, NOTHING, Kind, Told, failure, how_it_ended

GRACE = 5.0  # seconds between SIGTERM and SIGKILL


def shell(command: Command) -> list[str]:
    """The argument vector of a command: a string goes to `/bin/sh -e` (its first line that fails ends it)."""
    return ["/bin/sh", "-ec", command] if isinstance(command, str) else command


@dataclass(frozen=True)
class OwnJobs:
    """Implements Jobs with processes of ours, which have what the manager's have: `inherited`."""

    store: Store
    lock: DeployLock
    inherited: Inherited

    def run(self, kind: Kind, argv: Sequence[str], release: str, timeout: float, told: Told = NOTHING) -> None:
        """Run `argv`; should we be killed, a migration keeps other deploys out until it ends."""
        locked = self.lock.migrating() if kind is Kind.MIGRATION else contextlib.nullcontext()
        # A hook may be of the release that serves, whose server writes to that very file.
        bounded = contextlib.nullcontext() if kind is Kind.HOOK else logged(self.store.log(release))
        with locked as kept, bounded:
            keep = [kept] if kept else []
            run(
                kind,
                argv,
                store=self.store,
                release=release,
                timeout=timeout,
                around=self.inherited,
                pass_fds=keep,
                told=told,
            )

    def under_way(self) -> str:
        """Nothing: the lock knows."""
        return ""


def run(
    kind: Kind,
    argv: Sequence[str],
    *,
    store: Store,
    release: str,
    timeout: float,
    around: Inherited,
    pass_fds: Sequence[int] = (),
    told: Told = NOTHING,
) -> None:
    """Run `argv` as the release runs, within `timeout` seconds; its output goes to the release's log.

    What it leaves running ends with it. Raises GaplessError with the last 30 lines of the log.
    """
    log = store.log(release)
    try:
        options = _options(store, release, around, builds=kind.builds)
        options["env"] |= told.variables
        with log.open("ab") as output:
            status = waited(argv, told.text, output, timeout, pass_fds=pass_fds, **options)
    except OSError as error:
        raise refusal(f"start the {kind} of", release, error) from error
    except subprocess.TimeoutExpired:
        raise failure(kind, release, log, f"it took longer than {timeout:g} s", told.name) from None
    if status:
        raise failure(kind, release, log, how_it_ended(status), told.name)


def waited(argv: Sequence[str], text: str, output: BinaryIO, within: float, **options: Any) -> int:
    """Run `argv` with `text` on its standard input, and wait; its status. What it leaves running ends with it.

    Raises OSError, or subprocess.TimeoutExpired after `within` seconds: then it is ended, as by Ctrl-C.
    """
    process: subprocess.Popen[bytes] | None = None
    with nothing_left():
        try:
            with _said_to(text) as said, signals.held():
                process = subprocess.Popen(
                    argv,
                    stdin=said if text else subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # a group of its own, and no terminal to ask for a password on
                    **options,
                )
            return process.wait(within)
        except BaseException:  # Ctrl-C came to this process only
            if process is not None:
                end(process)
            raise


@contextlib.contextmanager
def _said_to(text: str) -> Iterator[BinaryIO]:
    """A file with `text`, for the standard input of a command: nobody waits until it is read. Raises OSError."""
    with tempfile.TemporaryFile() as file:
        file.write(text.encode())
        file.seek(0)
        yield file


def interact(argv: Sequence[str], *, store: Store, release: str, around: Inherited) -> int:
    """Run `argv` as the release runs, on the caller's terminal; returns its status, 128 + n for signal n.

    Signals are for the command: we end when it has, and what it leaves running does, too. Raises GaplessError (status
    127) when it cannot be started.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(nothing_left())
        try:
            options = _options(store, release, around)
            if any(map(os.isatty, (0, 1, 2))) and (term := os.environ.get("TERM")):
                options["env"]["TERM"] = term  # the terminal is not the manager's
            with signals.held():
                process = subprocess.Popen(argv, **options)
                stack.enter_context(attending.told())
        except OSError as error:
            refused = refusal("start", argv[0], error)
            refused.status = NOT_EXECUTED
            raise refused from error
        pidfd = os.pidfd_open(process.pid)
        stack.callback(os.close, pidfd)
        attending.attend(attending.Command(process.pid, pidfd, apart=False), None)
        process.wait()
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


def _options(store: Store, release: str, around: Inherited, *, builds: bool = False) -> dict[str, Any]:
    """What makes Popen run a command as the release runs: its directory, its variables, its umask."""
    env = programs.of_program(Home(store.home), release, around, builds=builds)
    return {"cwd": store.path(release), "env": env, "umask": around.umask}


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
