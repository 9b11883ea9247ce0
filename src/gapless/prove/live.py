"""The probe as the monitor of a deploy: it begins before the switchover, raises an alarm, and leaves a page."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from gapless.errors import GaplessError
from gapless.prove import report
from gapless.prove.background import BackgroundProbe
from gapless.prove.kinds import Failure, Kind, Result, Sample
from gapless.prove.phases import Phase, Role
from gapless.prove.verdict import judge
from gapless.prove.workload import Workload
from gapless.span import show
from gapless.visitor import Visitor

FIRST, MIGRATE = "baseline", "migrate"  # phases, as a deploy calls them
BASELINE = 1.0  # seconds of what is usual, before anything happens


class LiveProbe:
    """Sends the `workload`; a lost request, or an answer slower than the bound (seconds), is its verdict."""

    def __init__(
        self, name: str, workload: Workload, max_latency_seconds: float | None = None, visitor: Visitor | None = None
    ) -> None:
        """`workload` should only read: it goes to the app `name`, in use. `visitor` is whose settings it has."""
        bound = "" if max_latency_seconds is None else f" or takes longer than {show(max_latency_seconds)}"
        self.promise = f"a request to {workload.link(workload.target(Kind.GET))} is lost{bound}"
        self._name = name
        self._workload = workload
        self._visitor = visitor
        self._bound = max_latency_seconds
        self._load: BackgroundProbe | None = None
        self._result: Result | None = None
        self._trouble = ""
        self._began = threading.Event()
        self._phases: list[tuple[str, float]] = []
        self._switchovers = set[str]()  # which of them are

    def begin(self) -> None:
        """Start the probe; returns after a second of it, or at the first alarm. Raises GaplessError."""
        self.enter(FIRST)
        self._load = BackgroundProbe(self._workload, self._count, self._bound)
        patience = time.monotonic() + self._workload.timeout_seconds + 10  # a slow answer is a result, too
        while not self._began.wait(0.05):
            if not self._load.runs or time.monotonic() > patience:
                raise GaplessError("probe", self._workload.url, self.stop() or "it did not begin")
        ends = time.monotonic() + BASELINE
        while not self._load.alarm and time.monotonic() < ends:
            time.sleep(0.05)

    def enter(self, phase: str, *, switches: bool = False) -> None:
        """What happens from now on belongs to `phase`; `switches`: a release takes another's place in it."""
        if self._result is None and not self._trouble:  # nothing was seen of later ones
            self._phases.append((str(phase), time.time()))
            self._switchovers |= {str(phase)} if switches else set()

    def verdict(self) -> str:
        """The first request that was lost or late, with its time and phase; empty while there is none."""
        if self._load is None:
            return ""
        if self._load.alarm:
            return self._told(self._load.alarm)
        if not self._load.runs and self._result is None and not self._trouble:
            self.stop()
        return self._trouble

    def advice(self) -> str:
        """What may be wrong with the question, seen before anything changed, or with the migration; "": nothing."""
        alarm = self._load.alarm if self._load else None
        if alarm is None:
            return ""
        if (phase := self._phase(alarm)) == MIGRATE:
            return "let the migration wait for a lock for a second or two, and try again: `lock_timeout` of PostgreSQL"
        if phase != FIRST:
            return ""
        if alarm.failure is Failure.STATUS:
            if self._visitor:
                return self._visitor.advice(alarm.status, alarm.location)
            perhaps = f", {alarm.location} perhaps" if alarm.location else ""
            return f"let --prove-url name a page that answers 2xx itself{perhaps}"
        if alarm.failure in (None, Failure.TIMEOUT):
            bound = "a longer --max-latency" if alarm.failure is None else "another page, by `[check] path`"
            return f"the app as it is takes that long: try {bound}"
        return "if the app does not answer at that address, name the one where it does: --prove-url"

    def stop(self) -> str:
        """End the probe once the requests under way are answered; the last verdict. Again is no error."""
        if self._load is not None and self._result is None and not self._trouble:
            self.enter("")  # the end of the last one
            try:
                self._result = self._load.stop()
            except GaplessError as error:
                self._trouble = f"{error}, so nothing is proven"
        return self.verdict()

    def write(self, path: Path, happened: str) -> None:
        """Put the page at the path, named after its release; `happened` is what became of that. Raises GaplessError."""
        if self._result is None:
            raise GaplessError("write the report", str(path), self._trouble or "the probe did not run")
        phases = [
            Phase(name, start, end, role=Role.SWITCHOVER if name in self._switchovers else Role.OTHER)
            for (name, start), (_, end) in zip(self._phases, self._phases[1:], strict=False)
        ]
        phases[:1] = [replace(one, role=Role.BASELINE) for one in phases[:1]]
        url = self._workload.link(self._workload.target(Kind.GET))
        about = report.About(self._name, url, self._workload.rate, f"release {path.stem}", [happened])
        report.write(path, report.render(self._result, judge(self._result, self._bound), about, phases))

    def _count(self, requests: int, _lost: int) -> None:
        if requests:
            self._began.set()

    def _moment(self, sample: Sample) -> float:
        broke = sample.failure not in (None, Failure.TIMEOUT)  # else the moment it was due says more
        return sample.ended_at if broke else sample.scheduled_at

    def _phase(self, sample: Sample) -> str:
        moment = self._moment(sample)
        return next((name for name, start in reversed(self._phases) if start <= moment), FIRST)

    def _told(self, sample: Sample) -> str:
        moment, phase = self._moment(sample), self._phase(sample)
        at = f"{datetime.fromtimestamp(moment, UTC):%H:%M:%S.%f}"[:-3]
        what = f"a request ({sample.kind}, {sample.asked})"
        if sample.failure is Failure.STATUS:
            what = f"{what} was lost: {sample.detail}"
        elif sample.failure:
            what = f"{what} was lost: {sample.failure}, {sample.detail}"
        else:
            what = f"{what} took {show(sample.latency_seconds)}"
        return f"{what}, at {at} UTC in the phase `{phase}`"
