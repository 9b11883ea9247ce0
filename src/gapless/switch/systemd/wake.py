"""The end of a pause, by systemd's clock: a timer that resumes an instance, whoever paused it being dead, or late.

As a program, `python -m gapless.switch.systemd.wake PRIVATE PID STARTED`, it is what the timer runs.
"""

from __future__ import annotations

import sys

from gapless.linux import procfs
from gapless.switch import orders
from gapless.switch.manager import Instance
from gapless.switch.systemd.home import SystemdHome


def arm(home: SystemdHome, instance: Instance, seconds: float) -> None:
    """Have systemd resume the instance in so many `seconds`. Raises GaplessError.

    The timer is gone once it is over, and with a boot: no instance outlives that.
    """
    disarm(home)
    try:
        started = procfs.started(instance.pid)
    except OSError:
        return  # it is gone, and the next one serves
    argv = [sys.executable, "-P", "-m", __name__, instance.private, str(instance.pid), str(started)]
    home.ctl.run_later(seconds, _unit(home, "service"), *argv)


def disarm(home: SystemdHome) -> None:
    """Stop the timer, and what it may just run; none is no error."""
    home.ctl.attempt("stop", _unit(home, "timer"), _unit(home, "service"))


def _unit(home: SystemdHome, kind: str) -> str:
    return home.job("wake").removesuffix("service") + kind


def main(private: str, pid: str, started: str) -> int:
    """Resume the instance if it is still that process; the exit status: 0, or 1 when it did not obey."""
    return 0 if not procfs.lives(int(pid), int(started)) or orders.resume(private) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
