"""End the socket unit, which systemd refuses to whoever asks for it by habit: with a socket a site would be gone.

systemd ends it where another unit conflicts with it, and says no more than that of who may.
"""

from __future__ import annotations

import time

from gapless.errors import GaplessError
from gapless.switch.systemd.home import SystemdHome
from gapless.switch.systemd.systemctl import GONE

DRAINS = 60.0  # seconds that we wait for those who drain already
LOOK_EVERY = 0.05  # seconds


def close(home: SystemdHome) -> None:
    """Have systemd close its socket, once nobody drains; who serves goes on with the one that it has.

    While a service ends, the end of its socket has to wait; and when it has ended, systemd looks after the socket for a
    moment: whoever comes then is accepted by systemd itself, and cut off. Raises GaplessError.
    """
    deadline = time.monotonic() + DRAINS
    while draining := _draining(home):
        if time.monotonic() > deadline:
            cause = f"{draining[0]} still drains"
            raise GaplessError("close", home.socket, cause, "repeat this when `gapless status` shows it no more")
        time.sleep(LOOK_EVERY)
    home.ctl.end_by_conflict(home.socket)


def is_closed(home: SystemdHome) -> bool:
    """Whether systemd has no socket of the app."""
    return home.ctl.show(["ActiveState"], home.socket)[0]["ActiveState"] in GONE


def _draining(home: SystemdHome) -> list[str]:
    """The services whose end the socket has to wait for; none where it is closed."""
    shown = home.ctl.show(["Id", "ActiveState"], home.socket, home.unit("*"))
    states = {one["Id"]: one["ActiveState"] for one in shown}
    services = states.keys() - {home.socket}
    return [] if states[home.socket] in GONE else sorted(one for one in services if states[one] == "deactivating")
