"""The open-loop load: every request leaves when it is due, whatever the server does."""

from __future__ import annotations

import asyncio
import gc
import heapq
import itertools
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping

from gapless.prove.assets import references
from gapless.prove.client import Dialer, resolve
from gapless.prove.kinds import Answer, Failure, Kind, RequestLost, Result, Sample, lost_to
from gapless.prove.lanes import HttpLoad
from gapless.prove.websocket import Channel
from gapless.prove.workload import Workload

_Send = Callable[[float, str], Awaitable[Answer]]
GOLDEN = 0.6180339887498949  # multiples of it, modulo 1, are spread evenly, however many there are


async def probe(
    workload: Workload,
    on_sample: Callable[[Sample], None] | None = None,
    stop: asyncio.Event | None = None,
) -> Result:
    """Send the workload and return what became of every request that was due; it never retries one.

    `on_sample` is called in the event loop with each sample as it ends. Ends after the workload's duration or
    once `stop` is set: no more requests leave then, and those under way get up to their time-out to
    finish. A server that never answers is a result (all lost), not an error. Raises GaplessError if the
    host cannot be looked up. Cancelling it drops what is under way and closes every connection.
    """
    address = await resolve(workload)
    run = _Run(workload, address, on_sample)
    usual = gc.get_threshold()
    gc.set_threshold(*usual[:2], 1 << 30)  # a look over all samples so far would show up as latency
    try:
        async with asyncio.TaskGroup() as under_way:
            await run.follow_schedule(under_way, stop or asyncio.Event())
    finally:
        gc.set_threshold(*usual)
        await run.close()
    return run.result()


def schedule(kinds: Mapping[Kind, float], rate: float) -> Iterator[tuple[float, Kind]]:
    """The endless moments (seconds from the start, in order) at which requests of each kind are due.

    Each kind beats evenly at its share of the rate; the phases differ, so that the kinds interleave.
    """
    wanted = [(kind, weight) for kind, weight in kinds.items() if weight > 0]
    total = sum(weight for _, weight in wanted)
    return heapq.merge(
        *(
            _beats(kind, total / (rate * weight), (position + 0.5) / len(wanted))
            for position, (kind, weight) in enumerate(wanted)
        )
    )


def _beats(kind: Kind, interval: float, phase: float) -> Iterator[tuple[float, Kind]]:
    return (((number + phase) * interval, kind) for number in itertools.count())


class _Run:
    """One run of a workload: what is open, what was seen."""

    def __init__(self, workload: Workload, address: str, on_sample: Callable[[Sample], None] | None) -> None:
        self._workload = workload
        self._on_sample = on_sample
        self._loop = asyncio.get_running_loop()
        self._start = self._loop.time()
        # Samples carry unix time, but all is timed by the monotonic clock: a clock step must not bend a latency.
        self._epoch = time.time() - self._start
        self._samples: list[Sample] = []
        self._closes: Counter[int] = Counter()
        self._under_way = 0
        self._dialer = Dialer(workload, address)
        self._http = http = HttpLoad(workload, self._dialer)
        self._asked = {kind: workload.asked(kind) for kind in workload.kinds}
        self._assets = itertools.count(1)
        self._channels = [Channel(workload, address, self._closes) for _ in range(workload.lanes)]
        self._turns = itertools.cycle(self._channels)
        self._senders: dict[Kind, _Send] = {
            Kind.NEW: http.new,
            Kind.GET: http.get,
            Kind.POST: http.post,
            Kind.PAUSE: http.pause,
            Kind.SLOW: http.slow,
            Kind.LONG: http.long,
            Kind.PAGE: self._page,
            Kind.WS: self._message,
        }

    async def follow_schedule(self, under_way: asyncio.TaskGroup, stop: asyncio.Event) -> None:
        workload = self._workload
        self._tasks, self._stop = under_way, stop
        end = self._start + workload.duration_seconds if workload.duration_seconds else float("inf")
        for offset, kind in schedule(workload.kinds, workload.rate):
            due = self._start + offset
            if await _set_before(min(due, end), stop) or due >= end:
                return
            if self._under_way < workload.max_under_way:
                self._under_way += 1
                under_way.create_task(self._request(kind, due))
            else:
                limit = f"{workload.max_under_way} requests were under way"
                self._record(kind, due, "", RequestLost(Failure.OVERRUN, limit), self._loop.time() - due)

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()
        await self._dialer.close()

    def result(self) -> Result:
        started_at = self._epoch + self._start
        return Result(self._samples, started_at, self._epoch + self._loop.time(), dict(self._closes))

    async def _request(self, kind: Kind, due: float) -> None:
        workload = self._workload
        late = self._loop.time() - due
        id_ = uuid.uuid4().hex if kind in (Kind.POST, Kind.SLOW, Kind.WS) else ""
        outcome: Answer | RequestLost
        try:
            async with asyncio.timeout_at(due + workload.lead_seconds(kind) + workload.timeout_seconds):
                outcome = await self._senders[kind](due, id_)
        except RequestLost as lost:
            outcome = lost
        except TimeoutError:
            outcome = RequestLost(Failure.TIMEOUT, f"no complete response in {workload.timeout_seconds:g} s")
        except OSError as error:
            outcome = lost_to(error)
        finally:
            self._under_way -= 1
        self._record(kind, due, id_ if kind is not Kind.WS else "", outcome, late)

    async def _page(self, due: float, id_: str) -> Answer:
        """Get a page, and have what it refers to fetched: most of it soon, as browsers do, the rest a while later."""
        workload = self._workload
        answer = await self._http.page(due, id_)
        hosts = {workload.authority, *(value for name, value in workload.headers.items() if name.lower() == "host")}
        page = workload.link(workload.target(Kind.PAGE))
        for target in references(answer.body, page, hosts):
            wait = workload.assets_seconds * (next(self._assets) * GOLDEN % 1) ** 3
            self._tasks.create_task(self._asset(target, self._loop.time(), wait, answer.release))
        return answer

    async def _asset(self, target: str, since: float, wait: float, release: str) -> None:
        due = since + wait
        if await _set_before(due, self._stop):
            return
        late = self._loop.time() - due
        try:
            async with asyncio.timeout_at(due + self._workload.timeout_seconds):
                outcome: Answer | RequestLost = await self._http.asset(target)
        except RequestLost as lost:
            what = f"{lost.detail}: {target}, {wait:.1f} s after its page" + (f" of {release}" if release else "")
            outcome = RequestLost(lost.failure, what, lost.status, lost.release, lost.location)
        except TimeoutError:
            outcome = RequestLost(Failure.TIMEOUT, f"no complete response in {self._workload.timeout_seconds:g} s")
        except OSError as error:
            outcome = lost_to(error)
        self._record(Kind.ASSET, due, "", outcome, late, wait, asked=f"GET {self._workload.link(target)}")

    async def _message(self, due: float, id_: str) -> Answer:  # noqa: ARG002  (all kinds are called alike)
        return await next(self._turns).ask(id_)

    def _record(
        self,
        kind: Kind,
        due: float,
        id_: str,
        outcome: Answer | RequestLost,
        late: float,
        waited: float = 0.0,
        asked: str = "",
    ) -> None:
        moment = due + self._workload.lead_seconds(kind)
        lost = outcome if isinstance(outcome, RequestLost) else None
        sample = Sample(
            kind=kind,
            scheduled_at=self._epoch + moment,
            # An answer before the last byte of a slow upload was due took no time.
            latency_seconds=max(self._loop.time() - moment, 0.0),
            status=outcome.status,
            failure=lost.failure if lost else None,
            release=outcome.release,
            id=id_,
            detail=lost.detail if lost else "",
            late_seconds=max(late, 0.0),
            resent=outcome.resent if isinstance(outcome, Answer) else 0,
            waited_seconds=waited,
            asked=asked or self._asked[kind],
            location=lost.location if lost else "",
        )
        self._samples.append(sample)
        if self._on_sample is not None:
            self._on_sample(sample)


async def _set_before(moment: float, stop: asyncio.Event) -> bool:
    """Wait for the moment (loop time); True if `stop` was set first."""
    try:
        async with asyncio.timeout_at(moment):
            await stop.wait()
    except TimeoutError:
        return False
    return True
