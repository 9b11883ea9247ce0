"""Turn back from a release that nobody confirms: what a unit runs, `python -m gapless.cli.turn_back NAME [--user]`."""

from __future__ import annotations

import os
import sys

from gapless.release import lock, unconfirmed
from gapless.release.clock import CLOCK
from gapless.switch.systemd.guard import SystemdGuard
from gapless.switch.systemd.home import SystemdHome

LOOK_EVERY = 0.25  # seconds


def main(name: str, *options: str) -> int:
    """Wait until it is decided, or do that; the exit status: 1 is to be tried again."""
    os.umask(0o022)  # what is written then is for everybody to read
    home = SystemdHome(name, user="--user" in options)
    while record := unconfirmed.read(home.root):
        left = record.left(CLOCK)
        if left or lock.holder(home.root):  # it may still be confirmed; or somebody is at it
            CLOCK.sleep(min(left or LOOK_EVERY, LOOK_EVERY))
        elif not _decide(home):
            return 1
    SystemdGuard(home).end()
    return 0


def _decide(home: SystemdHome) -> bool:
    """Turn back, unless somebody else is at it; whether that went well."""
    # It starts in the middle of a deploy, which mostly is confirmed: only who has to turn back pays for what does it.
    from gapless.cli.output import Output
    from gapless.cli.progress import Progress
    from gapless.errors import GaplessError
    from gapless.release.attempt import Target
    from gapless.release.deploy import locked
    from gapless.release.hold import BUSY
    from gapless.switch.systemd.app import SystemdApp

    output, app = Output(), SystemdApp(home)
    target = Target(app.home, app.manager, Progress(output), jobs=app.jobs, inherited=app.inherited, guard=app.guard)
    try:
        with locked(target, "turn back", deploys=False):
            pass
    except GaplessError as error:
        if error.status != BUSY:
            output.error(error)
            return False
    return True


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
