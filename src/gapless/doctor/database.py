"""The replica of the database: whether Litestream runs, how far it is behind, and why it gets no further."""

from __future__ import annotations

import os

from gapless.config.settings import Config
from gapless.doctor.finding import Finding, Severity
from gapless.errors import GaplessError
from gapless.span import show
from gapless.switch.systemd import database, journal, litestream
from gapless.switch.systemd.home import SystemdHome
from gapless.switch.systemd.lag import lag
from gapless.switch.systemd.litestream import Litestream

LATE = 30.0  # seconds behind that are worth a word: it copies once a second
LONG = 256 << 20  # bytes of a log that is worth a word: a transaction keeps it from being written back


def examine(config: Config, home: SystemdHome | None) -> list[Finding]:
    """The findings about the app's database and its replica; none where gapless knows of none. Raises GaplessError."""
    one = litestream.of(home, config) if home and home.installed else None
    if one is None:
        return []
    if os.geteuid() != 0:
        return [_unit(one), Finding("replica", Severity.UNKNOWN, "only root can ask it", "run it as root")]
    return [_unit(one), _log(one), _replica(one)]


def _unit(one: Litestream) -> Finding:
    unit, state = one.home.litestream, one.state()
    hint = f"`journalctl -u {unit}` says why; `systemctl enable --now {unit}`"
    if state["ActiveState"] not in {"active", "reloading"}:
        what = f"{unit} is {state['ActiveState']}: what is written now is on this host alone"
        return Finding("Litestream", Severity.FAILED, what, hint)
    if state["UnitFileState"] != "enabled":
        return Finding("Litestream", Severity.FAILED, f"{unit} is not enabled: it will not be there after a boot", hint)
    return Finding("Litestream", Severity.OK, f"{unit} is active and enabled")


def _log(one: Litestream) -> Finding:
    if not os.path.lexists(one.path):
        hint = "the app makes it, or `gapless database restore`"
        return Finding("database", Severity.WARNING, f"there is no {one.path}", hint)
    size = database.size(one.path.with_name(f"{one.path.name}-wal"))
    what = f"{one.path} has {database.size(one.path):,} bytes, and {size:,} in its log"
    if size > LONG:
        hint = "a transaction that never ends keeps them there: a forgotten BEGIN, or a reader that stopped half-way"
        return Finding("database", Severity.WARNING, what, hint)
    return Finding("database", Severity.OK, what)


def _replica(one: Litestream) -> Finding:
    try:
        one.must_be_installed()
        found = lag(one)
    except GaplessError as error:
        return Finding("replica", Severity.FAILED, error.cause, error.hint)
    if found.seconds is None:
        what, behind = "there is none yet", LATE
    else:
        what, behind = f"{one.database.replica} is at {found.replica}", found.seconds
    if behind < LATE:
        return Finding("replica", Severity.OK, f"{what}, {show(behind)} behind" if behind else f"{what}, and has all")
    if found.seconds is not None:
        what += f", and {show(behind)} behind"
    if why := _why(one):
        return Finding("replica", Severity.FAILED, f"{what}: {why.cause}", why.hint)
    return Finding("replica", Severity.WARNING, what, f"`journalctl -u {one.home.litestream}` says why")


def _why(one: Litestream) -> GaplessError | None:
    """The last error that Litestream wrote, if it did since it started."""
    said = journal.tail(one.home, one.state()["InvocationID"])
    errors = [line for line in said if "level=ERROR" in line or "level=WARN" in line or line.startswith("Error: ")]
    return litestream.refused("copy", str(one.path), errors[-1]) if errors else None
