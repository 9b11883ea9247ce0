"""The example wppackages: its pages in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import Browser, browsing
from tests.examples.wppackages.conftest import Site

pytestmark = pytest.mark.timeout(600)  # the first one may wait for Chromium's installation
PAGES = {
    "search": "/?q=contact",
    "detail": "/wp-plugin/high-tags",
    "empty": "/?q=zzz+yyy&type=theme",
    "missing": "/wp-plugin/none",
    "long": f"/?q={'x' * 200}",
}
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
# The relative luminance of the page's own colours (WCAG 2), and their contrast.
CONTRAST = """(() => {
    const light = (css) => {
        const [r, g, b] = css.match(/[\\d.]+/g).slice(0, 3).map((c) => c / 255)
            .map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const card = getComputedStyle(document.querySelector(".packages li, article, .empty"));
    const texts = "main h1, main h2 a, main p:not(.facts), main dt, main dd, main td, main a";
    const worst = [...document.querySelectorAll(texts)]
        .map((one) => [light(getComputedStyle(one).color), light(card.backgroundColor)].sort((a, b) => b - a))
        .map(([a, b]) => (a + 0.05) / (b + 0.05));
    return Math.min(...worst);
})()"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all pages."""
    with browsing(tmp_path_factory.mktemp("browser")) as one:
        yield one


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [320, 400, 1200])
def test_no_page_is_wider_than_the_window(browser: Browser, served: Site, name: str, width: int) -> None:
    """On a narrow telephone and on a desk: nothing is to be scrolled sideways."""
    browser.show(served.url + PAGES[name], width)
    assert browser.value("innerWidth") == width
    assert browser.value(WIDER) == 0


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", ["search", "detail", "empty"])
def test_everything_can_be_read(browser: Browser, served: Site, name: str, dark: bool, tmp_path: Path) -> None:
    """Light and dark are different pages, and in both the contrast of texts is 4.5 or better (WCAG AA)."""
    browser.show(served.url + PAGES[name], dark=dark)
    browser.screenshot(tmp_path / "page.png")
    red = int(browser.value("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]"))
    assert red < 50 if dark else red > 200
    assert browser.value(CONTRAST) >= 4.5


def test_a_page_loads_nothing_from_elsewhere(browser: Browser, served: Site) -> None:
    """Style sheet and icon come from the service itself, and the browser has nothing to complain of."""
    for name in ("search", "detail", "empty"):
        browser.problems.clear()
        browser.show(served.url + PAGES[name])
        assert [url for url in browser.requests if not url.startswith(f"{served.url}/")] == []
        assert any(".css" in url for url in browser.requests)
        assert browser.problems == []
        assert browser.value("getComputedStyle(document.querySelector('.brand')).display") == "flex"


def test_what_is_searched_leads_to_a_package(browser: Browser, served: Site) -> None:
    """The words stay in their field, the type stays chosen, and the first hit is the best one."""
    browser.show(f"{served.url}/?q=high+tags&type=plugin")
    assert browser.value("document.querySelector('input').value") == "high tags"
    assert browser.value("document.querySelector('select').value") == "plugin"
    browser.show(browser.value("document.querySelector('.packages a').href"))
    assert browser.value("document.querySelector('pre').innerText") == "composer require wp-plugin/high-tags"
    assert browser.value("document.querySelectorAll('tbody tr').length") == 4


def test_pages_follow_each_other(browser: Browser, served: Site) -> None:
    """`Next` leads through all packages, each once, and ends."""
    browser.show(f"{served.url}/")
    seen = []
    while True:
        seen += browser.value("[...document.querySelectorAll('.packages .name')].map((one) => one.innerText)")
        onward = browser.value("document.querySelector('a[rel=next]')?.href")
        if onward is None:
            break
        browser.show(onward)
    assert len(seen) == len(set(seen)) == 67
