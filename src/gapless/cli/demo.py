"""gapless demo"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gapless.cli.options import speaking
from gapless.cli.output import Output

if TYPE_CHECKING:
    from gapless.demo.compare import Measured
    from gapless.demo.ways import Way


@click.command()
@click.option("--quick", is_flag=True, help="15 seconds instead of a minute.")
@click.option("--rate", type=click.FloatRange(1, 1000), default=120, show_default=True, help="Requests a second.")
@click.option(
    "--report", type=click.Path(path_type=Path), default="gapless-report.html", show_default=True, help="HTML page."
)
@speaking
@click.pass_obj
def command(output: Output, /, quick: bool, rate: float, report: Path) -> None:
    """New connections, keep-alive GETs and POSTs, connect–pause–send, slow uploads and WebSockets go on while the
    app (boots in a second, keeps a SQLite ledger) is deployed. Exit status 1 if gapless lost anything.
    """
    with tempfile.TemporaryDirectory(prefix="gapless-demo-") as folder:
        ways = three_ways(Path(folder), 0.5 if quick else 1.0)
        measured = [asyncio.run(_show(way, output, rate, quick)) for way in ways]
    output.result({"ways": [document(one) for one in measured]}, "", *table(output, measured))
    for one, path in _write_reports(report, rate, [(way.url, one) for way, one in zip(ways, measured, strict=True)]):
        output.say(f"Report of {one}: {path}")
    if not measured[-1].ok:
        sys.exit(1)


def three_ways(folder: Path, boot: float) -> list[Way]:
    """Plain restart, restart on a held socket, gapless."""
    from gapless.demo.ways import Gapless, HeldRestart, Restart

    uvicorn = [sys.executable, "-m", "uvicorn", "app:app", "--no-access-log"]
    return [
        Restart("plain restart", folder / "a", boot, lambda port, release: [
            *uvicorn, "--port", str(port), "--header", f"gapless-release:{release}"]),
        HeldRestart("restart on a held socket", folder / "b", boot, lambda fd, release: [
            *uvicorn, "--fd", str(fd), "--header", f"gapless-release:{release}"], "Uvicorn running"),
        Gapless("gapless", folder / "c", boot),
    ]  # fmt: skip


async def _show(way: Way, output: Output, rate: float, quick: bool) -> Measured:
    from gapless.demo.compare import measure

    def on_progress(requests: int, lost: int) -> None:
        if sys.stdout.isatty() and not output.quiet and not output.json:
            click.echo(f"\r  {requests:>6,} requests, {lost:>4,} lost", nl=False)

    def on_deploy(number: int) -> None:
        output.say(f"\r  deploy {number} under way{' ' * 20}")

    output.say(f"{way.name}:")
    deploys, gap = (1, 1.0) if quick else (3, 2.0)
    measured = await measure(way, rate=rate, deploys=deploys, gap=gap, on_deploy=on_deploy, on_progress=on_progress)
    output.say(f"\r  {measured.verdict.requests:>6,} requests, {measured.verdict.lost:>4,} lost")
    return measured


def document(one: Measured) -> dict[str, object]:
    """A way in JSON: latencies in milliseconds, `wrong` are acknowledged POSTs not exactly once in the ledger."""
    return {
        "way": one.name,
        "ok": one.ok,
        "requests": one.verdict.requests,
        "lost": one.verdict.lost,
        "deploys": len(one.windows),
        "worst_inside_ms": one.split.inside.max * 1000,
        "p999_outside_ms": one.split.outside.p999 * 1000,
        "acknowledged_posts": one.acknowledged,
        "wrong": list(one.wrong),
    }


def table(output: Output, measured: list[Measured]) -> list[str]:
    """The final table."""
    rows = [
        (
            one.name,
            f"{len(one.windows)}",
            f"{one.verdict.requests:,}",
            f"{one.verdict.lost:,}",
            f"{one.verdict.latency.max * 1000:,.0f} ms",
            f"{one.acknowledged - len(one.wrong):,} of {one.acknowledged:,}",
        )
        for one in measured
    ]
    headings = ("WAY", "DEPLOYS", "REQUESTS", "LOST", "WORST LATENCY", "POSTS IN THE LEDGER")
    return [*output.table(headings, rows), "", f"gapless: {measured[-1].verdict.bound}."]


def _write_reports(path: Path, rate: float, measured: Sequence[tuple[str, Measured]]) -> list[tuple[str, Path]]:
    """A page for each way: gapless's at `path`, the others' beside it."""
    from gapless.prove import report
    from gapless.prove.phases import Phase, Role

    written = []
    for url, one in measured:
        slug = "" if one is measured[-1][1] else "-" + one.name.replace(" ", "-")
        page = path.with_name(f"{path.stem}{slug}{path.suffix}").absolute()
        phases = [
            Phase(f"deploy {n}", start, end, role=Role.SWITCHOVER) for n, (start, end) in enumerate(one.windows, 1)
        ]
        times = f"{len(one.windows)} times" if len(one.windows) > 1 else "once"
        happened = [f"The app was deployed {times} under load, by {one.name}"]
        if one.wrong:
            happened.append(f"{len(one.wrong):,} of {one.acknowledged:,} POSTs are not in its ledger exactly once")
        about = report.About("demo", url, rate, one.name, happened)
        report.write(page, report.render(one.result, one.verdict, about, phases))
        written.append((one.name, page))
    return written
