"""A page that shows a verdict: one self-contained HTML file."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from gapless.errors import GaplessError
from gapless.prove import timeline
from gapless.prove.kinds import Result
from gapless.prove.timeline import Phase
from gapless.prove.verdict import Verdict, Windowed, windowed

__all__ = ["Phase", "headline", "render", "write"]


def headline(verdict: Verdict) -> str:
    """The verdict in a few words, without a full stop."""
    if verdict.requests == 0:
        return "Nothing was sent"
    delayed = f"{verdict.delayed:,} delayed" if verdict.delayed else ""
    if verdict.lost:
        return ", ".join(filter(None, (f"{verdict.lost:,} of {verdict.requests:,} requests lost", delayed)))
    if delayed:
        return f"No request lost, {delayed}"
    return "No request lost" + (", none delayed" if verdict.max_latency_seconds is not None else "")


def render(result: Result, verdict: Verdict, phases: Sequence[Phase] = (), title: str = "Proof of a deploy") -> str:
    """The page as HTML that needs nothing else: no script, no font, no file; light or dark as the reader's screen.

    Above some thousands of requests the timeline shows a selection that keeps every loss and the slowest.
    """
    return (
        _environment()
        .get_template("report.html")
        .render(
            title=title,
            headline=headline(verdict),
            verdict=verdict,
            rate=verdict.requests / max(verdict.ended_at - verdict.started_at, 0.001),
            phases=[(phase, windowed(result.samples, [(phase.start, phase.end)])) for phase in phases],
            deploy=_deploy(result, phases),
            graph=timeline.draw(result, phases, verdict.max_latency_seconds),
            shape=timeline,
        )
    )


def write(path: Path, html: str) -> None:
    """Put the page at the path, whole or not at all; raises GaplessError."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with open(handle, "w", encoding="utf-8") as file:  # noqa: PTH123  (a descriptor)
                file.write(html)
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)  # noqa: PTH108
            raise
    except OSError as error:
        cause = error.strerror or str(error)
        raise GaplessError("write the report", str(path), cause, "choose another path") from error


def _deploy(result: Result, phases: Sequence[Phase]) -> Windowed | None:
    if not phases:
        return None
    return windowed(result.samples, [(phase.start, phase.end) for phase in phases])


def _ms(seconds: float) -> str:
    milliseconds = seconds * 1000
    return f"{milliseconds:,.0f}" if milliseconds >= 100 else f"{milliseconds:.1f}"


def _utc(moment: float, pattern: str = "%Y-%m-%d %H:%M:%S UTC") -> str:
    return datetime.fromtimestamp(moment, UTC).strftime(pattern)


def _clock(moment: float) -> str:
    return _utc(moment, "%H:%M:%S.%f")[:-3]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("gapless", "templates"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(ms=_ms, utc=_utc, clock=_clock, count=lambda number: f"{number:,}")
    return environment
