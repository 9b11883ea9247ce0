"""The report page: says what the verdict says, hides no loss, needs nothing else."""

from __future__ import annotations

import platform
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from gapless.errors import GaplessError
from gapless.prove.frame import NARROW, WIDE, Frame
from gapless.prove.kinds import Failure, Kind, Result, Sample
from gapless.prove.phases import Phase, Role
from gapless.prove.report import About, render, write
from gapless.prove.story import headline
from gapless.prove.timeline import draw, thin
from gapless.prove.verdict import judge
from gapless.version import VERSION

START = 1_800_000_000.0
PHASES = (
    Phase("baseline", START, START + 2, "r2", Role.BASELINE),
    Phase("start", START + 2, START + 4, "r2", Role.SWITCHOVER),
    Phase("drain <old>", START + 5, START + 6, "r1"),
)
ABOUT = About("shop", "http://shop.example/", 50, "release r2", ["r2 took over from r1"])


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
    """Checks that tags are closed in order, and collects what a page could load, and what it says."""

    VOID = frozenset({"meta"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.text = ""
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

    def handle_data(self, data: str) -> None:
        self.text += data if not self.open or self.open[-1] != "style" else ""


def test_page_is_whole_and_loads_nothing() -> None:
    """Every tag is closed, and nothing comes from elsewhere."""
    found = result(lost_at=frozenset({300}))
    html = render(found, judge(found, 0.1), ABOUT, PHASES)
    page = _Page(html)
    assert page.open == []
    assert page.loads == []
    assert "url(" not in html
    assert "@import" not in html
    assert "default-src 'none'" in html


def test_page_says_what_the_verdict_says_and_escapes_what_others_wrote() -> None:
    """Headline, releases, phases and losses are on the page; a detail from the network cannot become markup."""
    found = result(lost_at=frozenset({300, 301}))
    about = About("shop", "http://shop.example/?a=<b>", 50, "release r2")
    html = render(found, judge(found, 0.1), about, PHASES)
    assert "2 of 600 requests lost" in html
    assert "?a=&lt;b&gt;" in html
    assert "drain &lt;old&gt;" in html
    assert "&lt;peer&gt; reset" in html
    assert "<peer>" not in html
    assert "<old>" not in html
    assert re.search(r"answered by r1<.*answered by r2<", html, re.DOTALL)


def test_page_says_what_it_is_about() -> None:
    """The app, its address, who asked, with which gapless, and what happened are there for whoever is sent the page."""
    found = result()
    text = _Page(render(found, judge(found), ABOUT, PHASES)).text
    for said in (
        "shop",
        "release r2",
        ABOUT.url,
        platform.node(),
        f"gapless {VERSION}",
        "50 requests/s",
        "R2 took over from r1.",
    ):
        assert said in text


def test_only_the_switchover_is_measured_and_the_baseline_is_the_measure() -> None:
    """An answer that is slow in the baseline, a build, or afterwards is not its; nor is a build the measure."""
    found = result()
    phases = (*PHASES, Phase("build", START + 1.5, START + 1.9))
    for at, latency in ((1.0, 0.2), (1.6, 0.3), (3.0, 0.05), (8.0, 0.9)):
        found.samples.append(Sample(Kind.GET, START + at, latency, 200, None, "r1"))
    text = _Page(render(found, judge(found), ABOUT, phases)).text
    said = (
        "In the switchover (2.0 s, 122 requests) the slowest answer took 50.0 ms; in the baseline before (96 requests)"
    )
    assert f"{said} 200 ms" in text
    assert "50.0 msslowest in the switchover200 msslowest in the baseline" in re.sub(r"\n", "", text)


def test_a_switchover_that_no_request_met_is_proven_nothing_about() -> None:
    """Invariant 8: nothing is made up of nothing: no figure, but a dash and a sentence."""
    found = result(5)
    phases = (Phase("committed", START + 4.5, START + 4.51, "", Role.SWITCHOVER),)
    html = render(found, judge(found), ABOUT, phases)
    assert "No request was under way in the switchover (10 ms), so nothing is proven about it" in html
    row = re.search(r"committed</td>(.*?)</tr>", html)
    assert row
    assert re.sub(r"<[^>]*>", " ", row[1]).split()[-3:] == ["–", "–", "–"]


def test_a_percentile_is_told_of_as_many_requests_as_it_needs() -> None:
    """Of eight requests a p99.9 is but the slowest under another name."""
    few, some, many = (judge(result(count)).latency.told for count in (8, 100, 1000))
    assert [value is None for value in few] == [False, True, True, False]
    assert [value is None for value in some] == [False, False, True, False]
    assert None not in many
    assert judge(result(0)).latency.told == (None, None, None, None)


def test_page_without_phases_bound_or_samples() -> None:
    """The least there can be still makes a page."""
    empty = Result([], START, START, {})
    assert "Nothing was sent" in render(empty, judge(empty), ABOUT)
    found = result()
    assert "No request lost" in render(found, judge(found), ABOUT)


def test_each_loss_is_told_once() -> None:
    """A response that was cut short had a status, too; it is lost as truncated alone."""
    lost = [
        Sample(Kind.GET, START + at, 0.01, status, failure)
        for at, status, failure in (
            *((3, 200, Failure.TRUNCATED), (4, 503, Failure.STATUS), (5, 502, Failure.STATUS)),
            *((5.5, 502, Failure.STATUS), (6, 0, Failure.RESET)),
        )
    ]
    found = Result([*result().samples, *lost], START, START + 10)
    text = _Page(render(found, judge(found), ABOUT, PHASES)).text
    assert "Lost: 1 truncated, 1 reset, 2 with status 502, 1 with status 503; the first at" in text


def test_page_of_nothing_but_losses() -> None:
    """A server that never answered makes a page too."""
    found = result(20, lost_at=frozenset(range(20)))
    html = render(found, judge(found), ABOUT, PHASES)
    assert "20 of 20 requests lost" in html
    assert "Lost: 20 reset; the first at 08:00:00.001 UTC in the phase “baseline”" in html
    assert "None of 5 requests in the switchover was answered" in html
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


@pytest.mark.parametrize("frame", [WIDE, NARROW])
def test_timeline_stays_inside_its_frame(frame: Frame) -> None:
    """No dot, label or band leaves the drawing, whatever the phases and latencies are."""
    found = result(lost_at=frozenset({3}))
    found.samples.append(Sample(Kind.SLOW, START + 11.5, 0.0, 200))  # due after the end, answered early
    phases = (*PHASES, Phase("a phase with a long name at the very end " * 2, START + 12, START + 12.2))
    graph = draw(found, phases, 5.0, frame)
    points = re.findall(r"M([\d.]+) ([\d.]+)h0", "".join([*graph.dots.values(), graph.lost]))
    assert len(points) > 300
    assert all(frame.left <= float(x) <= frame.right for x, _ in points)
    assert all(graph.top <= float(y) <= graph.bottom for _, y in points)
    assert all(band.x + band.width <= frame.right + 1 for band in graph.bands)
    labels = {(band.label.y, band.label.x) for band in graph.bands if band.label}
    assert len(labels) == 4
    assert all(x >= 0 for _, x in labels)


def test_the_size_of_a_page_is_bounded() -> None:
    """Releases, phases and losses without end, and details as long as an app likes, fill no disk and hide no loss."""
    samples = [
        Sample(Kind.GET, START + number / 1000, 0.001 + number % 977 / 1000, 200, None, f"r{number}" * 20)
        for number in range(5000)
    ]
    samples += [
        Sample(Kind.GET, START + 5 + number / 1000, 0.001 * number, 0, Failure.RESET, detail="x" * 100_000)
        for number in range(5000)
    ]
    phases = [
        Phase("switch over", START + number / 300, START + number / 300 + 0.001, f"r{number}", Role.SWITCHOVER)
        for number in range(3000)
    ]
    found = Result(samples, START, START + 10, {})
    html = render(found, judge(found), ABOUT, phases)
    assert len(html) < 600_000
    assert "(the first 50 of 5,000)" in html
    assert "… and by 4,990 more" in html
    assert "And 2,800 phases more." in html
    assert "(the first 100 of 5,000)" in html
    for frame in (WIDE, NARROW):
        drawn = re.findall(r"M([\d.]+) [\d.]+v", draw(found, phases, frame=frame).lost_ticks)
        left = frame.left + (frame.right - frame.left) / 2
        assert all(any(abs(float(x) - at) < 2 for x in drawn) for at in range(int(left) + 2, int(frame.right), 7))


def test_what_turns_writing_around_is_not_written() -> None:
    """Characters that a reader does not see cannot reorder what he does, and what is no text breaks no page."""
    found = result()
    about = About("shop", "http://shop.example/\u202etxt", 50, "release \udcff", ["one\nline"])
    html = render(found, judge(found), about)
    assert "\u202e" not in html
    assert "One line." in html
    html.encode()


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
