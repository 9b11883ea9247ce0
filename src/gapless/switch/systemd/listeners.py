"""Who has an address: systemd may hold it for a unit, and then its process 1 says nothing."""

from __future__ import annotations

from collections.abc import Iterable

from gapless.address import Address
from gapless.linux import procfs
from gapless.switch.systemd.systemctl import Systemctl


def taken(ctl: Systemctl, addresses: Iterable[Address], but: str) -> str:
    """Say who listens on each of `addresses`, other than the socket unit `but`; "" where nobody is known."""
    units = [line.split()[:2] for line in ctl.do("list-sockets", "--no-legend", "--full", "--plain").splitlines()]
    found = []
    for one in addresses:
        if isinstance(one.name, str):
            who = [unit for listens, unit in units if listens == one.name and unit != but] or ["somebody"]
        else:
            port = str(one.name[1])
            who = [unit for listens, unit in units if listens.rpartition(":")[2] == port and unit != but]
            who = who or list(filter(None, [procfs.listener(one.name[1])]))
        if who:
            found.append(f"{one.written} is in use by {who[0]}")
    return "; ".join(found)
