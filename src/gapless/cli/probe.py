"""gapless probe URL"""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gapless.cli.options import Project, anywhere
from gapless.cli.output import Output
from gapless.cli.types import HEADER, SPAN
from gapless.config import FILE

if TYPE_CHECKING:
    from gapless.prove.kinds import Result, Sample
    from gapless.prove.latency import Latency
    from gapless.prove.phases import Role
    from gapless.prove.verdict import Verdict
    from gapless.prove.workload import Workload
    from gapless.release.ledger import Deploy, Phase

MOST_TOLD = 3  # deploys that are told of one by one


@click.command()
@click.argument("url")
@click.option("--rate", type=click.FloatRange(0.1, 2000), default=50, show_default=True, help="Requests a second.")
@click.option("--duration", type=SPAN, help="Stop after this long; default: go on until Ctrl-C.")
@click.option(
    "--kinds",
    default="new,get,pause",
    show_default=True,
    help="Kinds of requests and their weights: new, get, post, pause, slow, long, page, ws; for example get=3,post.",
)
@click.option(
    "--path", default="", help="Path of new, get, pause and page, below that of the URL; default: the URL's own."
)
@click.option("--post-path", default="", help="Path of post and slow, below that of the URL; default: the URL's own.")
@click.option("--long-path", default="/slow", show_default=True, help="Path of long: a page that takes its time.")
@click.option("--ws-path", default="/ws", show_default=True, help="Path of ws, which must echo.")
@click.option("--assets", is_flag=True, help="Get pages, too, and what they refer to (href, src): kind page.")
@click.option("--assets-within", type=SPAN, default="60s", show_default=True, help="Fetch that no later than this.")
@click.option("--timeout", type=SPAN, default="10s", show_default=True, help="A slower answer is lost.")
@click.option("--max-latency", type=SPAN, help="A slower answer is delayed: exit status 1.")
@click.option("--header", type=HEADER, multiple=True, metavar="NAME=VALUE", help="Send this header. Repeatable.")
@click.option("--report", type=click.Path(path_type=Path), help="Write a self-contained HTML page here.")
@anywhere
@click.pass_obj
def command(
    output: Output,
    /,
    project: Project,
    url: str,
    kinds: str,
    duration: float | None,
    timeout: float,
    max_latency: float | None,
    header: tuple[tuple[str, str], ...],
    report: Path | None,
    rate: float,
    path: str,
    post_path: str,
    long_path: str,
    ws_path: str,
    assets: bool,
    assets_within: float,
) -> None:  # fmt: skip -- one line an option would hide what it does
    """Requests leave on schedule, whatever the server does; none is tried again. post and slow send {"id": …}.
    Exit status 1 if anything was lost or delayed. Ctrl-C ends it with the result so far.
    """
    from gapless.prove.kinds import Kind, parse_kinds
    from gapless.prove.verdict import judge
    from gapless.prove.workload import Workload

    workload = Workload(
        url,
        rate=rate,
        duration_seconds=duration,
        kinds=({Kind.PAGE: 1.0} if assets else {}) | parse_kinds(kinds),
        path=path,
        post_path=post_path,
        long_path=long_path,
        ws_path=ws_path,
        assets_seconds=assets_within,
        timeout_seconds=timeout,
        headers=dict(header),
    )
    until = f"for {duration:g} s" if duration else "until Ctrl-C"
    output.say(f"{rate:g} requests a second to {url}, {until}.")
    result = asyncio.run(watch(workload, output))
    verdict = judge(result, max_latency)
    output.result(verdict.to_json(), *summary(verdict))
    if report:
        write_report(report, workload, result, verdict, project)
        output.say(f"Report: {report}")
    if not verdict.ok:
        sys.exit(1)


async def watch(workload: Workload, output: Output) -> Result:
    """Run the probe; a live line on a terminal. Ctrl-C stops it, a second one does not wait for what is under way."""
    from gapless.prove.probe import probe

    stop, counts = asyncio.Event(), Counter[str]()
    worst = 0.0

    def on_sample(sample: Sample) -> None:
        nonlocal worst
        counts["lost" if sample.failure else "answered"] += 1
        worst = max(worst, sample.latency_seconds)

    async def show() -> None:
        nonlocal worst
        while True:
            await asyncio.sleep(0.5)
            line = f"{counts.total():>8,} requests  {counts['lost']:>5,} lost  worst now {worst * 1000:>7.1f} ms"
            click.echo(f"\r{line[: shutil.get_terminal_size().columns - 1]}", nl=False, err=True)
            worst = 0.0

    running = asyncio.create_task(probe(workload, on_sample, stop))

    def interrupted() -> None:
        if stop.is_set():
            running.cancel()
        stop.set()

    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupted)
    live = asyncio.create_task(show()) if sys.stderr.isatty() and not output.quiet and not output.json else None
    try:
        return await running
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        if live:
            live.cancel()
            click.echo("\r" + " " * 70 + "\r", nl=False, err=True)


def summary(verdict: Verdict) -> list[str]:
    """The verdict as lines."""
    rows = [_row(str(kind), one) for kind, one in verdict.latency_by_kind.items()]
    rows.append(_row("all", verdict.latency))
    lines = Output().table(("LATENCY", "ANSWERED", "P50", "P99", "P99.9", "WORST"), rows)
    for name, count in verdict.lost_by_failure.items():
        lines.append(f"lost: {count:,} {name}")
    for status, count in verdict.lost_by_status.items():
        lines.append(f"lost: {count:,} with status {status}")
    for sample in verdict.losses[:5]:
        when = time.strftime("%H:%M:%S", time.localtime(sample.scheduled_at))
        lines.append(f"  {when} {sample.kind} {sample.failure}: {sample.detail} ({sample.asked})")
    if verdict.delayed:
        lines.append(f"delayed: {verdict.delayed:,} slower than {verdict.max_latency_seconds or 0:g} s")
    if verdict.assets:
        none = "" if verdict.assets.fetched else ": the pages refer to nothing here, so that nothing is proven"
        lines.append(f"files of pages: {verdict.assets.fetched:,} fetched, {verdict.assets.missing:,} missing{none}")
    if verdict.restarted:
        lines.append(f"WebSockets told to come back (1012): {verdict.restarted:,}")
    if verdict.releases:
        seen = ", ".join(f"{one.release} ({one.count:,})" for one in verdict.listed_releases)
        lines.append(f"answered by: {seen}")
    lines.append(("OK: " if verdict.ok else "NOT OK: ") + verdict.bound + ".")
    return lines


def _row(name: str, one: Latency) -> tuple[str, ...]:
    return (name, f"{one.count:,}", *("–" if value is None else f"{value * 1000:.1f} ms" for value in one.told))


def write_report(path: Path, workload: Workload, result: Result, verdict: Verdict, project: Project) -> None:
    """The HTML page, with the deploys that fell into the probe's time, if it ran in their project."""
    from gapless.prove import report
    from gapless.prove.kinds import Kind
    from gapless.prove.phases import Phase as Shown
    from gapless.release.ledger import Ledger

    deploys: Sequence[Deploy] = ()
    inside = (project.directory / FILE).exists()
    if inside:
        deploys = [
            entry
            for entry in Ledger(project.intended.home.root).entries()
            if any(_meets(phase, result) for phase in entry.phases)
        ]
    phases = [
        Shown(phase.name, phase.started, phase.started + phase.seconds, entry.to, _role(phase.name))
        for entry in deploys
        for phase in entry.phases
        if _meets(phase, result)
    ]
    name = project.config.name if inside else workload.authority
    url = workload.link(workload.target(Kind.GET))
    about = report.About(name, url, workload.rate, happened=_happened(deploys) if inside else ())
    report.write(path, report.render(result, verdict, about, phases))


def _meets(phase: Phase, result: Result) -> bool:
    return phase.started + phase.seconds >= result.started_at and phase.started <= result.ended_at


def _role(phase: str) -> Role:
    from gapless.prove.phases import Role
    from gapless.release.ledger import SWITCH, TURN_BACK
    from gapless.release.watch import BASELINE

    return {BASELINE: Role.BASELINE, SWITCH: Role.SWITCHOVER, TURN_BACK: Role.SWITCHOVER}.get(phase, Role.OTHER)


def _happened(deploys: Sequence[Deploy]) -> list[str]:
    """What became of each, in a sentence; of many only how many there were."""
    if not deploys:
        return ["Nothing was deployed meanwhile"]
    if len(deploys) > MOST_TOLD:
        switched = sum(entry.switched for entry in deploys)
        return [f"{len(deploys):,} deploys ran meanwhile: {switched:,} took over, {len(deploys) - switched:,} did not"]
    return [_told(entry) for entry in deploys]


def _told(entry: Deploy) -> str:
    from gapless.release.ledger import Outcome

    if entry.error:
        return entry.error
    if entry.switched:
        took_over = f"{entry.to} took over" + (f" from {entry.from_}" if entry.from_ else "")
        return f"{took_over}; its {entry.verb} was not over yet" if entry.outcome is Outcome.RUNNING else took_over
    return f"The {entry.verb} of {entry.to} is {entry.outcome}"
