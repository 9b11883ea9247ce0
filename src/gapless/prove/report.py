"""A page that shows a verdict: one self-contained HTML file."""

from __future__ import annotations

import contextlib
import os
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from gapless.errors import GaplessError
from gapless.prove import story
from gapless.prove.frame import NARROW, WIDE
from gapless.prove.kinds import Result, Sample
from gapless.prove.phases import Phase, during, split
from gapless.prove.timeline import draw
from gapless.prove.verdict import Verdict
from gapless.version import VERSION

LONGEST = 300  # characters of what a server said, in a cell
MOST_PHASES = 200  # in the table
AT_ONCE = 10  # losses: the others are there to be unfolded


@dataclass(frozen=True)
class About:
    """What a page is about: the app's `name`, its `url`, the requests a second to it, the occasion, what happened.

    `happened` are sentences, without their full stops.
    """

    name: str
    url: str
    rate: float
    occasion: str = "probe"
    happened: Sequence[str] = ()


def render(result: Result, verdict: Verdict, about: About, phases: Sequence[Phase] = ()) -> str:
    """The page as HTML that needs nothing else: no script, no font, no file; light or dark as the reader's screen.

    Above some thousands of requests the timeline shows a selection that keeps every loss and the slowest.
    """
    compared = split(result.samples, phases)
    return (
        _environment()
        .get_template("report.html")
        .render(
            about=about,
            headline=story.headline(verdict),
            sentences=[*map(story.sentence, filter(None, about.happened)), *story.sentences(verdict, compared, phases)],
            tiles=story.tiles(verdict, compared),
            verdict=verdict,
            compared=compared,
            phases=[
                (release, list(group))
                for release, group in groupby(
                    during(result.samples, phases[:MOST_PHASES]), key=lambda found: found[0].release
                )
            ],
            more_phases=max(len(phases) - MOST_PHASES, 0),
            graphs=[draw(result, phases, verdict.max_latency_seconds, frame) for frame in (WIDE, NARROW)],
            host=platform.node(),
            version=VERSION,
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


def _clean(value: object) -> object:
    """What a server or a file's name says, without what turns writing around, hides, or is no text at all."""
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return "".join(one if one.isprintable() else " " if one.isspace() else "\N{REPLACEMENT CHARACTER}" for one in value)


def _short(text: str, longest: int = LONGEST) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _batches(losses: Sequence[Sample]) -> list[Sequence[Sample]]:
    return [lot for lot in (losses[:AT_ONCE], losses[AT_ONCE:]) if lot]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("gapless", "templates"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_clean,
    )
    environment.filters.update(
        ms=story.ms,
        utc=story.utc,
        clock=story.clock,
        count=lambda number: f"{number:,}",
        short=_short,
        batches=_batches,
    )
    return environment
