"""What runs beside the server: processes and timers are those of the current release alone."""

from __future__ import annotations

from collections.abc import Callable, Collection

from gapless.config import Config
from gapless.switch.systemd import units
from gapless.switch.systemd.home import SystemdHome, release_of
from gapless.switch.systemd.systemctl import GONE


def settle(home: SystemdHome, config: Config, release: str, running: Callable[[], Collection[str]]) -> None:
    """Start the missing processes and timers of `release`, and stop what others left; `running` have a server.

    No other release's timer goes on, also while its server stands by; a job that has begun does. A server that drains
    takes its own processes with it (PartOf=); those of one that died before it was told to go are stopped here.
    """
    wanted = units.companions(config, home, release)
    timers, services = _written(home, "timer"), _written(home, "service")
    jobs = {timer.removesuffix("timer") + "service" for timer in timers}
    left = timers - {*wanted}
    if processes := services - jobs - {*wanted}:
        alive = running()
        left |= {name for name in processes if release_of(home.instance(name)) not in alive}
    # Only what runs: systemd may not even be able to read those of a release that it refused.
    shown = home.ctl.show(["Id", "ActiveState"], *sorted(left)) if left else []
    if stale := [unit["Id"] for unit in shown if unit["ActiveState"] not in GONE]:
        home.ctl.do("stop", "--no-block", *stale)
    if wanted:
        home.ctl.do("start", "--no-block", *wanted)


def _written(home: SystemdHome, kind: str) -> set[str]:
    return {path.name for path in home.units.glob(home.other("*", "*", kind))}
