"""Deploys to six real hosts behind a load balancer, under traffic to all, as root: what is lost, and what it takes.

By `gapless deploy` from a laptop, in waves, and beside it as people do it with Ansible, and by fujin. Writes a table
into the README. The exit status is not 0 when gapless lost something; each loss is named.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.host.ansible import program
from tests.host.balancer import Balancer
from tests.host.fleet import DIRECTORY, HOSTS, LINK, Fleet, booted
from tests.host.host import install_requirements

from bench.__main__ import into_readme
from bench.fleet_fujin import FUJIN, ByFujin
from bench.fleet_plans import MEASURED, Measured
from bench.fleet_ways import BOOT, ByGapless, ByPlaybook, FleetWay
from bench.switchovers import KINDS
from gapless.demo.compare import AFTER, mixed, weigh
from gapless.demo.compare import Measured as Traffic
from gapless.prove.background import load
from gapless.prove.kinds import Result
from gapless.prove.verdict import bound

DEPLOYS = 20
OTHERS = 2  # deploys of the others show what they show
ROUNDS = 3  # of the timings
RATE = 60.0  # requests a second
GAP = 1.0  # seconds between a deploy and the next
HEADINGS = ["way", "balancer", "deploys", "lost", "POSTs not exactly once", "worst inside", "p99.9 outside"]
HEADINGS += ["seconds a deploy", "a host", "SSH connections a host", "commands"]


@dataclass(frozen=True)
class Row:
    """What came of a way: each deploy's seconds, and of each deploy and host the SSH connections and commands.

    `on_hosts`: the seconds of each deploy on each host, as far as it knows them; so many more of these `failed`.
    """

    way: str
    front: str
    seconds: Sequence[float]
    traffic: Traffic
    connections: float
    commands: float
    on_hosts: Sequence[float]
    failed: int


@dataclass(frozen=True)
class Times:
    """Medians in seconds, without traffic.

    `ping`: a bare `ansible -m ping`. `reach`: an SSH connection. `there`: a deploy on a host itself. `line`: `gapless
    pack | ssh … gapless deploy -`. `one`, `all`: `gapless deploy` to one host, and to all. `order`: what each host
    costs the laptop's processors.
    """

    ping: float
    reach: float
    there: float
    line: float
    one: float
    all: float
    order: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.fleet", description=__doc__)
    parser.add_argument("--deploys", type=int, default=DEPLOYS, help="by gapless; fewer than all: writes nothing")
    parser.add_argument("--others", type=int, default=OTHERS, help="deploys of each other way")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of the timings; 0: none")
    parser.add_argument("--hosts", type=int, default=HOSTS)
    options = parser.parse_args()
    install_requirements()
    rows = []
    with booted(options.hosts) as fleet, tempfile.TemporaryDirectory(prefix="gapless-fleet-") as folder:
        for number, (front, way) in enumerate(ways(fleet)):
            ours = isinstance(way, ByGapless)
            if count := options.deploys if ours else options.others:
                there = Path(folder, str(number))
                there.mkdir()
                rows.append(run(way, front, count, there))
                print(cells(rows[-1], options.hosts), flush=True)
        times = measure_times(fleet, options.rounds) if options.rounds else None
    text = report(rows, times, options.hosts)
    print(text)
    if times and options.deploys >= DEPLOYS and options.rounds >= ROUNDS:
        into_readme("fleet", text)
        results = {"times": vars(times), "simulation": vars(model(rows, times))}
        MEASURED.write_text(json.dumps(results, indent=2) + "\n")
    if wrong := [one for row in rows if row.way == ByGapless.name for one in unkept(row)]:
        sys.exit("\n".join(wrong))


def ways(fleet: Fleet) -> Iterator[tuple[str, FleetWay]]:
    """Whether the balancer sends a request again that no host took, and the way."""
    yield "sends once", ByGapless(fleet)
    yield "sends once", ByPlaybook(fleet)
    yield "retries", ByPlaybook(fleet)
    yield "sends once", ByFujin(fleet)


def run(way: FleetWay, front: str, count: int, folder: Path) -> Row:
    """Deploy so many times under load."""
    results = list[Result]()
    seconds, windows = list[float](), list[tuple[float, float]]()

    def deploy() -> None:
        began, since = time.time(), time.monotonic()
        way.deploy()
        seconds.append(time.monotonic() - since)
        windows.append((began, time.time() + AFTER))
        print(f"\r{way.name}: {len(seconds)} deploys", end="", flush=True)

    async def under_load(url: str) -> None:
        async with load(mixed(url, RATE, KINDS)) as running:
            for _ in range(count):
                await asyncio.sleep(GAP)
                await asyncio.to_thread(deploy)
            await asyncio.sleep(GAP)
        results.append(running.result)

    way.start()
    with Balancer(way.fleet.lan, way.addresses, retries=front == "retries") as balancer:
        before = way.fleet.ssh()
        balancer.inside(lambda: asyncio.run(under_load(balancer.url)))
        after = way.fleet.ssh()
    print()
    way.stop()
    each = count * len(before)
    connections, commands = (sum(after[name][i] - before[name][i] for name in before) / each for i in (0, 1))
    traffic = weigh(way.name, results[0], windows, way.ledger(folder))
    on_hosts = way.on_hosts(count)
    return Row(way.name, front, seconds, traffic, connections, commands, *on_hosts)


def unkept(row: Row) -> list[str]:
    """Say what was not kept of the promise."""
    found = [f"lost: {loss.kind} {loss.failure} {loss.detail}" for loss in row.traffic.verdict.losses[:5]]
    found += [f"a POST that was acknowledged is not in one ledger exactly once: {one}" for one in row.traffic.wrong]
    if not row.traffic.acknowledged:
        found.append("no POST was acknowledged")
    if (seen := len(row.traffic.verdict.releases)) < len(row.seconds) + 1:
        found.append(f"{seen} of {len(row.seconds) + 1} releases answered")
    return [f"{row.way}: {one}" for one in found]


def measure_times(fleet: Fleet, rounds: int) -> Times:
    """Measure deploys without traffic, each from a laptop or on a host itself, in turn."""
    way = ByGapless(fleet, '["100%"]')
    way.start()
    one = "web1"
    remote = f"{LINK} deploy - -q -C {DIRECTORY}"

    def there() -> None:
        fleet.hosts[one].run(LINK, "deploy", "/root/shop.artifact", "-q", "-C", DIRECTORY)

    calls: dict[str, Callable[[], object]] = {
        "ping": lambda: fleet.run(program("ansible"), "-i", str(fleet.lan.inventory), one, "-m", "ping"),
        "reach": lambda: fleet.run("ssh", one, "true"),
        "there": there,
        "line": lambda: fleet.run("sh", "-c", f"{sys.executable} -m gapless pack | ssh {one} {remote}"),
        "one": lambda: fleet.gapless("deploy", "-q", "-H", one),
        "all": lambda: fleet.gapless("deploy", "-q"),
    }
    found = {name: list[tuple[float, float]]() for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            fleet.commit(settings=way.settings)
            fleet.feed(one, fleet.pack().read_bytes(), "sh", "-c", "cat > /root/shop.artifact")
            fleet.close()  # the connections that Ansible keeps
            began, used = time.monotonic(), _children()
            call()
            found[name].append((time.monotonic() - began, _children() - used))
    way.stop()
    medians = {name: statistics.median(took for took, _ in each) for name, each in found.items()}
    busy = {name: statistics.median(busy for _, busy in each) for name, each in found.items()}
    order = max(busy["all"] - busy["one"], 0) / max(len(fleet.hosts) - 1, 1) / (os.cpu_count() or 1)
    return Times(**medians, order=order)


def _children() -> float:
    """Seconds of the processor that ended children and theirs have had."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def model(rows: Sequence[Row], times: Times) -> Measured:
    """What the simulation of plans takes from all this."""
    ours = [row for row in rows if row.way == ByGapless.name]
    hosts = [seconds for row in ours for seconds in row.on_hosts]
    start = max(times.one - times.there, 0.0)
    return Measured(start, times.order, times.reach, hosts, sum(row.failed for row in ours))


def cells(row: Row, hosts: int) -> str:
    """A line of the table, as HEADINGS say."""
    verdict, split = row.traffic.verdict, row.traffic.split
    median = statistics.median(row.seconds)
    found = (
        row.way,
        row.front,
        f"{len(row.seconds)}",
        f"{verdict.lost} of {verdict.requests:,}",
        f"{len(row.traffic.wrong)} of {row.traffic.acknowledged:,}",
        f"{split.inside.max * 1000:,.0f} ms",
        f"{split.outside.p999 * 1000:,.0f} ms",
        f"{median:.1f} ({min(row.seconds):.1f}–{max(row.seconds):.1f})",
        f"{median / hosts:.1f}",
        f"{row.connections:.1f}",
        f"{row.commands:.1f}",
    )
    return f"| {' | '.join(found)} |"


def report(rows: Sequence[Row], times: Times | None, hosts: int) -> str:
    """The figures as Markdown."""
    lines = [
        f"{hosts} systemd hosts with sshd behind a Caddy, {RATE:g} requests/s of mixed traffic to all of them, an app "
        f"that boots in {BOOT:g} s, from a laptop beside them; all of it on {os.cpu_count()} cores, Linux "
        f"{platform.release().split('-')[0]}, Python {platform.python_version()}. `make fleet` makes this table.",
        "",
        f"| {' | '.join(HEADINGS)} |",
        f"|{' --- |' * len(HEADINGS)}",
        *(cells(row, hosts) for row in rows),
        "",
    ]
    for row in rows:
        if row.way == ByGapless.name:
            lines += [f"`{row.way}`: {bound(row.traffic.verdict.requests, row.traffic.verdict.lost)}.", ""]
    lines += [
        "The playbook restarts uvicorn on host after host; a balancer that sends again what no host took hides most of "
        f"what that loses. fujin {FUJIN} restarts it, too (`systemctl reload-or-restart`), on one host a command, and "
        "goes on to the next without having asked whether it answers. Its way of the internet is not here: `fujin up` "
        "installs uv by a script from there (`uv: command not found`, `Error: Command failed with exit code "
        '127`), and a "python-package" is installed by that (without it `fujin deploy` ends with status 0, and nothing '
        'is installed); so the app is its "binary", a zipapp for the Python that the hosts have. '
        "Not here: Kamal, which has Docker pull an image from a registry, and these hosts have neither.",
        "",
    ]
    if times:
        both = times.ping + times.there
        lines += [
            f"Without traffic (medians): `gapless deploy` to one host {times.one:.1f} s. That is "
            f"{times.one / both:.2f} × the sum of a bare `ansible -m ping` ({times.ping:.1f} s) and the same "
            f"deploy on the host itself ({times.there:.1f} s). `gapless pack | ssh … gapless deploy -` takes "
            f"{times.line:.1f} s, {times.line - times.there:.1f} s over that one. {hosts} hosts in one wave "
            f"take {times.all:.1f} s, {times.all / times.one:.2f} × one host.",
        ]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    main()
