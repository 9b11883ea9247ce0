"""Kill `gapless deploy` at random moments under load: what served goes on serving, the next deploy repairs.

python -m bench.kills --count 200
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
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench.switchovers import RATE
from gapless.demo.compare import Measured, mixed, weigh
from gapless.demo.ways import Gapless
from gapless.prove.background import load

BOOT = 0.3  # seconds


@dataclass
class Outcome:
    """What came of the kills: in which state the ledger saw each, and what was found wrong afterwards."""

    kills: int = 0
    finished_before: int = 0  # the deploy was faster than the kill
    phases: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class Target(Protocol):
    """An app whose deploys can be killed."""

    def gapless(self, *argv: str) -> subprocess.CompletedProcess[str]: ...

    def deploying(self) -> subprocess.Popen[str]:
        """A deploy that has just begun."""
        ...


class Local(Gapless):
    """Under `gapless run` on this machine."""

    def deploying(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "gapless", "deploy", "-q"]
        null = subprocess.DEVNULL
        return subprocess.Popen(command, cwd=self.folder, env=self.env, stdout=null, stderr=null, text=True)


def kill_one(way: Target, after: float, outcome: Outcome) -> None:
    """Start a deploy, SIGKILL it after so many seconds, and look at what is left."""
    with way.deploying() as deployer:
        try:
            deployer.wait(after)
            outcome.finished_before += 1
        except subprocess.TimeoutExpired:
            deployer.kill()
            outcome.kills += 1
    status = way.gapless("status", "--json")
    if status.returncode:
        outcome.wrong.append(f"after a kill at {after:.3f} s nothing serves: {status.stdout} {status.stderr}")
    note_phase(way, outcome)


def note_phase(way: Target, outcome: Outcome) -> None:
    """Count in which phase the last deploy was interrupted, if it was."""
    last = json.loads(way.gapless("audit", "--json", "--last", "1").stdout)["deploys"][-1]
    if last["outcome"] == "interrupted":
        done = [phase["name"] for phase in last["phases"]]
        outcome.phases[f"after {done[-1]}" if done else "before or in install"] += 1


def repaired(way: Target, outcome: Outcome) -> None:
    """The next command works, and leaves one live instance and no candidate."""
    deploy = way.gapless("deploy", "-q")
    if deploy.returncode:
        outcome.wrong.append(f"the deploy after a kill failed: {deploy.stderr}")
        return
    roles = Counter(one["role"] for one in json.loads(way.gapless("status", "--json").stdout)["instances"])
    if roles["live"] != 1 or roles["candidate"]:
        outcome.wrong.append(f"after a repair the roles are {dict(roles)}")


async def soak(
    folder: Path, count: int, seed: int, on_kill: Callable[[int], None] = lambda _: None
) -> tuple[Outcome, Measured]:
    """`count` kills; every fifth is followed by a deploy that must repair. Ends what it started."""
    way, outcome, dice = Local("kills", folder, BOOT, linger=2), Outcome(), random.Random(seed)  # noqa: S311 -- moments, not secrets
    try:
        await asyncio.to_thread(way.start)
        began = time.monotonic()
        await asyncio.to_thread(way.deploy)
        longest = (time.monotonic() - began) * 1.1
        async with load(mixed(way.url, RATE / 2)) as running:
            while outcome.kills < count:
                await asyncio.to_thread(kill_one, way, dice.uniform(0, longest), outcome)
                on_kill(outcome.kills)
                if outcome.kills % 5 == 0:
                    await asyncio.to_thread(repaired, way, outcome)
    finally:
        await asyncio.to_thread(way.stop)
    return outcome, weigh("kills", running.result, [], way.ledger)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.kills", description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))  # noqa: S311 -- printed, to run it again
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gapless-kills-") as folder:
        run = soak(Path(folder, "app"), options.count, options.seed, lambda number: print(f"\r{number}", end=""))
        outcome, measured = asyncio.run(run)
    print(f"\rseed {options.seed}: {outcome.kills} kills, {outcome.finished_before} deploys were faster")
    print(f"killed {dict(outcome.phases)}")
    print(f"{measured.verdict.bound}; {measured.acknowledged} POSTs acknowledged, {len(measured.wrong)} not once")
    for line in (*outcome.wrong, *(f"{one.kind} {one.failure} {one.detail}" for one in measured.verdict.losses)):
        print(line)
    sys.exit(bool(outcome.wrong) or not measured.ok)


if __name__ == "__main__":
    main()
