"""What a plan of waves costs and saves, by the code that plans them: how long a deploy takes, and how many hosts run a
release that is bad before it is found out. For 10, 100 and 1,000 hosts, which nobody has here: a simulation.

Times and failures are those that `make fleet` measured on real hosts (bench/fleet.json). Writes docs/fleet-plans.svg
and a table into docs/fleets.md.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import random
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.__main__ import HERE, put_between
from bench.fleet_picture import Dot, Panel, draw
from gapless import span
from gapless.fleet.play import AT_ONCE
from gapless.fleet.waves import plan

DOCS = HERE.parent / "docs"
MEASURED = HERE / "fleet.json"
SIZES = (10, 100, 1000)
WATCH = 60.0  # seconds for which each host watches its new release
TIMES, BAD = 20, 4000  # deploys of a good release that are simulated, and of a bad one
# How many hosts show that the release is bad, in the time of a watch: all; those with some kind of visitor; few.
SHARES = {"every host": 1.0, "one host in ten": 0.1, "one in a hundred": 0.01}
DRAWN = "one host in ten"
PLANS: dict[str, Sequence[int | str]] = {
    '["100%"]': ["100%"],
    '[1, "100%"]': [1, "100%"],
    '[1, "10%", "100%"]': [1, "10%", "100%"],
    '[1, "10%", "50%", "100%"]': [1, "10%", "50%", "100%"],
    '[1, "1%", "10%", "50%", "100%"]': [1, "1%", "10%", "50%", "100%"],
    '["10%", "20%", … "100%"]': [f"{share}%" for share in range(10, 101, 10)],
    "[1, 2, 3, …]": range(1, max(SIZES) + 1),
}


@dataclass(frozen=True)
class Measured:
    """What was seen on real hosts, in seconds.

    `start`: of a deploy, before the first host begins. `order`: what the laptop itself is busy with for each host.
    `reach`: of one SSH connection. `hosts`: of each deploy on a host. Of all these, `failed` by no fault of a release.
    """

    start: float
    order: float
    reach: float
    hosts: Sequence[float]
    failed: int

    @property
    def failing(self) -> float:
        """The most hosts in which a deploy fails by itself, with 95 % confidence: the rule of three."""
        return (self.failed or 3) / len(self.hosts)


@dataclass(frozen=True)
class Outcome:
    """What a plan means for so many hosts: seconds of a good deploy, and hosts that ran a bad one.

    Of these the mean and the 95th percentile, by how many of all hosts show that it is bad.
    """

    plan: str
    waves: int
    seconds: float
    ran: dict[str, tuple[float, float]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.fleet_plans", description=__doc__)
    parser.add_argument("-n", "--dry-run", action="store_true", help="print the table; write nothing")
    options = parser.parse_args()
    measured = Measured(**json.loads(MEASURED.read_text())["simulation"])
    found = {size: [*outcomes(size, measured)] for size in SIZES}
    print(text := report(found, measured))
    if not options.dry_run:
        (DOCS / "fleet-plans.svg").write_text(draw([panel(size, rows) for size, rows in found.items()]))
        put_between(DOCS / "fleets.md", "fleet-plans", text)


def outcomes(size: int, measured: Measured) -> Iterator[Outcome]:
    """What each plan means for so many hosts; the same each time."""
    hosts = [f"web{number}" for number in range(size)]
    for name, waves in PLANS.items():
        chance = random.Random(name)  # noqa: S311 -- no secret
        planned = plan(hosts, waves)
        seconds = statistics.median(took(planned, measured, chance) for _ in range(TIMES))
        ran = {kind: _spread([exposed(planned, share, chance) for _ in range(BAD)]) for kind, share in SHARES.items()}
        yield Outcome(name, len(planned), seconds, ran)


def took(planned: Sequence[Sequence[str]], measured: Measured, chance: random.Random) -> float:
    """Seconds of the deploy of a good release: the hosts of a wave are worked on side by side, AT_ONCE of them."""
    whole = measured.start
    for wave in planned:
        free = [0.0] * min(AT_ONCE, len(wave))
        for number in range(len(wave)):
            begin = max(heapq.heappop(free), number * measured.order)
            heapq.heappush(free, begin + chance.choice(measured.hosts) + WATCH)
        # Reached anew, and told to keep it, at the end of the wave.
        whole += max(free) + 2 * (measured.reach * math.ceil(len(wave) / AT_ONCE) + measured.order * len(wave))
    return whole


def exposed(planned: Sequence[Sequence[str]], share: float, chance: random.Random) -> int:
    """Hosts that have run a bad release when a host of a wave shows it, as this share of all hosts would."""
    ran = 0
    for wave in planned:
        ran += len(wave)
        if chance.random() < 1 - (1 - share) ** len(wave):
            break
    return ran


def _spread(counts: Sequence[int]) -> tuple[float, float]:
    return statistics.mean(counts), sorted(counts)[int(len(counts) * 0.95)]


def panel(size: int, rows: Sequence[Outcome]) -> Panel:
    """The picture of a number of hosts."""
    dots = [Dot(row.plan, row.seconds / 60, *row.ran[DRAWN]) for row in rows]
    return Panel(f"{size:,} hosts", dots)


def report(found: dict[int, list[Outcome]], measured: Measured) -> str:
    """The figures as Markdown."""
    lines = [
        f"Simulated from what `make fleet` measured on six real hosts: a deploy takes a host "
        f"{statistics.median(measured.hosts):.1f} s (median of {len(measured.hosts)}), the laptop "
        f"{measured.start:.1f} s to begin and {measured.order * 1000:.0f} ms of its processors for each host, "
        f"{AT_ONCE} of them side by side; each watches its new release for {WATCH:.0f} s. A bad release shows itself "
        "in a watch on every host, on one in ten, or on one in a hundred; the last three columns are how many hosts "
        "ran it until then (mean; in 19 of 20 cases at most). `python -m bench.fleet_plans` makes table and picture.",
        "",
        f"| hosts | waves | | a good release takes | {' | '.join(f'bad, shown by {kind}' for kind in SHARES)} |",
        f"|{' --- |' * (4 + len(SHARES))}",
    ]
    for size, rows in found.items():
        for row in rows:
            ran = [f"{mean:,.0f} (≤ {most:,.0f})" for mean, most in row.ran.values()]
            lines.append(f"| {size:,} | `{row.plan}` | {row.waves:,} | {_time(row.seconds)} | {' | '.join(ran)} |")
    stopped = ", ".join(f"{1 - 0.999**size:.0%} at {size:,}" for size in SIZES)
    lines += [
        "",
        f"Of {len(measured.hosts)} deploys on hosts {measured.failed} failed by no fault of the release, so such "
        f"failures are below {measured.failing:.1%}. If it were one in a thousand (a full disk, say), then with "
        f"`max_failures = 0` this chance stops a good release: {stopped}.",
    ]
    return "\n".join(lines) + "\n"


def _time(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else span.show(seconds)


if __name__ == "__main__":
    main()
