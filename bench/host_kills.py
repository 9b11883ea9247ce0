"""Kill deployers, candidates, live instances and the power of a real systemd host in mid-deploy, under load; as root.

python -m bench.host_kills --count 200 --reboots 10
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from pathlib import Path

from tests.host.host import Host, install_requirements
from tests.support import get

from bench.kills import BOOT, Outcome, note_phase, repaired
from bench.on_host import OnHost
from bench.switchovers import RATE
from gapless.demo.compare import Measured, mixed, weigh
from gapless.errors import GaplessError
from gapless.prove.background import load
from gapless.prove.kinds import Failure, Result, Sample
from gapless.prove.workload import Workload
from gapless.switch.manager import Role

PATIENCE = 60.0  # seconds until something answers again, a boot of the app included
BROKEN = {Failure.RESET, Failure.CLOSED, Failure.TRUNCATED}  # how the connections of a killed process end
SEEN = 0.2  # seconds until the clients, who have one thread, have seen that their connections are gone


class Victim(StrEnum):
    """What is killed while a deploy is under way."""

    DEPLOYER = "deployer"
    CANDIDATE = "candidate"
    LIVE = "live instance"
    POWER = "power"


@dataclass
class HostOutcome(Outcome):
    """The same on a host: what was killed, and when (Unix seconds) it took connections with it."""

    victims: Counter[Victim] = field(default_factory=Counter)
    absent: int = 0  # times at which there was no candidate to kill
    instances: list[tuple[float, float]] = field(default_factory=list)
    power: list[tuple[float, float]] = field(default_factory=list)
    full: list[tuple[float, float]] = field(default_factory=list)  # when the disk was, and the app could not write

    def since(self, moment: float) -> float:
        """Seconds from the last kill of an instance or the power before a moment; infinite when there was none."""
        return min(
            (moment - start for start, _ in self.instances + self.power if start <= moment), default=float("inf")
        )

    def excuses(self, sample: Sample, plan: Workload) -> bool:
        """Whether the request was lost in the hands of what was killed, or the app had no room to write it."""
        began = sample.scheduled_at - plan.lead_seconds(sample.kind)

        def under_way(windows: list[tuple[float, float]]) -> bool:
            return any(began <= end + SEEN and sample.ended_at >= start for start, end in windows)

        killed = sample.failure in BROKEN and under_way(self.instances)
        no_room = sample.status == HTTPStatus.INTERNAL_SERVER_ERROR and bool(sample.id) and under_way(self.full)
        return sample.failure is not None and (killed or no_room or under_way(self.power))


class Soak:
    """One host, and what becomes of it."""

    def __init__(self, host: Host, way: OnHost, seed: int) -> None:
        self.host = host
        self.way = way
        self.plan = mixed(way.url, RATE / 2)
        self.outcome = HostOutcome()
        self.dice = random.Random(seed)  # noqa: S311 -- moments, not secrets
        self.longest = 0.0  # seconds of a deploy

    def run(self, count: int, reboots: int) -> tuple[HostOutcome, Measured, int]:
        """What came of it, what was measured, and how many requests were in the hands of the killed."""
        self.way.start()
        began = time.monotonic()
        self.way.deploy()
        self.longest = (time.monotonic() - began) * 1.1
        results = []
        for boot in range(reboots + 1):  # the power goes at the end of each but the last
            until = count * (boot + 1) // (reboots + 1)
            results.append(self.host.inside(lambda: asyncio.run(self._boot(until, cut=boot < reboots))))  # noqa: B023 -- called at once
            if boot < reboots:
                self.host.boot()
                self.way.rebooted()
                self.host.inside(lambda: self._judge(f"{Victim.POWER} {boot + 1}"))  # noqa: B023
        self.way.stop()
        samples = [sample for result in results for sample in result.samples]
        kept = [sample for sample in samples if not self.outcome.excuses(sample, self.plan)]
        whole = Result(kept, results[0].started_at, results[-1].ended_at)
        return self.outcome, weigh("host kills", whole, [], self.way.ledger), len(samples) - len(kept)

    async def _boot(self, until: int, *, cut: bool) -> Result:
        """Kill under load until so many were killed in all; then the power, if it is to be."""
        async with load(self.plan) as running:
            while self.outcome.kills < until:
                victim = self.dice.choice([Victim.DEPLOYER, Victim.CANDIDATE, Victim.LIVE])
                await asyncio.to_thread(self._strike, victim, self.dice.uniform(0, self.longest))
                print(f"\r{self.outcome.kills}", end="", flush=True)
            cut_at = 0.0
            while cut and not cut_at:
                cut_at = await asyncio.to_thread(self._cut, self.dice.uniform(0, self.longest))
        if cut:
            self.outcome.power.append((cut_at, time.time()))
        return running.result

    def _strike(self, victim: Victim, after: float) -> None:
        with self.way.deploying() as deployer:
            if not self._goes_on(deployer, after):
                return
            killed = self._kill(victim, deployer)
            deployer.communicate()  # the deploy of a killed instance ends by itself
        if not killed:
            self.outcome.absent += 1
            return
        self.outcome.kills += 1
        self.outcome.victims[victim] += 1
        self._judge(f"kill {self.outcome.kills}: the {victim}, {after:.3f} s into a deploy")

    def _goes_on(self, deployer: subprocess.Popen[str], after: float) -> bool:
        """Whether the deploy is still under way after so many seconds."""
        try:
            deployer.wait(after)
        except subprocess.TimeoutExpired:
            return True
        self.outcome.finished_before += 1
        return False

    def _kill(self, victim: Victim, deployer: subprocess.Popen[str]) -> bool:
        if victim is Victim.DEPLOYER:
            deployer.kill()
            return True
        unit = self.way.unit_of(Role.LIVE if victim is Victim.LIVE else Role.CANDIDATE)
        began = time.time()
        kill = ["systemctl", "kill", "--kill-whom=main", "--signal=SIGKILL", unit]
        if not unit or self.host.run(*kill, check=False).returncode:
            return False
        self.outcome.instances.append((began, time.time()))
        return True

    def _cut(self, after: float) -> float:
        """The moment at which the power went; 0 when the deploy had ended before."""
        with self.way.deploying() as deployer:
            if not self._goes_on(deployer, after):
                return 0.0
            self.outcome.victims[Victim.POWER] += 1
            moment = time.time()
            self.host.kill_power()
            deployer.communicate()
        return moment

    def _judge(self, what: str) -> None:
        """The service answers, `gapless status` says who does, the socket is the same, and the next deploy works."""
        before = len(self.outcome.wrong)
        try:
            self._tells_the_truth()
            self.way.same_socket()
            note_phase(self.way, self.outcome)
            began = time.monotonic()
            repaired(self.way, self.outcome)
            self.longest = time.monotonic() - began  # it varies with what else the machine does
            self._tells_the_truth()
        except (GaplessError, OSError) as error:
            self.outcome.wrong.append(f"{error}")
        self.outcome.wrong[before:] = [f"{what}: {one}" for one in self.outcome.wrong[before:]]

    def _tells_the_truth(self) -> None:
        """Raises GaplessError unless the live instance that `gapless status` names answers in public."""
        deadline = time.monotonic() + PATIENCE
        while (done := self.way.gapless("status", "--json")).returncode:
            if time.monotonic() > deadline:
                raise GaplessError("serve", "the app", f"nothing does after {PATIENCE:g} s: {done.stdout}{done.stderr}")
        status = json.loads(done.stdout)
        named = [one["release"] for one in status["instances"] if one["role"] == Role.LIVE and one["ready"]]
        if named != [status["current"]]:
            raise GaplessError("tell", "what serves", f"live: {named}, current: {status['current']}")
        answered = ""
        while answered != named[0]:  # until the next command an unfinished deploy may have left two that accept
            if time.monotonic() > deadline:
                raise GaplessError("tell", "what serves", f"it says {named[0]}, and {answered} answers")
            _, headers, _ = get((self.host.address, self.way.port), "/", PATIENCE)
            answered = headers["gapless-release"]
            if answered not in [one["release"] for one in status["instances"]]:
                raise GaplessError("tell", "what serves", f"{answered} answers, of which it says nothing")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.host_kills", description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--reboots", type=int, default=10, help="power cuts in mid-deploy, beside the kills")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))  # noqa: S311 -- printed, to run it again
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    install_requirements()
    with tempfile.TemporaryDirectory(prefix="gapless-kills-") as folder, Host() as host:
        way = OnHost(host, Path(folder, "app"), BOOT, linger=2)
        outcome, measured, excused = Soak(host, way, options.seed).run(options.count, options.reboots)
    print(f"\rkilled: {', '.join(f'{count} × {victim}' for victim, count in outcome.victims.items())}")
    print(f"{outcome.finished_before} deploys were faster, {outcome.absent} had no candidate at the moment")
    print(f"interrupted {dict(outcome.phases)}")
    print(f"{measured.verdict.bound}; {excused} more were in the hands of what was killed")
    print(f"{measured.acknowledged} POSTs acknowledged, {len(measured.wrong)} not once in the ledger")
    for line in outcome.wrong:
        print(line)
    for one in measured.verdict.losses:
        print(
            f"{one.kind} {one.failure} {one.detail}, {outcome.since(one.ended_at):.3f} s after an instance was killed"
        )
    sys.exit(bool(outcome.wrong) or not measured.ok)


if __name__ == "__main__":
    main()
