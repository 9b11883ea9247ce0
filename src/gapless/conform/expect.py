"""What cases expect of a response, of a release that ends, and of traffic over a handover."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from gapless.conform.case import NotApplicable, check
from gapless.conform.manager import ENDS, Manager
from gapless.conform.started import Started
from gapless.conform.visitor import Lost, Response

BODY = b"x" * 1000
IDLE = 0.2  # seconds by which a server has seen that a connection is idle, or gone
LATER = 1.0  # seconds after SIGTERM: well within every budget


def good(response: Response, body: bytes = b"ok") -> Response:
    """A response as the app gives it; raises Failed."""
    check(response.status == 200, f"status {response.status}: {response.body[:80]!r}")
    check(response.body == body, f"{len(response.body)} bytes of body, not the {len(body)} that the app gave")
    return response


def ends(old: Started) -> str:
    """Hold that a release ends within its budgets, and is killed by nothing but our SIGTERM."""
    status = old.ended(ENDS)
    check(status is not None, f"the old release still runs {ENDS:g} s after SIGTERM")
    check(status in (0, -15, 143), f"the old release ended with status {status}: {old.last_words}")
    return f"the old release ended with status {status}"


def needs_keep_alive(manager: Manager) -> None:
    if not manager.facts.keeps:
        raise NotApplicable("every response says Connection: close")


class Traffic:
    """Visitors that go on, each in a thread, until the block ends; counts what they lost."""

    def __init__(self, visit: Callable[[], object], count: int) -> None:
        self.requests = 0
        self.lost: list[str] = []
        self._visit = visit
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._go_on) for _ in range(count)]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        time.sleep(0.2)
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(0.2)
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _go_on(self) -> None:
        while not self._stop.is_set():
            try:
                self._visit()
            except (Lost, OSError) as lost:
                self.lost.append(str(lost))
            self.requests += 1
            self._stop.wait(0.005)

    def none_lost(self) -> str:
        """The evidence that nothing was lost; raises Failed."""
        first = self.lost[0] if self.lost else ""
        check(not self.lost, f"{len(self.lost)} of {self.requests} lost, the first: {first}")
        return f"0 of {self.requests} lost"


def fine(response: Response) -> Response:
    if response.status != 200:
        raise Lost(f"status {response.status}")
    return response
