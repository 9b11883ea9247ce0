"""What systemd has of the app: the socket, the live unit, and the settings without which requests get lost."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from gapless import version
from gapless.config.settings import Config
from gapless.doctor.finding import Finding, Severity
from gapless.errors import GaplessError
from gapless.provision.install import Installation
from gapless.switch.systemd import units as units_of
from gapless.switch.systemd.home import SystemdHome
from gapless.switch.systemd.systemctl import GONE

SOCKET = {"TriggerLimitIntervalUSec": "0"}  # what `systemctl show` must say
SERVICE = {"NonBlocking": "yes", "StartLimitIntervalUSec": "0"}
WHY = {
    "TriggerLimitIntervalUSec": "many connections at once could close the socket",
    "NonBlocking": "the next deploy freezes the serving release",
    "StartLimitIntervalUSec": "a candidate that crashes again and again closes the socket",
}
STATES = ("Id", "LoadState", "ActiveState", "UnitFileState", "NeedDaemonReload", "DropInPaths")


def installation(config: Config, home: SystemdHome, current: str | None) -> Finding:
    """Whether user, directories and socket unit are as `gapless up` makes them."""
    try:
        todo = Installation(config, home, current).missing()
    except GaplessError as error:
        return Finding("installation", Severity.FAILED, error.cause, error.hint)
    if todo:
        return Finding("installation", Severity.FAILED, f"not as gapless.toml says: {' '.join(todo)}", _up(home))
    return Finding("installation", Severity.OK, f"user, directories and {home.socket} are as gapless.toml says")


def units(home: SystemdHome, current: str | None) -> list[Finding]:
    """The findings about the socket and the unit of the `current` release, as systemd has them. Raises GaplessError."""
    held = home.ctl.show([*STATES, "Upholds", *SOCKET], home.socket)[0]
    live = held["Upholds"]  # the commit says so; Triggers= also has those that drain
    found = [
        socket(home, held, live) if live or current else first_socket(home, held),
        settings("socket settings", home, held, SOCKET, f"{_up(home)} (after removing what changed it)"),
    ]
    if not live and current:
        what = f"systemd holds up no release, though {current} is the current one: it would not start again"
        return [*found, Finding("live unit", Severity.FAILED, what, "gapless prune")]
    if not live:
        return [*found, Finding("live unit", Severity.WARNING, "nothing was deployed yet", "gapless deploy")]
    unit = home.ctl.show([*STATES, *SERVICE], live)[0]
    found += [service(home, unit), settings("service settings", home, unit, SERVICE, "gapless deploy")]
    if text := units_of.installed(home, live):  # not where the commit file names a unit that is nobody's
        found.append(maker(home, live, text))
    return found


def socket(home: SystemdHome, unit: Mapping[str, str], live: str) -> Finding:
    """Whether the socket unit holds the socket, now and after a boot; `live` is the unit of the current release."""
    name = home.socket
    if unit["ActiveState"] != "active":
        what = f"{name} is {unit['ActiveState']}: connections are refused"
        over_tcp = not any(isinstance(one.name, str) for one in units_of.listens(units_of.installed_socket(home)))
        if over_tcp and live and home.ctl.show(["ActiveState"], live)[0]["ActiveState"] == "active":
            what = f"{name} is {unit['ActiveState']}: {live} answers on a socket that ends with it"
        hint = f"`{_up(home)}` opens it again; `journalctl{home.own} -u {name}` says why it closed"
        return Finding("socket", Severity.FAILED, what, hint)
    unreadable = unit["UnitFileState"] == "bad" and home.enabled  # of a damaged drop-in others tell
    if unit["UnitFileState"] != "enabled" and not unreadable:
        what = f"{name} is {unit['UnitFileState'] or 'not enabled'}: it will not be there after a boot"
        return Finding("socket", Severity.FAILED, what, f"{_ctl(home)} enable {name}")
    return Finding("socket", Severity.OK, f"{name} is active and enabled")


def first_socket(home: SystemdHome, unit: Mapping[str, str]) -> Finding:
    """Whether the socket unit is closed, as it is to be until the first release serves."""
    name = home.socket
    if unit["ActiveState"] not in GONE:
        what = f"{name} is {unit['ActiveState']}, though nothing was deployed yet: who connects waits for nobody"
        return Finding("socket", Severity.FAILED, what, f"{_ctl(home)} stop {name}")
    if unit["UnitFileState"] == "enabled":
        what = f"{name} is enabled, though nothing was deployed yet: a boot would open it for nobody"
        return Finding("socket", Severity.FAILED, what, f"{_ctl(home)} disable {name}")
    return Finding("socket", Severity.OK, f"{name} is {unit['ActiveState']} until the first release serves")


def service(home: SystemdHome, unit: Mapping[str, str]) -> Finding:
    """Whether the live unit serves."""
    name = unit["Id"]
    if unit["ActiveState"] in {"active", "reloading"}:
        return Finding("live unit", Severity.OK, f"{name} is active")
    hint = f"`{_ctl(home)} status {name}` and `gapless logs` say why; `gapless rollback` goes back"
    return Finding("live unit", Severity.FAILED, f"{name} is {unit['ActiveState']}", hint)


def maker(home: SystemdHome, live: str, text: str) -> Finding:
    """Whether this gapless made the unit `live`, with this text, and whether what that starts is still there."""
    other, this = units_of.made_by(text), version.maker()
    if other == this:
        return Finding("upgrade", Severity.OK, f"{this} made {live}, and is asked now")
    program = units_of.started(text)
    if not program.exists():
        what = f"{other} made {live}, and what that starts is gone: {program}. It would not start again"
        return Finding("upgrade", Severity.FAILED, what, _up(home))
    what = f"{other} made {live}, and this is {this}"
    return Finding("upgrade", Severity.WARNING, what, f"`{_up(home)}` starts it again, beside itself")


def settings(name: str, home: SystemdHome, unit: Mapping[str, str], wanted: Mapping[str, str], renew: str) -> Finding:
    """Whether a unit has the `wanted` settings; names the drop-ins of others that change one.

    `renew` writes the unit itself again. Raises OSError when a drop-in cannot be read.
    """
    what, ours = unit["Id"], {home.commit, home.candidate}
    if unit["NeedDaemonReload"] == "yes":
        changed = f"the files of {what} have changed since systemd read them"
        return Finding(name, Severity.FAILED, changed, f"{_ctl(home)} daemon-reload")
    others = [path for path in map(Path, shlex.split(unit["DropInPaths"])) if path not in ours]
    wrong = [key for key, value in wanted.items() if unit.get(key) != value]
    if not wrong and (over := {path: keys for path in others if (keys := _overrides(home, what, path))}):
        changed = "; ".join(f"{path} sets {', '.join(sorted(keys))}" for path, keys in over.items())
        mend = f"rm {shlex.join(map(str, over))} && {_ctl(home)} daemon-reload"
        return Finding(name, Severity.WARNING, f"{what} is not as gapless.toml says: {changed}", mend)
    if not wrong:
        also = f"; drop-ins of others change nothing of it: {', '.join(map(str, others))}" if others else ""
        return Finding(
            name, Severity.OK, f"{what} has {', '.join(f'{_key(key)}={wanted[key]}' for key in wanted)}{also}"
        )
    told = ", ".join(f"{_key(key)} is {unit.get(key)}, and {WHY[key]}" for key in wrong)
    guilty = [path for path in others if any(_sets(path, key) for key in wrong)]
    hint = f"rm {shlex.join(map(str, guilty))} && {_ctl(home)} daemon-reload" if guilty else renew
    blame = f" (by {', '.join(map(str, guilty))})" if guilty else ""
    return Finding(name, Severity.FAILED, f"{what}: {told}{blame}", hint)


def _overrides(home: SystemdHome, unit: str, path: Path) -> set[str]:
    """The settings of the socket unit that gapless.toml decides, and a drop-in changes."""
    if unit != home.socket:
        return set()
    ours = {"Service", "ListenDatagram"} | _keys(units_of.installed_socket(home))
    return ours & _keys(path.read_text("utf-8", "replace")) - {"Description", "WantedBy"}


def _keys(text: str) -> set[str]:
    return {line.partition("=")[0].strip() for line in text.splitlines() if "=" in line and line[0] not in "#;["}


def _key(shown: str) -> str:
    """The setting in a unit file, by its name in `systemctl show`."""
    return shown.replace("USec", "Sec")


def _sets(path: Path, shown: str) -> bool:
    # StartLimitInterval= is an old name of StartLimitIntervalSec=, systemd.unit(5).
    lines = path.read_text("utf-8", "replace").splitlines()
    return any(line.strip().startswith(shown.removesuffix("USec")) for line in lines)


def _ctl(home: SystemdHome) -> str:
    return f"systemctl{home.own}"


def _up(home: SystemdHome) -> str:
    return f"gapless up{home.own}"
