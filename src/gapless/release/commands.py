"""Run a release's own commands (build, migrate): output to its log, time-outs and Ctrl-C to the whole group."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from gapless.config import Command, Config
from gapless.errors import GaplessError
from gapless.release.disk import refusal
from gapless.release.store import Store

GRACE = 5.0  # seconds between SIGTERM and SIGKILL
TAIL = 30  # lines: enough for a traceback of an import, wherever its innermost frame stands


def run(
    what: str,
    command: Command,
    *,
    store: Store,
    release: str,
    config: Config,
    timeout: float,
    pass_fds: Sequence[int] = (),
) -> None:
    """Run `command` in the release's directory within `timeout` seconds; its output goes to the release's log.

    A string goes to /bin/sh, a list is run as it is. Raises GaplessError with the last 30 lines of the log.
    """
    log = store.log(release)
    argv = ["/bin/sh", "-c", command] if isinstance(command, str) else command
    shared = {"GAPLESS_RELEASE": release, "GAPLESS_SHARED": str(store.shared.absolute())}
    process: subprocess.Popen[bytes] | None = None
    try:
        with log.open("ab") as output, signals_held():
            process = subprocess.Popen(
                argv,
                cwd=store.path(release),
                env=os.environ | config.env | shared,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a group of its own, and no terminal to ask for a password on
                pass_fds=pass_fds,
            )
        status = process.wait(timeout)
    except OSError as error:
        raise refusal(f"start the {what} of", release, error) from error
    except BaseException as error:  # Ctrl-C came to this process only
        if process is not None:
            end(process)
        if isinstance(error, subprocess.TimeoutExpired):
            raise _failure(what, release, log, f"it took longer than {timeout:g} s") from None
        raise
    if status < 0:
        raise _failure(what, release, log, f"it was ended by {_signal(-status)}")
    if status > 0:
        raise _failure(what, release, log, f"it exited with status {status}")


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


def _failure(what: str, release: str, log: Path, cause: str) -> GaplessError:
    return GaplessError(f"run the {what} of", release, cause, f"all its output: {log}", details=tail(log))


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


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


def tail(log: Path, lines: int = TAIL) -> tuple[str, ...]:
    """The last lines of a log, of at most 64 KiB; nothing where there is no log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - (1 << 16)))
            text = file.read()
    except OSError:
        return ()
    return tuple(text.decode(errors="replace").splitlines()[-lines:])
