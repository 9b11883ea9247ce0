"""Let a candidate boot behind those who serve: its start-up must not delay their answers."""

from __future__ import annotations

import contextlib
import os

LOWER = 10  # nice: about a tenth of the weight, so that it still gets on when all processors are busy


def lower(pid: int) -> bool:
    """Put the session that `pid` leads behind the others, where this can be undone without being root.

    False if it leads none. A process that was forked a moment ago may still be in its parent's session: that one would
    be put behind in its place, and `restore` would not find it.
    """
    if not _leads(pid):
        return False
    autogroup(pid, LOWER)
    if os.geteuid() == 0:
        _nice(pid, LOWER)
    return True


def restore(pid: int) -> None:
    """Undo `lower`."""
    autogroup(pid, 0)
    if os.geteuid() == 0:
        _nice(pid, 0)


def autogroup(pid: int, nice: int) -> None:
    """Weigh the session of `pid`: the kernel schedules sessions as groups, sched(7), unless a cgroup does."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/autogroup", "w") as file:  # noqa: PTH123 -- see listen.py
        file.write(str(nice))


def _leads(pid: int) -> bool:
    try:
        return os.getsid(pid) == pid
    except OSError:  # it has ended
        return False


def _nice(pid: int, nice: int) -> None:
    # Where there are no autogroups (a container, a service with a CPU weight); only root may undo it.
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PGRP, pid, nice)
