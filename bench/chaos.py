"""A seeded walk on a real systemd host under load: deploys, kills, power cuts, damage, habits, advice; as root.

Writes what came of it into the README; the exit status is not 0 when anything was lost, or untrue, or a deploy failed.

python -m bench.chaos --steps 300
"""

from __future__ import annotations

import argparse
import asyncio
import bisect
import contextlib
import json
import random
import shlex
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.host.disk import full
from tests.host.host import Host, install_requirements

from bench.__main__ import into_readme
from bench.host_kills import Soak, Victim
from bench.on_host import PLACE, PROJECT, OnHost
from gapless.demo.compare import Measured, weigh
from gapless.errors import GaplessError
from gapless.prove.background import load
from gapless.prove.kinds import Result
from gapless.switch.manager import Role

BOOT = 0.05  # seconds
IDLE = 1_100  # connections on which nobody says anything: more than select(2) can see
REPAIRS = 4  # advices that are followed after one another
STEPS = 300
LEDGER = "/srv/demo/ledger.jsonl"
DAMAGE = {
    "commit reverted": f"systemctl revert {PLACE.socket}",
    "commit empty": f": > {PLACE.commit}; systemctl daemon-reload",
    "commit rubbish": f"head -c 4096 /dev/urandom > {PLACE.commit}",
    "ledger gone": f"rm -f {LEDGER}",
    "ledger rubbish": f"head -c 4096 /dev/urandom > {LEDGER}",
    "ledger cut": f"truncate -s -200 {LEDGER}",
}
BY_HAND = f"""
mkdir -p /etc/systemd/system/{PLACE.socket}.d
printf '[Socket]\\nBacklog=16\\n' > /etc/systemd/system/{PLACE.socket}.d/mine.conf
systemctl daemon-reload
"""
HABITS = {
    "socket restarted": f"systemctl restart {PLACE.socket}",
    "socket stopped": f"systemctl stop {PLACE.socket}",
    "daemon-reexec": "systemctl daemon-reexec",
    "daemon-reload": "systemctl daemon-reload",
    "socket disabled": f"systemctl disable {PLACE.socket}",
    "drop-in by hand": BY_HAND,
    "journald restarted": "systemctl restart systemd-journald",
    "failures reset": "systemctl reset-failed",
}
READ_ONLY = "mount --bind /etc /etc && mount -o remount,bind,ro /etc"


class Walk(Soak):
    """One host, and the steps of one seed."""

    def __init__(self, host: Host, way: OnHost, seed: int) -> None:
        super().__init__(host, way, seed)
        self.done: list[str] = []
        self.began: list[float] = []  # when each step of `done` began, unix seconds
        self.kinds: dict[str, Callable[[], None]] = {
            "deploy": self.way.deploy,
            "rollback": self._rollback,
            "service restarted": lambda: self._operate("restart"),
            "service stopped": lambda: self._operate("stop"),
            "idle connections": self._idle,
            "read-only /etc": self._read_only,
            "full disk": self._full_disk,
            **{f"kill {victim}": self._kill_of(victim) for victim in Victim if victim is not Victim.POWER},
            **{name: self._shell(text) for name, text in (DAMAGE | HABITS).items()},
        }

    def walk(self, steps: int) -> tuple[Measured, int]:
        """Take so many steps; what was measured, and how many requests were in the hands of what was killed."""
        self.way.start()
        self.longest = 2.0
        plan = [self.dice.choice([*self.kinds, Victim.POWER]) for _ in range(steps)]
        results: list[Result] = []
        while plan or not results:
            cut = Victim.POWER in plan
            until = plan.index(Victim.POWER) if cut else len(plan)
            part, plan = plan[:until], plan[until + 1 :]
            results.append(self.host.inside(lambda: asyncio.run(self._part(part, cut=cut))))  # noqa: B023 -- called at once
            if cut:
                self.host.boot()
                self.way.rebooted()
                self._begin(Victim.POWER)
                self.host.inside(lambda: self._judge(f"{len(self.done)}: {Victim.POWER}"))
        self.way.stop()
        samples = [sample for result in results for sample in result.samples]
        kept = [sample for sample in samples if not self.outcome.excuses(sample, self.plan)]
        whole = Result(kept, results[0].started_at, results[-1].ended_at)
        return weigh("chaos", whole, [], self.way.ledger), len(samples) - len(kept)

    async def _part(self, names: list[str], *, cut: bool) -> Result:
        async with load(self.plan) as running:
            for name in names:
                self._begin(name)
                await asyncio.to_thread(self._step, name)
            cut_at = 0.0
            while cut and not cut_at:
                cut_at = await asyncio.to_thread(self._cut, self.dice.uniform(0, self.longest))
        if cut:
            self.outcome.power.append((cut_at, time.time()))
        return running.result

    def _begin(self, name: str) -> None:
        self.done.append(name)
        self.began.append(time.time())
        print(f"\r{len(self.done)} {name:<24}", end="", flush=True)

    def during(self, began: float, ended: float) -> str:
        """Name the steps that went on from the one moment to the other, each with the seconds since it began."""
        first = max(bisect.bisect(self.began, began) - 1, 0)
        steps = range(first, max(bisect.bisect(self.began, ended), first + 1))
        return ", ".join(f"{number + 1} {self.done[number]} + {ended - self.began[number]:.3f} s" for number in steps)

    def _step(self, name: str) -> None:
        what = f"{len(self.done)}: {name}"
        try:
            self.kinds[name]()
            self._follow_doctor()
            self.way.rebooted()  # a socket that systemd had lost was opened anew
        except (GaplessError, AssertionError) as error:
            self.outcome.wrong.append(f"{what}: {error}")
        self._judge(what)

    def _shell(self, text: str) -> Callable[[], None]:
        def run() -> None:
            self.host.run("sh", "-c", text, check=False)

        return run

    def _kill_of(self, victim: Victim) -> Callable[[], None]:
        return lambda: self._strike(victim, self.dice.uniform(0, self.longest))

    def _rollback(self) -> None:
        done = self.way.gapless("rollback", "-q")
        if done.returncode and "no older good release" not in done.stderr:
            raise GaplessError("roll back", "the demo app", done.stderr.strip())

    def _operate(self, verb: str) -> None:
        """What an operator does to the service, by habit: its socket lets the next visitor start it again."""
        self.host.run(
            "systemctl", verb, self.way.unit_of(Role.LIVE), check=False
        )  # systemd may have it start again first

    def _idle(self) -> None:
        """A deploy while many connect and say nothing."""
        with contextlib.ExitStack() as open_ones:
            for _ in range(IDLE):
                open_ones.enter_context(socket.socket()).connect_ex((self.host.address, self.way.port))
            self.way.deploy()

    def _read_only(self) -> None:
        self.host.run("sh", "-c", READ_ONLY)
        refused = self.way.gapless("deploy", "-q")
        self.host.run("umount", "/etc")
        if "Read-only file system" not in refused.stderr:
            raise GaplessError("refuse", "a deploy", f"/etc was read-only, and it said: {refused.stderr.strip()}")

    def _full_disk(self) -> None:
        """A deploy without any room, and what it advises; the app itself cannot write meanwhile, and says so."""
        began = time.time()
        try:
            with full(self.host):
                refused = self.way.gapless("deploy", "-q")
                if "No space left on device" not in refused.stderr:
                    raise GaplessError(
                        "refuse", "a deploy", f"the disk was full, and it said: {refused.stderr.strip()}"
                    )
                self._follow(refused.stderr.partition("Try:")[2])
                self._tells_the_truth()
        finally:
            self.outcome.full.append((began, time.time()))

    def _follow(self, advice: str) -> None:
        """Run an advice that is a command, or the first command in its text, whatever comes of it."""
        command = advice.split("`")[1] if "`" in advice else advice
        command = command.replace("gapless ", f"{shlex.quote(sys.executable)} -m gapless ", 1)
        self.host.run("sh", "-c", command, cwd=PROJECT, check=False)

    def _follow_doctor(self) -> None:
        """Do blindly what doctor advises, until it finds nothing."""
        for _ in range(REPAIRS):
            found = json.loads(self.way.gapless("doctor", "--json").stdout)["findings"]
            wrong = [
                one for one in found if one["state"] in ("failed", "warning") and one["name"] not in ("clock", "disk")
            ]
            if not wrong:
                return
            self._follow(str(wrong[0]["hint"]))
        raise GaplessError("mend", "what doctor finds", f"it still finds {wrong[0]['name']}: {wrong[0]['what']}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.chaos", description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS, help="fewer than all: writes nothing")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))  # noqa: S311 -- printed, to run it again
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    install_requirements()
    with tempfile.TemporaryDirectory(prefix="gapless-chaos-") as folder, Host() as host:
        walk = Walk(host, OnHost(host, Path(folder, "app"), BOOT, linger=2), options.seed)
        measured, excused = walk.walk(options.steps)
    text = report(walk, options.seed, measured, excused)
    print(f"\r{text}")
    for line in walk.outcome.wrong:
        print(line)
    for one in measured.verdict.losses:
        print(f"{one.kind} {one.failure} {one.detail}, in {walk.during(one.scheduled_at, one.ended_at)}")
    if options.steps >= STEPS:
        into_readme("chaos", text)
    sys.exit(bool(walk.outcome.wrong) or not measured.ok)


def report(walk: Walk, seed: int, measured: Measured, excused: int) -> str:
    """The figures as Markdown."""
    kinds = ", ".join(f"{count} × {name}" for name, count in sorted(Counter(walk.done).items()))
    return (
        f"A walk (seed {seed}) on a systemd host, under the mixed traffic: {len(walk.done)} steps: {kinds}. After "
        "each, doctor's advice is followed blindly, `gapless status` has to be true, and the next deploy has to work: "
        f"{len(walk.outcome.wrong)} times it was not so. {measured.verdict.bound}; {excused} more were in the hands "
        f"of what was killed, or the app had no room to write them. {measured.acknowledged} POSTs acknowledged, "
        f"{len(measured.wrong)} not once in the ledger. `make chaos` prints this.\n"
    )


if __name__ == "__main__":
    main()
