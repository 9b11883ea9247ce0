"""The report in a real browser, as whoever is sent it sees it: on a desk and on a telephone, by day and by night."""

from __future__ import annotations

import platform
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gapless.prove.kinds import Failure, Kind, Result, Sample
from gapless.prove.phases import Phase, Role
from gapless.prove.report import About, render
from gapless.prove.verdict import judge
from gapless.version import VERSION
from tests.browser import Browser, browsing

pytestmark = pytest.mark.timeout(600)  # the first one may wait for Chromium's installation
START = 1_795_000_000.0
OLD, NEW = "20261118T094104Z-9b1e7aa", "20261118T110638Z-5f0c1d2"
URL = "https://shop.example/items?page=2"
VIEWS = [(1280, False), (1280, True), (400, False), (400, True)]
# Of all texts that are seen: those that leave the window or their drawing, that are too small, that lie upon another in
# the drawing, or whose contrast (WCAG 2) with what is behind them is too low.
FAULTS = """(() => {
    const light = (css) => {
        const [r, g, b] = css.match(/[\\d.]+/g).slice(0, 3).map((c) => c / 255)
            .map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (one) => {
        const color = getComputedStyle(one).backgroundColor;
        return color.endsWith(", 0)") && one.parentElement ? behind(one.parentElement) : color;
    };
    const faults = [], drawn = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const one = node.parentElement, range = document.createRange(), text = node.data.trim();
        if (!text || !one.checkVisibility()) continue;
        range.selectNodeContents(node);
        const box = range.getBoundingClientRect(), svg = one.closest("svg"), style = getComputedStyle(one);
        const frame = svg ? svg.getBoundingClientRect() : { left: 0, right: innerWidth, top: 0, bottom: Infinity };
        const fault = (what) => faults.push(`${what}: ${text.slice(0, 60)}`);
        if (box.left < frame.left - 1 || box.right > frame.right + 1) fault("beside");
        if (svg && (box.top < frame.top - 1 || box.bottom > frame.bottom + 1)) fault("above or below");
        if (box.height < 11) fault(`only ${box.height} high`);
        const [more, less] = [light(svg ? style.fill : style.color), light(behind(svg ? svg.parentElement : one))]
            .sort((a, b) => b - a);
        if ((more + 0.05) / (less + 0.05) < 4.5) fault("too pale");
        if (!svg) continue;
        for (const [other, name] of drawn)
            if (box.left < other.right - 1 && other.left < box.right - 1
                && box.top < other.bottom - 3 && other.top < box.bottom - 3) fault(`upon ${name}`);
        drawn.push([box, text]);
    }
    return faults;
})()"""
# How much wider than its window each part of the page is, the page itself first.
WIDER = """[document.documentElement, ...document.querySelectorAll(".scroll")]
    .map((one) => one.scrollWidth - one.clientWidth)"""


def _samples(kinds: list[Kind], seconds: float, rate: float, takes_over: float) -> list[Sample]:
    chance = random.Random(20_261_118)  # noqa: S311 -- the same page each time
    return [
        Sample(
            kinds[number % len(kinds)],
            at := START + number / rate,
            chance.lognormvariate(-6, 0.4) + (0.05 if kinds[number % len(kinds)] is Kind.LONG else 0.0),
            200,
            None,
            NEW if at - START > takes_over + chance.random() / 10 else OLD,
            asked=f"GET {URL}",
        )
        for number in range(int(seconds * rate))
    ]


def proof() -> str:
    """Make what `deploy --prove` leaves: nothing was lost."""
    moments = (("baseline", 0.0), ("starting", 1.0), ("proven", 2.411), ("committed", 2.415), ("watching", 2.43))
    roles = [Role.BASELINE, *[Role.SWITCHOVER] * 3, Role.OTHER]
    ends = [*(at for _, at in moments[1:]), 5.4]
    phases = [
        Phase(name, START + at, START + end, "", role)
        for (name, at), end, role in zip(moments, ends, roles, strict=True)
    ]
    found = Result(_samples([Kind.NEW, Kind.GET, Kind.PAUSE], 5.4, 50, 2.4), START, START + 5.4)
    about = About("shop", URL, 50, f"release {NEW}", [f"{NEW} took over from {OLD}"])
    return render(found, judge(found), about, phases)


def losing() -> str:
    """Make what a probe beside three deploys leaves, of which the second broke the app."""
    samples = _samples(list(Kind), 60, 120, 16)
    for number, sample in enumerate(samples):
        if 30 < sample.scheduled_at - START < 32 and number % 3 == 0:
            detail = "status 502 to https://shop.example/sorry?why=nobody-is-there-at-the-moment"
            lost = Sample(
                sample.kind, sample.scheduled_at, 0.02, 502, Failure.STATUS, NEW, "", detail, asked=sample.asked
            )
            samples[number] = lost
    phases = [
        Phase(name, START + deploy * 15 + at, START + deploy * 15 + at + took, NEW, role)
        for deploy in (1, 2, 3)
        for name, at, took, role in (
            ("install", 0.0, 0.012, Role.OTHER),
            ("seal", 0.02, 0.04, Role.OTHER),
            ("switch over", 0.07, 1.6, Role.SWITCHOVER),
            ("prune", 1.68, 0.003, Role.OTHER),
        )
    ]
    found = Result(samples, START, START + 60, {1012: 12})
    return render(found, judge(found, 0.05), About("shop", URL, 120), phases)


def hostile() -> str:
    """Make what is left of a probe of a server that says what it likes, as long and as often as it likes."""
    evil = "<script>document.title='taken'</script><img src=https://evil.example onerror=alert(1)>"
    samples = [
        Sample(Kind.GET, START + number / 100, 0.01, 200, None, f"{number}{evil}"[:100], asked=f"GET {URL}")
        for number in range(2000)
    ]
    samples += [
        Sample(Kind.POST, START + 10 + number, 12_345.6, 0, Failure.MALFORMED, evil * 2, "", evil * 99, asked=evil * 99)
        for number in range(9)
    ]
    phases = [
        Phase(f"{evil} {number}", START + number / 10, START + number / 10 + 0.1, evil, Role.SWITCHOVER)
        for number in range(60)
    ]
    found = Result(samples, START, START + 20)
    return render(found, judge(found, 0.005), About(evil, f"https://{'x' * 500}/", 100, evil, [evil * 9]), phases)


PAGES = {"proof": proof, "losing": losing, "hostile": hostile}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all pages."""
    with browsing(tmp_path_factory.mktemp("browser")) as one:
        yield one


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The URL of each page, as a file that somebody was sent."""
    folder = tmp_path_factory.mktemp("pages")
    for name, make in PAGES.items():
        (folder / f"{name}.html").write_text(make(), encoding="utf-8")
    return {name: f"file://{folder}/{name}.html" for name in PAGES}


def texts(browser: Browser, selector: str) -> list[str]:
    """What is read in the elements that a selector names."""
    found: list[Any] = browser.value(f"[...document.querySelectorAll('{selector}')].map((one) => one.innerText)")
    return [str(one).strip() for one in found]


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(("width", "dark"), VIEWS)
def test_everything_is_there_to_read(
    browser: Browser, pages: dict[str, str], name: str, width: int, dark: bool, tmp_path: Path
) -> None:
    """No text is cut off, too small, too pale or upon another; and nothing runs or is fetched that a server named."""
    browser.problems.clear()
    browser.show(pages[name], width, dark)
    browser.screenshot(tmp_path / f"{name}-{width}-{'dark' if dark else 'light'}.png")
    assert browser.value("innerWidth") == width
    assert browser.value(FAULTS) == []
    assert set(browser.value(WIDER)) == {0}
    red = int(browser.value("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]"))
    assert red < 50 if dark else red > 200
    assert browser.requests == [pages[name]]
    assert browser.problems == []
    assert browser.value("document.scripts.length + document.images.length") == 0


@pytest.mark.parametrize("width", [400, 1280])
def test_a_proof_says_who_what_when_and_how_well(browser: Browser, pages: dict[str, str], width: int) -> None:
    """Who is sent the page alone knows what was proven: where, by whom, what happened, against which measure."""
    browser.show(pages["proof"], width)
    assert texts(browser, "h1") == ["No request lost"]
    seen = " ".join(texts(browser, "body"))
    for said in (
        *("shop", f"release {NEW}", URL, platform.node(), f"gapless {VERSION}", "2026-11-18"),
        f"{NEW} took over from {OLD}.",
        "In the switchover (1.4 s, 72 requests) the slowest answer took ",
        "in the baseline before (50 requests) ",
        "270 requests without a loss: the loss rate is below 1.1 %",
        "a new connection for each GET",
    ):
        assert said in seen
    rows = [one.split("\t") for one in texts(browser, "tr")]
    assert next(one for one in rows if one[0].strip() == "proven")[3:] == ["–", "–", "–"]
    baseline = next(one for one in rows if one[0].strip() == "baseline")
    assert baseline[1:3] + baseline[4:6] == ["50", "0", "–", "–"], "a p99 of fifty requests"
    assert len(texts(browser, "svg.wide text" if width > 400 else "svg.narrow text")) > 10


def test_a_loss_is_what_is_seen_first(browser: Browser, pages: dict[str, str]) -> None:
    """On a telephone as well: how many, how, when, in which phase, and each with what its server said."""
    browser.show(pages["losing"], 400)
    assert texts(browser, "h1") == ["79 of 7,200 requests lost, 800 delayed"]
    story = texts(browser, ".story")[0]
    assert story == "Lost: 79 with status 502; the first at 11:07:10.045 UTC in the phase “seal”."
    assert browser.value("document.querySelector('h1').getBoundingClientRect().bottom < 200")
    losses = texts(browser, ".losses .detail")
    assert "nobody-is-there-at-the-moment" in losses[0]
    assert texts(browser, "summary") == ["69 more"]
    assert "".join(losses[10:]) == "", "they are folded"
    browser.value("document.querySelector('summary').click()")
    assert len(list(filter(None, texts(browser, ".losses .detail")))) == 79


def test_what_is_wider_than_the_narrowest_window_shows_that_it_goes_on(browser: Browser, pages: dict[str, str]) -> None:
    """Where a table has to be scrolled after all, a shadow lies on the edge that it goes on behind."""
    browser.show(pages["losing"], 240)
    assert browser.value(WIDER)[0] == 0
    assert max(browser.value(WIDER)[1:]) > 0
    assert browser.value("getComputedStyle(document.querySelector('.scroll')).backgroundImage").count("gradient") == 4
