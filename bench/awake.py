"""Keep the processors awake: a hypervisor gives an idle one away, and it comes back milliseconds late.

That would be in the figures as latency of the server. So on each processor something runs that gives way to everybody,
as `idle=poll` of kernel-parameters(7) would do on a machine of one's own.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

from gapless import priority

LOWEST = 19  # nice: 1.5 % of the usual weight


@contextlib.contextmanager
def awake() -> Iterator[list[int]]:
    """The pids of what runs on each processor while the context is open."""
    with contextlib.ExitStack() as running:
        pids = []
        for processor in sorted(os.sched_getaffinity(0)):
            argv = [sys.executable, __file__, str(processor)]
            process = running.enter_context(subprocess.Popen(argv, start_new_session=True))
            running.callback(process.kill)
            pids.append(process.pid)
        yield pids


def main() -> None:
    parent = os.getppid()
    os.sched_setaffinity(0, {int(sys.argv[1])})
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    priority.autogroup(os.getpid(), LOWEST)  # the kernel weighs sessions first
    while os.getppid() == parent:  # not longer than the bench, whatever ends it
        for _ in range(100_000):
            pass


if __name__ == "__main__":
    main()
