"""Let a unit boot behind those who serve: its start-up must not delay their answers."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from gapless.errors import GaplessError
from gapless.linux import priority
from gapless.switch.systemd.systemctl import Systemctl

LOOK_EVERY = 0.02  # seconds until systemd has forked its process, and that has a session of its own


@contextlib.contextmanager
def booting_behind(ctl: Systemctl, unit: str) -> Iterator[None]:
    """Lower the priority of the unit's process from its first moments to the end of the block.

    A setting of the unit would do for the start, but the app could not undo it itself once it serves, and a restart by
    systemd would have it again. Should we be killed, the candidate is stopped or retired anyway.
    """
    over = threading.Event()
    lowered: list[int] = []

    def lower() -> None:
        with contextlib.suppress(GaplessError):  # systemd is away: then the start itself says so
            while not over.wait(LOOK_EVERY):
                pid = int(ctl.show(["MainPID"], unit)[0]["MainPID"])
                # First it is systemd's own code in systemd's session: from version 255 on a program, systemd-executor,
                # that on a busy host takes a while to come to setsid(2).
                if pid and priority.lower(pid):
                    lowered.append(pid)
                    return

    thread = threading.Thread(target=lower, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        for pid in lowered:
            priority.restore(pid)
