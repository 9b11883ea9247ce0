"""Another database in the place of the present one: all that has that open starts anew, and visitors wait meanwhile.

Who starts waits for a lock that we hold until it is in place, see the template `restoring`; the kernel frees it should
we die, and all that we stopped starts by itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from gapless.errors import GaplessError
from gapless.linux import procfs
from gapless.linux.disk import refusal
from gapless.switch.manager import Instance, Role
from gapless.switch.systemd import database
from gapless.switch.systemd.database import BESIDE
from gapless.switch.systemd.litestream import Litestream
from gapless.switch.systemd.manager import SystemdManager
from gapless.switch.systemd.systemctl import GONE

LOOK_EVERY = 0.05  # seconds
DRAINS = 60.0  # seconds that we wait for those who drain already
FLASH = 10.0  # seconds: whoever starts has the lock for a moment
SETTLED = 60.0  # seconds until what was told to end has ended: Litestream copies what is left


def replace(manager: SystemdManager, one: Litestream, copy: Path, kept: Path) -> None:
    """Put `copy` in the place of the database, which is `kept` beside it; then all that was stopped starts again.

    Only under the deploy lock. Raises GaplessError; then the present one is in place.
    """
    live = _live(manager)
    with _held(one.home.restoring):
        _restart(one, one.home.litestream)
        if live:
            _restart(one, live.unit, within=manager.home.config(live.release).longest_drain)
        _end_jobs(one)
        _refuse_open(one.path)
        database.swap(one, copy, kept)
    if live:
        _await_ready(manager, live.release)


def _live(manager: SystemdManager) -> Instance | None:
    """The live instance, once all others have ended. Raises GaplessError."""
    deadline = time.monotonic() + DRAINS
    found = manager.instances()
    while others := [one for one in found if one.role is not Role.LIVE]:
        if time.monotonic() > deadline:
            cause = f"{others[0].release} still runs, and has it open (pid {others[0].pid}, {others[0].role})"
            raise GaplessError("replace", "the database", cause, "repeat this when `gapless status` shows it no more")
        time.sleep(LOOK_EVERY)
        found = manager.instances()
    for one in found:
        unit = (manager.home.units / one.unit).read_text("utf-8", "replace")
        if str(manager.home.restoring) not in unit:
            cause = f"{one.release} was made before [database], and would not wait while it is replaced"
            raise GaplessError("replace", "the database", cause, "`gapless deploy`, then repeat this")
    return found[0] if found else None


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    """Whoever starts meanwhile waits. Raises GaplessError."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise refusal("lock", str(path), error) from error
    try:
        _until(lambda: _lock(descriptor), FLASH, f"somebody else has {path}")
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _restart(one: Litestream, unit: str, within: float = SETTLED) -> None:
    """End a unit; what starts in its place waits for the lock. What is stopped stays so."""
    ctl, asked = one.home.ctl, ("ActiveState", "SubState", "InvocationID")
    before = ctl.show(asked, unit)[0]
    if before["ActiveState"] in GONE:
        return
    ctl.do("restart", "--no-block", unit)

    def waits() -> bool:
        now = ctl.show(asked, unit)[0]
        fresh = now["InvocationID"] != before["InvocationID"] or before["SubState"] == "start-pre"
        return now["SubState"] == "start-pre" and fresh

    _until(waits, within, f"{unit} does not end")


def _end_jobs(one: Litestream) -> None:
    """End what timers started, and what else of the app does not end with its server."""
    shown = one.home.ctl.show(["Id", "Type", "ActiveState"], one.home.other("*", "*"))
    jobs = [unit["Id"] for unit in shown if unit["Type"] == "oneshot" and unit["ActiveState"] not in GONE]
    if jobs:
        one.home.ctl.end(*jobs)


def _refuse_open(path: Path) -> None:
    """Refuse while any process has it open, such as a command of `gapless exec`. Raises GaplessError."""
    if pids := procfs.having_open({str(path), *(f"{path}{end}" for end in BESIDE)}):
        named = ", ".join(map(str, pids))
        hint = f"end it (`ps -p {named.replace(' ', '')}` shows what it is), then repeat this"
        raise GaplessError("replace", str(path), f"a process has it open (pid {named})", hint)


def _await_ready(manager: SystemdManager, release: str) -> None:
    within = manager.home.config(release).check.timeout + FLASH

    def ready() -> bool:
        return any(one.role is Role.LIVE and one.ready for one in manager.instances())

    _until(ready, within, f"{release} does not become ready with it: `gapless logs {release}` says why")


def _until(done: Callable[[], bool], seconds: float, cause: str) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise GaplessError("replace", "the database", f"{cause} (after {seconds:g} s)", "repeat this")
        time.sleep(LOOK_EVERY)
