"""Service units as the instances of an app: what `systemctl show` says, read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from gapless.linux import signals
from gapless.switch.manager import Instance, Role
from gapless.switch.systemd.home import SystemdHome, release_of

SHOWN = (
    *("Id", "ActiveState", "MainPID", "InvocationID", "InactiveExitTimestamp"),
    *("ExecMainCode", "ExecMainStatus", "StatusText", "Result"),
)


def read_instance(home: SystemdHome, unit: Mapping[str, str], current: str | None) -> Instance:
    """Read the properties SHOWN of a service unit; `current` is the instance that the commit file names."""
    name = home.instance(unit["Id"])
    return Instance(
        id=f"{name}.{unit['InvocationID'][:8]}",
        release=release_of(name),
        role=Role.of(current=name == current, retiring=unit["ActiveState"] == "deactivating"),
        pid=int(unit["MainPID"]),
        since=moment(unit["InactiveExitTimestamp"]),
        ready=unit["ActiveState"] in {"active", "reloading", "deactivating"},
        private=home.private(name),
        unit=unit["Id"],
    )


def ending(unit: Mapping[str, str]) -> str:
    """Say how the main process ended, with its last words; empty when systemd never started it."""
    status = int(unit["ExecMainStatus"])
    said = f": {unit['StatusText']}" if unit["StatusText"] else ""
    if unit["Result"] == "oom-kill":
        return f"was killed before it was ready: out of memory{said}"
    match unit["ExecMainCode"]:
        case "1":  # CLD_EXITED
            hint = " (it must stay in the foreground)" if status == 0 else ""
            return f"exited with status {status} before it was ready{hint}{said}"
        case "2" | "3":  # CLD_KILLED, CLD_DUMPED
            return f"was killed by {signals.name(status)} before it was ready{said}"
    return ""


def moment(written: str) -> float:
    """Unix time of systemd's `us+utc` style; 0 when it never was, or will be."""
    if written in {"", "n/a", "infinity"}:
        return 0.0
    whole = written if "." in written else written.replace(" UTC", ".000000 UTC")  # of a full second it says no more
    return datetime.strptime(f"{whole}+0000", "%a %Y-%m-%d %H:%M:%S.%f UTC%z").timestamp()
