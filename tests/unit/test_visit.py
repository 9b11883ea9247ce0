"""A page of each host is asked where a verb is run, and a wrong answer is said."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from gapless.fleet.hosts import Host
from gapless.fleet.parts import Part, State
from gapless.fleet.visit import visit


@contextmanager
def answering(*answers: tuple[int, str]) -> Iterator[str]:
    """The URL of a page on any host, which answers so, one time after the other, with a status and a release."""
    left = [*answers]

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, release = left.pop(0)
            self.send_response(status)
            if release:
                self.send_header("Gapless-Release", release)
            self.end_headers()

        def log_message(self, *_said: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://{{host}}:{server.server_port}/health"
        finally:
            server.shutdown()
            thread.join()


def visited(url: str, patience: float = 0.0) -> Part:
    """A part that has `new`, after the visit."""
    part = Part(Host("127.0.0.1"), state=State.PROVEN, release="new")
    visit([part], url, patience)
    return part


@pytest.mark.parametrize("answers", [[(200, "new")], [(204, "")], [(503, "new"), (200, "old"), (200, "new")]])
def test_a_right_answer(answers: list[tuple[int, str]]) -> None:
    """2xx of the release, or of a server that names none; what is not yet is asked again."""
    with answering(*answers) as url:
        assert visited(url, 20).error is None


@pytest.mark.parametrize(
    ("answer", "cause"), [((503, "new"), "503"), ((404, ""), "404"), ((200, "old"), "release old")]
)
def test_a_wrong_answer(answer: tuple[int, str], cause: str) -> None:
    """Invariant 8: the host, the page and the answer are named."""
    with answering(answer) as url:
        part = visited(url)
    assert part.state is State.FAILED
    assert part.error is not None
    assert cause in part.error.cause
    assert f"127.0.0.1 at http://127.0.0.1:{url.rpartition(':')[2]}" in part.error.object


def test_nobody_answers() -> None:
    """Invariant 8: a port on which nobody listens fails in the kernel's words."""
    with answering() as url:
        pass
    error = visited(url).error
    assert error is not None
    assert "refused" in error.cause
