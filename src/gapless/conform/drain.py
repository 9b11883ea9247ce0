"""Cases about how a release ends: when it has nothing to do, and when somebody does not come to an end."""

from __future__ import annotations

import contextlib
import resource
import time

from gapless.conform.case import case, check
from gapless.conform.expect import IDLE, ends, good, needs_keep_alive
from gapless.conform.manager import ENDS, LINGER, REQUESTS, STREAMS, Manager
from gapless.conform.started import Started, wait_for
from gapless.conform.visitor import Lost, head

PROMPT = 3.0  # seconds for an end for which nothing has to be waited
WATCHDOG = "WATCHDOG=1"
NEVER = 60  # seconds: longer than any budget here


def ends_in_time(manager: Manager, old: Started, what: str) -> str:
    """Tell a release to go, and hold that it ends within all its budgets; `what` is it that may keep it."""
    at = manager.retire(old)
    check(old.ended(ENDS) is not None, f"it still runs {ENDS:g} s after SIGTERM, for {what}: the manager kills it")
    return f"it ended after {time.monotonic() - at:.1f} s"


@case("4.1", f"SIGTERM without a connection: ends within {PROMPT:g} s")
def ends_when_idle(manager: Manager) -> str:
    old = manager.start()
    time.sleep(IDLE)
    at = manager.retire(old)
    check(old.ended(PROMPT) is not None, f"it still runs {PROMPT:g} s after SIGTERM, and nobody is there")
    seconds = time.monotonic() - at
    return f"{ends(old)}, after {seconds:.2f} s"


@case("4.2", f"an endless response: ends within {ENDS:g} s all the same")
def ends_at_its_deadline(manager: Manager) -> str:
    old = manager.start()
    visitor = manager.visitor().send(head("/events"))
    visitor.begun()
    return f"{ends_in_time(manager, old, 'a response that never ends')}; $GAPLESS_STREAMS is {STREAMS:g} s"


@case("4.3", "a request that takes longer than any budget: its client is told 5xx")
def cuts_with_an_answer(manager: Manager) -> str:
    old = manager.start()
    visitor = manager.visitor().send(head(f"/slow?{NEVER}"))
    time.sleep(0.2)
    at = manager.retire(old)
    visitor.sock.settimeout(ENDS)
    try:
        response = visitor.response()
    except Lost as lost:
        raise Lost(f"no answer, {time.monotonic() - at:.1f} s after SIGTERM: {lost}") from None
    seconds = time.monotonic() - at
    status = response.status
    check(status >= 500, f"status {status}")
    check(response.closes, f"status {status}, but without Connection: close")
    check(old.ended(ENDS) is not None, f"it still runs {ENDS:g} s after SIGTERM")
    return f"status {status} after {seconds:.1f} s; $GAPLESS_REQUESTS is {REQUESTS:g} s"


@case("4.4", "a second SIGTERM ends it at once, or it ends as at the first")
def hurries(manager: Manager) -> str:
    old = manager.start()
    manager.visitor().send(head("/begin?2.5")).begun()
    began = manager.retire(old)
    check(old.runs, "it ended at the first SIGTERM, and did not wait for a response that had begun")
    at = old.tell()
    check(old.ended(ENDS) is not None, f"it still runs {ENDS:g} s after the second SIGTERM")
    now = time.monotonic()
    if now - began > 2:
        return f"it took no notice of it, and ended {now - began:.1f} s after the first"
    return f"it ended {now - at:.1f} s after the second SIGTERM"


@case("4.5", "work after a response (a background task, close() of WSGI) is done before the end")
def finishes_background_work(manager: Manager) -> str:
    old = manager.start()
    good(manager.get("/after?2"))
    manager.retire(old)
    ends(old)
    check("after: done" in old.output, "it ended in the middle of the app's work")
    return "the app came to the end of it"


@case("4.6", "a client that does not read for 3 s gets the rest of its response")
def waits_for_a_reader(manager: Manager) -> str:
    old = manager.start()
    visitor = manager.visitor().send(head("/large"))
    begun = visitor.begun()
    manager.retire(old)
    time.sleep(3)
    size = len(visitor.rest(begun).body)
    check(size == 8 << 20, f"{size:,} of {8 << 20:,} bytes came")
    ends(old)
    return "all of 8 MiB came"


@case("4.7", f"a connection that stays idle does not keep it longer than {ENDS:g} s")
def idle_does_not_pin(manager: Manager) -> str:
    needs_keep_alive(manager)
    old = manager.start()
    manager.visitor().get()
    manager.visitor()  # and one that never says a word
    return f"{ends_in_time(manager, old, 'connections without a request')}; $GAPLESS_LINGER is {LINGER:g} s"


@case("4.8", "out of descriptors, because of silent clients: it survives, and answers again when they are gone")
def survives_a_crowd(manager: Manager) -> str:
    started = manager.start(WATCHDOG_USEC="2000000")
    pids = started.pids()
    for pid in pids:  # a limit of its own, not below what it has
        with contextlib.suppress(ProcessLookupError):  # what it started to say READY=1 has ended since
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (150, 150))
    crowd = [manager.visitor() for _ in range(150 * len(pids) + 50)]
    watched = wait_for(lambda: started.says(WATCHDOG), 1.5)
    started.heard.clear()
    alive = wait_for(lambda: started.says(WATCHDOG), 1.8)
    check(alive or not watched, "it sent WATCHDOG=1 before, and does no more: its manager kills it")
    check(started.runs, f"it ended with {started.process.returncode}: {started.last_words}")
    for visitor in crowd:
        visitor.sock.close()

    def answered() -> bool:
        try:
            return manager.get().status == 200
        except Lost:
            return False

    check(wait_for(answered, 10), "it does not answer though the silent clients are gone")
    manager.retire(started)
    return f"it answered; {ends(started)}" + (", and it sent WATCHDOG=1 all the while" if watched else "")


@case("4.9", f"half a head, of which the rest never comes, does not keep it longer than {ENDS:g} s")
def half_a_head_does_not_pin(manager: Manager) -> str:
    old = manager.start()
    manager.visitor().send(head()[:-2])
    time.sleep(IDLE)
    return ends_in_time(manager, old, "half a head")


@case("4.10", "a second SIGTERM: who has no answer yet gets one, or 5xx; what has begun is complete, or plainly is not")
def hurries_with_an_answer(manager: Manager) -> str:
    old = manager.start()
    stream = manager.visitor().send(head("/begin?2.5"))
    begun = stream.begun()
    request = manager.visitor()
    if manager.facts.keeps:
        good(request.get())  # it is accepted
    request.send(head("/slow?2.5"))
    time.sleep(IDLE)
    manager.retire(old)
    check(old.runs, "it ended at the first SIGTERM, and did not wait for a response that had begun")
    at = old.tell()
    try:
        status = request.response().status
    except Lost as lost:
        raise Lost(f"no answer, {time.monotonic() - at:.1f} s after the second SIGTERM: {lost}") from None
    check(status == 200 or status >= 500, f"status {status}")
    try:
        good(stream.rest(begun), b"begun ok")
        told = "what had begun was complete"
    except Lost as lost:
        told = str(lost)
    return f"status {status}; {told}; {ends(old)}"


@case("4.11", f"work after a response that never ends does not keep it longer than {ENDS:g} s")
def work_does_not_pin(manager: Manager) -> str:
    old = manager.start()
    good(manager.get(f"/after?{NEVER}"))
    return ends_in_time(manager, old, "work that no client waits for")
