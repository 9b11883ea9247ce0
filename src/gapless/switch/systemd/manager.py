"""The systemd manager: the held socket is a socket unit, each instance a service unit, the commit a drop-in."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from gapless import programs
from gapless.config.settings import Config
from gapless.errors import GaplessError
from gapless.linux.disk import refusal
from gapless.linux.files import clear_way, replace
from gapless.switch import held, orders
from gapless.switch.manager import Companion, Instance, Readiness, Role, Started
from gapless.switch.systemd import companions, execution, journal, rehearsal, units, wake
from gapless.switch.systemd.beside import move_on
from gapless.switch.systemd.boot_priority import booting_behind
from gapless.switch.systemd.closing import close
from gapless.switch.systemd.deadman import stopped_with_us
from gapless.switch.systemd.first import FirstCandidate
from gapless.switch.systemd.home import SystemdHome, release_of
from gapless.switch.systemd.instances import SHOWN, ending, read_instance
from gapless.switch.systemd.systemctl import GONE
from gapless.switch.systemd.usable import STALE, unusable

LEAVE = 3.0  # seconds from SIGTERM to SIGKILL for an instance that was never ready


class SystemdManager:
    """Implements Manager with the units of `home`; a release's units are written when it is started.

    Every method raises GaplessError when systemd cannot be reached or refuses.
    """

    def __init__(self, home: SystemdHome) -> None:
        self.home = home
        self.ctl = home.ctl

    @property
    def commit(self) -> Path:
        """The drop-in that names the current release."""
        return self.home.commit

    def start(self, release: str, timeout: float) -> Started:
        """Start a candidate and wait at most `timeout` seconds for its readiness; before, rehearse it if it is to be.

        The rehearsal has a time of its own, `[check] timeout`, or a slow boot would leave none for the start.

        Should the caller die meanwhile, systemd is told to stop it.
        """
        config = self.home.config(release)
        instances = self.instances()
        if live := next((one for one in instances if one.release == release and one.role is Role.LIVE), None):
            raise GaplessError("start", release, f"it is the current release and runs already (pid {live.pid})")
        return self._boot(config, release, timeout, instances)

    def renew(self, release: str, timeout: float, *, opening: bool = False) -> None:
        """Replace what runs of the current `release` by another instance of it, as this gapless starts one.

        With `opening` it is on the socket as the socket's unit is now. Raises GaplessError when it does not become
        ready: what serves goes on, and a socket that was to be opened is shut, by which whoever opens it again knows.
        """
        instances = self.instances()
        shut = (self.home.socket,) if opening else ()
        started = self._boot(self.home.config(release), release, timeout, instances, shut)
        if started.instance is None or started.readiness is not Readiness.READY:
            if started.instance:
                self.stop(started.instance)
            if opening:
                close(self.home)
            operation, what = ("open", self.home.socket) if opening else ("start", f"{release} again")
            cause = f"{started.cause or started.readiness}; what serves goes on"
            hint = f"all its output: `gapless logs {release}`"
            raise GaplessError(operation, what, cause, hint, details=started.log)
        self.point(release)
        for one in self.instances():
            if one.id != started.instance.id and one.role is not Role.RETIRING:
                self.retire(one)

    def _boot(
        self, config: Config, release: str, timeout: float, instances: Sequence[Instance], shut: Sequence[str] = ()
    ) -> Started:
        """Start another instance; the units `shut` end with it should we die meanwhile."""
        try:
            rehearsal.clear(self.home)
            problem, log = units.unfit(config, self.home, release), tuple[str, ...]()
            if not problem and config.rehearses:
                problem, log = rehearsal.rehearse(self.home, config, release)
            if problem:
                return Started(None, Readiness.EXITED, problem, log)
            instance = self._prepare(config, release, {one.unit for one in instances})
        except OSError as error:
            raise refusal("write", f"the units of {release}", error) from error
        unit = self.home.unit(instance)
        if first := self._first(unit):
            deadman = stopped_with_us(self.ctl, self.home.socket, unit, remove=[first.file], named=first.named)
        else:
            deadman = stopped_with_us(self.ctl, *shut, unit)
        with self._closed_again(instance), deadman:
            # Now: after the commit they could not be started, nor anything told to retire.
            names = [*units.of_release(config, self.home, instance)]
            if problem := unusable(self.home, config, names, self.instances):
                self.stop(self._found(instance))
                return Started(None, Readiness.EXITED, problem)
            started = self._start(instance, timeout)
            if first and started.instance and started.readiness is not Readiness.READY:
                self.stop(started.instance)  # here: should we be killed, the deadman does it
        # Many servers call listen(2) again, with a backlog of their own.
        if started.instance and started.readiness is Readiness.READY:
            held.restore_in(started.instance.pid, config.addresses)
        return started

    def retire(self, instance: Instance) -> None:
        """Tell an instance to drain, and its processes and timers with it; returns at once."""
        socket, unit = self.ctl.show([*SHOWN, STALE], self.home.socket, instance.unit)
        if self._is_running(unit, instance):
            # A deployer may have been killed right after its commit. Without it, systemd would start this one again.
            if socket[STALE] == "yes":
                self.ctl.do("daemon-reload")
            if current := self.current():
                self._settle_beside(current)
            self._stop(instance.unit)

    def stand_by(self, instance: Instance) -> bool:
        """Have an instance accept no more, but stay: as it is asked on its private socket."""
        return orders.stand_by(instance.private)

    def resume(self, instance: Instance) -> bool:
        """Have an instance that stands by accept again."""
        return orders.resume(instance.private)

    def pause(self, instance: Instance) -> bool:
        """Have an instance stand by, and let its idle connections wait."""
        return orders.pause(instance.private)

    def arm(self, instance: Instance, seconds: float) -> None:
        """Have systemd resume an instance in so many `seconds`."""
        wake.arm(self.home, instance, seconds)

    def disarm(self) -> None:
        """Have systemd forget that."""
        wake.disarm(self.home)

    def stop(self, instance: Instance) -> None:
        """End an instance and wait until it is gone: SIGTERM, and SIGKILL after 3 s."""
        unit = instance.unit
        if first := self._first(unit):
            first.close()  # also when it ended by itself: a connection would start it again
        if self._runs(instance):
            self.ctl.end(unit, within=LEAVE)
        self.ctl.attempt("reset-failed", unit)  # its deploy failed, and says so: `systemctl --failed` need not
        # Not the file of one that still drains.
        if (first := self._first(unit)) and self.ctl.show(["ActiveState"], unit)[0]["ActiveState"] in GONE:
            first.file.unlink(missing_ok=True)
            self.ctl.do("daemon-reload")

    def instances(self) -> Sequence[Instance]:
        """Every instance that runs, oldest first."""
        current = self.instance()
        found = [
            read_instance(self.home, unit, current) for unit in self._units("*") if unit["ActiveState"] not in GONE
        ]
        return sorted(found, key=lambda one: one.since)

    def companions(self) -> Sequence[Companion]:
        """The processes and timers of the current release, and those of others that ended badly."""
        return companions.look(self.home, self.current())

    def in_use(self) -> Collection[str]:
        """The releases of which any unit or process runs."""
        shown = self.ctl.show(["Id", "ActiveState"], *self.home.patterns)
        alive = {release_of(self.home.instance(one["Id"])) for one in shown if one["ActiveState"] not in GONE}
        return alive | programs.at_work(self.home)

    def tidy(self) -> None:
        """Remove the units of releases that are gone, and of commands whose callers were killed.

        Whoever removes releases knows nothing of units.
        """
        execution.clear(self.home)
        for path, _release in self.home.orphans():
            (self.home.stamps / f"stamp-{path.name}").unlink(missing_ok=True)
            path.unlink(missing_ok=True)

    def point(self, release: str) -> None:
        """Commit: rename the drop-in into place; systemd reads it, and the symlink `current` follows for people.

        Raises OSError when the disk refuses; then nothing changed.
        """
        self.home.release(release)  # it must be there: the next boot starts what the commit names
        config = self.home.config(release)
        ready = [one for one in self.instances() if one.release == release and one.role is not Role.RETIRING]
        instance = self.home.instance(ready[-1].unit) if ready else release
        if not ready:
            self._write(units.of_release(config, self.home, instance))
        replace(self.home.commit, units.commit(config, self.home, instance))
        self.home.candidate.unlink(missing_ok=True)
        # Before anything else that may fail: until it hears of the commit, systemd holds up the old release.
        self.ctl.do("daemon-reload")
        if not ready:  # the commit file was lost for so long that nothing runs, and perhaps nothing listens
            self.ctl.do("start", "--no-block", self.home.socket)
        if not self.home.enabled:  # not before the first commit: a boot would open a port that nobody answers
            self.ctl.do("enable", self.home.socket)
        if ready:
            others = [one for one in self.instances() if one.id != ready[-1].id]
            move_on(ready[-1], others, config.addresses)
        self._settle_beside(release)
        self.home.point(release)

    def current(self) -> str | None:
        """The release that the drop-in names."""
        instance = self.instance()
        return release_of(instance) if instance else None

    def instance(self) -> str | None:
        """The instance that the drop-in names: a release, with a number where it was started beside itself."""
        try:
            text = self.home.commit.read_text("utf-8", "replace")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None
        named = re.search(rf"^Service={self.home.name}@(.+)\.service$", text, re.MULTILINE)
        return named[1] if named else None

    def _prepare(self, config: Config, release: str, taken: Collection[str]) -> str:
        """Write the units of a new instance of `release`; its name: numbered while others of it still drain."""
        self.tidy()
        instance, number = release, 1
        while self.home.unit(instance) in taken:
            number += 1
            instance = f"{release}.{number}"
        self._write(units.of_release(config, self.home, instance))
        if self.current() is None:
            FirstCandidate(self.home, self.home.unit(instance)).name()
        clear_way(Path(self.home.private(instance)))
        return instance

    def _start(self, instance: str, timeout: float) -> Started:
        unit = self.home.unit(instance)
        late, said = False, ""
        try:
            with booting_behind(self.ctl, unit):
                said = self.ctl.attempt("start", unit, timeout=timeout).stderr
        except subprocess.TimeoutExpired:
            late = True
        found = self._units(instance)[0]
        started = read_instance(self.home, found, self.instance())
        if started.ready and started.role is not Role.RETIRING:
            return Started(started, Readiness.READY)
        if late:
            why = f": {found['StatusText']}" if found["StatusText"] else ""
            cause = f"it was not ready within {timeout:g} s{why}"
            return Started(started, Readiness.TIMED_OUT, cause, self._tail(found))
        return Started(started, Readiness.EXITED, ending(found) or said.strip(), self._tail(found))

    def _tail(self, unit: Mapping[str, str]) -> tuple[str, ...]:
        return journal.tail(self.home, unit["InvocationID"]) if unit["InvocationID"] else ()

    def _stop(self, unit: str) -> None:
        # One after the other: in one transaction systemd would order the service's end before the socket's, and
        # before the first commit a connection in between would start it again.
        if first := self._first(unit):
            first.close()
        self.ctl.do("stop", "--no-block", unit)

    def _first(self, unit: str) -> FirstCandidate | None:
        """The first candidate, if `unit` is its: there is no current release, and no other instance serves."""
        if self.current() or any(one.ready and one.unit != unit for one in self.instances()):
            return None
        return FirstCandidate(self.home, unit)

    @contextlib.contextmanager
    def _closed_again(self, instance: str) -> Iterator[None]:
        """Inside the block, an error or Ctrl-C before the first commit closes the socket that the block opened."""
        try:
            yield
        except BaseException:
            if self._first(self.home.unit(instance)):
                self.stop(self._found(instance))
            raise

    def _settle_beside(self, release: str) -> None:
        """Have the processes and timers of the current release run, and no others'."""
        try:
            config = self.home.config(release)
        except GaplessError:  # nobody knows any more which it has: that must not keep another from going, or coming
            return
        companions.settle(self.home, config, release, lambda: {one.release for one in self.instances()})

    def _write(self, texts: Mapping[str, str]) -> None:
        for name, text in texts.items():
            replace(self.home.units / name, text)

    def _units(self, instances: str) -> list[dict[str, str]]:
        """The units that systemd has loaded, by a name or a pattern."""
        return self.ctl.show(SHOWN, self.home.unit(instances))

    def _runs(self, instance: Instance) -> bool:
        return self._is_running(self.ctl.show(SHOWN, instance.unit)[0], instance)

    def _is_running(self, unit: Mapping[str, str], instance: Instance) -> bool:
        """Whether the very instance that is meant still runs: its unit may have been started again since."""
        return unit["ActiveState"] not in GONE and read_instance(self.home, unit, None).id == instance.id

    def _found(self, instance: str) -> Instance:
        """An instance that is started, or was to be."""
        return read_instance(self.home, self._units(instance)[0], None)
