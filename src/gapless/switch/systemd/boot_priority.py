"""Let a unit boot behind those who serve: its start-up must not delay their answers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from gapless.errors import GaplessError
from gapless.linux import priority
from gapless.linux.meanwhile import meanwhile
from gapless.switch.systemd.systemctl import Systemctl

LOOK_EVERY = 0.02  # seconds until systemd has forked its process, and that has a session of its own


@contextlib.contextmanager
def booting_behind(ctl: Systemctl, unit: str) -> Iterator[None]:
    """Lower the priority of the unit's process from its first moments to the end of the block.

    A setting of the unit would do for the start, but the app could not undo it itself once it serves, and a restart by
    systemd would have it again. Should we be killed, the candidate is stopped or retired anyway.
    """
    lowered: list[int] = []

    def lower() -> bool:
        """Whether it is done."""
        try:
            pid = int(ctl.show(["MainPID"], unit)[0]["MainPID"])
        except GaplessError:  # systemd is away: then the start itself says so
            return True
        # First it is systemd's own code in systemd's session: from version 255 on a program, systemd-executor, that on
        # a busy host takes a while to come to setsid(2).
        if pid and priority.lower(pid):
            lowered.append(pid)
        return bool(lowered)

    try:
        with meanwhile(lower, LOOK_EVERY):
            yield
    finally:
        for pid in lowered:
            priority.restore(pid)
