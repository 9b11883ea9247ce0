"""Cases about when a release says that it is ready."""

from __future__ import annotations

import time

from gapless.conform.case import NotApplicable, case, check
from gapless.conform.expect import Traffic, fine
from gapless.conform.manager import Manager
from gapless.conform.started import READY, STARTS, wait_for

BOOT = 1.5  # seconds that the app takes to load here
PROMPT = 0.5  # seconds: who is ready answers within


def needs_ready(manager: Manager) -> None:
    if not manager.facts.notifies:
        raise NotApplicable("it never says READY=1")


@case("1.1", "says READY=1 to $NOTIFY_SOCKET")
def says_ready(manager: Manager) -> str:
    started, within = manager.launch(), manager.facts.seconds + 10
    wait_for(lambda: started.says(READY) or not started.runs, within)
    check(started.says(READY), f"no READY=1 in {within:.1f} s; it notified {[*started.heard]}")
    return f"READY=1 after {started.heard[READY] - started.began:.2f} s"


@case("1.2", "READY=1 comes when the app has loaded: the first answer is prompt", alone=True)
def is_truthful(manager: Manager) -> str:
    needs_ready(manager)
    started = manager.launch(CONFORM_BOOT=f"{BOOT:g}")
    manager.wait_ready(started, manager.address)
    ready = started.heard[READY]
    manager.get()
    took = time.monotonic() - ready
    check(took < PROMPT, f"the first answer came {took:.2f} s after READY=1, of an app that takes {BOOT:g} s to load")
    return f"the first answer came {took * 1000:.0f} ms after READY=1"


@case("1.3", "accepts no connection before READY=1")
def accepts_nothing_early(manager: Manager) -> str:
    needs_ready(manager)
    with manager.visitor() as visitor:
        started = manager.launch(CONFORM_BOOT=f"{BOOT:g}")
        took = wait_for(lambda: manager.waiting() == 0, STARTS)
        early = not started.says(READY) and not wait_for(lambda: started.says(READY), 0.5)
        check(took and not early, "it took a connection off the queue before it was ready")
        check(visitor.get().status == 200, "the connection that waited was not answered")
    return "the connection waited in the kernel, and was answered"


@case("1.4", "an app that fails to load: no READY=1, and the server ends with an error")
def says_no_ready(manager: Manager) -> str:
    started = manager.launch(CONFORM_BROKEN="1")
    status = started.ended(STARTS)
    check(not started.says(READY), "it said READY=1, and the app had not loaded")
    check(status is not None, f"it still runs after {STARTS:g} s: {started.last_words}")
    check(status != 0, "it ended with status 0, as if nothing had failed")
    return f"it ended with status {status}"


@case("1.5", "SIGTERM while the app loads: ends, and takes no connection with it")
def ends_while_it_loads(manager: Manager) -> str:
    old = manager.start()
    with Traffic(lambda: fine(manager.get()), 2) as traffic:
        new = manager.launch(CONFORM_BOOT="6")
        wait_for(lambda: new.says(READY), manager.facts.seconds / 2 + 0.3)  # it is in the middle of it
        at = new.tell()
        ended = new.ended(5)
        seconds = time.monotonic() - at
    check(ended is not None, "it still runs 5 s after SIGTERM")
    check(old.runs, "the old release ended, too")
    return f"it ended after {seconds:.2f} s with status {ended}; {traffic.none_lost()}"
