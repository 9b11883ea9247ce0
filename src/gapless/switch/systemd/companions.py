"""What runs beside the server: processes and timers are those of the current release alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping

from gapless.config.settings import Config
from gapless.linux import signals
from gapless.switch.manager import Companion
from gapless.switch.systemd import units
from gapless.switch.systemd.home import SystemdHome, release_of
from gapless.switch.systemd.instances import moment
from gapless.switch.systemd.systemctl import GONE

SOON = 0.5  # seconds: a timer that is due so soon is handed over afterwards
YOUNG = 60.0  # seconds: a process that was started again within them may be so again
SHOWN = (
    *("Id", "ActiveState", "SubState", "Result", "NRestarts", "ExecMainCode", "ExecMainStatus"),
    "ActiveEnterTimestamp",
)
REHEARSAL = "rehearsal"


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
    stale = {unit["Id"] for unit in shown if unit["ActiveState"] not in GONE}
    if ending := stale - timers:
        home.ctl.do("stop", "--no-block", *sorted(ending))
    _hand_over(home, stale & timers, [name for name in wanted if name in timers], config)
    if wanted:
        home.ctl.do("start", "--no-block", *wanted)


def _hand_over(home: SystemdHome, stale: Collection[str], wanted: Collection[str], config: Config) -> None:
    """Stop the timers `stale` and start those `wanted`: what is due meanwhile runs once."""
    if not stale:
        return
    if any(0 < due - time.time() < SOON for due in _due(home, stale).values()):
        time.sleep(SOON + 0.1)
    due = _due(home, stale)
    home.ctl.do("stop", *stale)
    began = time.time()
    for name in wanted:
        if config.timers[home.what(name)].persistent and home.stamps.is_dir():
            (home.stamps / f"stamp-{name}").touch()  # what it missed, another release did: it is not to do it again
    if wanted:
        home.ctl.do("start", *wanted)
    for name in wanted:
        if began <= due.get(home.what(name), 0.0) <= time.time():  # neither of them had it
            home.ctl.do("start", "--no-block", name.removesuffix("timer") + "service")


def _due(home: SystemdHome, timers: Collection[str]) -> dict[str, float]:
    """When each is due next, in Unix time, by what it is of; 0 is never."""
    shown = home.ctl.show(["Id", "NextElapseUSecRealtime"], *timers)
    return {home.what(unit["Id"]): moment(unit["NextElapseUSecRealtime"]) for unit in shown}


def look(home: SystemdHome, current: str | None) -> list[Companion]:
    """The processes and timers of the `current` release, and those of others that ended badly."""
    timers, services = _written(home, "timer"), _written(home, "service")
    names = sorted(name for name in services | timers if home.what(name) != REHEARSAL)
    shown = {unit["Id"]: unit for unit in home.ctl.show(SHOWN, *names)} if names else {}
    found = []
    for name in names:
        if name not in shown or name.removesuffix("service") + "timer" in timers:
            continue  # a timer's job: it is told of with its timer
        release = release_of(home.instance(name.removesuffix(".timer")))
        kind = "timer" if name in timers else "process"
        if kind == "timer":
            job = name.removesuffix("timer") + "service"
            trouble = _of_timer(shown[name], shown.get(job, {}), current=release == current)
        else:
            job = name
            trouble = _of_process(shown[name], current=release == current)
        if release == current or trouble:
            restarts = int(shown[name].get("NRestarts") or 0)
            state = shown[name]["ActiveState"]
            found.append(Companion(home.what(name), kind, release, job, state, restarts, trouble))
    return found


def _of_process(unit: Mapping[str, str], *, current: bool) -> str:
    restarts = int(unit.get("NRestarts") or 0)
    if not current:
        killed = unit["ActiveState"] == "failed" and unit["Result"] == "timeout"
        return "was killed at the end of its drain" if killed else ""
    if unit["ActiveState"] == "failed" or unit["SubState"] == "auto-restart":
        return f"{_ended(unit)}, and was started again {restarts} times" if restarts else _ended(unit)
    if restarts and time.time() - moment(unit["ActiveEnterTimestamp"]) < YOUNG:
        return f"was started again {restarts} times, the last time a moment ago"
    return ""


def _of_timer(unit: Mapping[str, str], job: Mapping[str, str], *, current: bool) -> str:
    if current and unit["ActiveState"] in GONE:
        return "is not active"
    return f"{_ended(job)} when it ran last" if job.get("ActiveState") == "failed" else ""


def _ended(unit: Mapping[str, str]) -> str:
    """How its last main process ended, in words."""
    if unit.get("Result") == "oom-kill":
        return "was killed: out of memory"
    status = int(unit.get("ExecMainStatus") or 0)
    if unit.get("ExecMainCode") in {"2", "3"}:
        return f"was killed by {signals.name(status)}"
    return f"exited with status {status}"


def _written(home: SystemdHome, kind: str) -> set[str]:
    return {path.name for path in home.units.glob(home.other("*", "*", kind))}
