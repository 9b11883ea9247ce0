"""The report page: says what the verdict says, hides no loss, needs nothing else."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from gapless.errors import GaplessError
from gapless.prove.kinds import Failure, Kind, Result, Sample
from gapless.prove.report import Phase, headline, render, write
from gapless.prove.timeline import draw, thin
from gapless.prove.verdict import judge

START = 1_800_000_000.0
PHASES = (Phase("start", START + 2, START + 4, "r2"), Phase("drain <old>", START + 5, START + 6, "r1"))


def result(count: int = 600, lost_at: frozenset[int] = frozenset()) -> Result:
    kinds = list(Kind)
    samples = [
        Sample(
            kinds[number % len(kinds)],
            START + number * 10 / count,
            0.001 + (number % 7) / 10_000,
            0 if number in lost_at else 200,
            Failure.RESET if number in lost_at else None,
            "r1" if number < count / 2 else "r2",
            detail="<peer> reset" if number in lost_at else "",
        )
        for number in range(count)
    ]
    return Result(samples, START, START + 10, {})


class _Page(HTMLParser):
    """Checks that tags are closed in order, and collects what a page could load."""

    VOID = frozenset({"meta"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.loads += [f"{tag} {name}" for name, _ in attrs if name in {"src", "href", "xlink:href"}]
        if tag in {"script", "link", "img", "iframe"}:
            self.loads.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_is_whole_and_loads_nothing() -> None:
    """Every tag is closed, and nothing comes from elsewhere."""
    found = result(lost_at=frozenset({300}))
    html = render(found, judge(found, 0.1), PHASES, "A <title>")
    page = _Page(html)
    assert page.open == []
    assert page.loads == []
    assert "url(" not in html
    assert "@import" not in html


def test_page_says_what_the_verdict_says_and_escapes_what_others_wrote() -> None:
    """Headline, releases, phases and losses are on the page; a detail from the network cannot become markup."""
    found = result(lost_at=frozenset({300, 301}))
    html = render(found, judge(found, 0.1), PHASES, "A <title>")
    assert "2 of 600 requests lost" in html
    assert "A &lt;title&gt;" in html
    assert "drain &lt;old&gt;" in html
    assert "&lt;peer&gt; reset" in html
    assert "<peer>" not in html
    assert re.search(r"answered by <tspan[^>]*>r1<.*answered by <tspan[^>]*>r2<", html, re.DOTALL)


def test_page_without_phases_bound_or_samples() -> None:
    """The least there can be still makes a page."""
    empty = Result([], START, START, {})
    assert "Nothing was sent" in render(empty, judge(empty))
    found = result()
    assert "No request lost" in render(found, judge(found))


def test_page_of_nothing_but_losses() -> None:
    """A server that never answered makes a page too."""
    found = result(20, lost_at=frozenset(range(20)))
    html = render(found, judge(found), PHASES)
    assert "20 of 20 requests lost" in html
    assert _Page(html).open == []


@pytest.mark.parametrize(
    ("lost", "bound", "says"),
    [
        (frozenset[int](), None, "No request lost"),
        (frozenset[int](), 1.0, "No request lost, none delayed"),
        (frozenset[int](), 0.0015, "No request lost, 6 delayed"),
        (frozenset({6, 7}), 0.0015, "2 of 42 requests lost, 5 delayed"),
    ],
)
def test_headlines(lost: frozenset[int], bound: float | None, says: str) -> None:
    """The headline never calls a delayed run clean."""
    found = result(42, lost)
    assert headline(judge(found, bound)) == says


def test_thinning_keeps_every_loss_and_the_slowest() -> None:
    """Of many samples about the limit is kept: all losses, the slowest overall and of each moment."""
    found = result(20_000, lost_at=frozenset(range(5000, 20_000, 1000)))
    spike = Sample(Kind.GET, START + 3.3, 0.9, 200, None, "r1")
    samples = [*found.samples, spike]
    kept = thin(samples, found.started_at, found.ended_at, 3000)
    assert 1500 < len(kept) <= 3100
    assert {id(one) for one in samples if one.failure} <= {id(one) for one in kept}
    assert spike in kept
    slots = {int((one.scheduled_at - START) * 10) for one in kept}
    assert slots == set(range(100)), "no moment is empty"


def test_timeline_stays_inside_its_frame() -> None:
    """No dot, label or band leaves the drawing, whatever the phases and latencies are."""
    found = result(lost_at=frozenset({3}))
    found.samples.append(Sample(Kind.SLOW, START + 11.5, 0.0, 200))  # due after the end, answered early
    phases = (*PHASES, Phase("a phase with a long name at the very end", START + 12, START + 12.01))
    graph = draw(found, phases, 5.0)
    points = re.findall(r"M([\d.]+) ([\d.]+)h0", "".join([*graph.dots.values(), graph.lost]))
    assert len(points) == len(found.samples)
    assert all(58 <= float(x) <= 990 and graph.top <= float(y) <= graph.bottom for x, y in points)
    assert all(band.x + band.width <= 991 for band in graph.bands)
    assert len({(band.label.y, band.label.x) for band in graph.bands}) == 3


def test_write_replaces_the_file_whole(tmp_path: Path) -> None:
    """Writing leaves the new page under its name and nothing beside it."""
    path = tmp_path / "report.html"
    path.write_text("old", encoding="utf-8")
    write(path, "nëw")
    assert path.read_text(encoding="utf-8") == "nëw"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_write_names_the_path_it_cannot_write(tmp_path: Path) -> None:
    """A folder that does not exist is an error for people, and leaves nothing behind."""
    with pytest.raises(GaplessError, match=r"cannot write the report .*No such file"):
        write(tmp_path / "missing" / "report.html", "")
    (tmp_path / "taken").mkdir()
    with pytest.raises(GaplessError, match="cannot write the report"):
        write(tmp_path / "taken", "")
    assert [entry.name for entry in tmp_path.iterdir()] == ["taken"]
