"""Whether systemd can start a candidate: its units as they are written, and the socket that it wants."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gapless.address import Address
from gapless.config.settings import Config
from gapless.switch.manager import Instance
from gapless.switch.systemd.beside import open_beside
from gapless.switch.systemd.home import SystemdHome
from gapless.switch.systemd.listeners import taken

STALE = "NeedDaemonReload"


def unusable(
    home: SystemdHome, config: Config, names: Sequence[str], instances: Callable[[], Sequence[Instance]]
) -> str:
    """Which of the units `names` systemd cannot use as they are, and why; "" when it can, and the socket listens.

    A service only wants its socket: without one it would start, and bind an address of its own. The first of `names` is
    the service; `instances` says what runs.
    """
    asked = ["Id", "LoadState", "ActiveState", STALE]
    known = home.ctl.show(asked, home.socket, *names)
    if any(unit[STALE] == "yes" for unit in known):  # it finds new files itself, but reads no known one again
        home.ctl.do("daemon-reload")
        known = home.ctl.show(asked, home.socket, *names)
    for unit in known:
        if unit["LoadState"] in {"bad-setting", "error"}:
            return f"systemd does not accept {unit['Id']}: `systemd-analyze verify {unit['Id']}` says why"
    if known[0]["ActiveState"] == "active":
        return ""
    # While a service has the socket, systemd does not open its own again.
    if running := [one for one in instances() if one.ready]:
        if not (said := open_beside(home, names[0], running, config.addresses)):
            return ""
        return f"{home.socket} cannot listen: {said}"
    if home.ctl.attempt("start", home.socket).returncode == 0:
        return ""
    why = (
        taken(home.ctl, map(Address.parse, config.addresses), home.socket)
        or f"`journalctl{home.own} -u {home.socket}` says why"
    )
    return f"{home.socket} cannot listen: {why}"
