"""Cases about requests whose head, or what follows their body, comes in pieces, slowly, or without an end."""

from __future__ import annotations

import time

from gapless.conform.case import NotApplicable, case, check
from gapless.conform.expect import BODY, IDLE, LATER, ends, good
from gapless.conform.manager import ENDS, HEAD, Manager
from gapless.conform.visitor import Lost, Visitor, head

HUGE = 16 << 20  # bytes; what the kernel keeps on the way is less
OPEN = head()[:-2]  # one more line would be its end
ENDLESS = {"line": (b"GET /", BODY), "header": (OPEN + b"a: ", BODY), "headers": (OPEN, b"a: " + BODY + b"\r\n")}
TRICKLES = {"line": (b"GET /", b"x"), "headers": (OPEN, b"a: b\r\n"), "half": (OPEN, b"")}


def said(visitor: Visitor) -> str:
    """What a visitor was told that sent what has no end."""
    try:
        status = visitor.response().status
    except Lost as lost:
        return str(lost)
    check(status >= 400, f"it answered status {status} to half a head")
    return f"status {status}"


def taken(visitor: Visitor, part: bytes) -> int:
    """Send a part again and again until the server stops that, or HUGE is reached; how many bytes it took."""
    sent = 0
    try:
        while sent < HUGE and not visitor.has_news():
            visitor.send(part)
            sent += len(part)
    except Lost:
        pass
    return sent


@case("3.15", f"a head of {HUGE >> 20} MiB is refused, with 4xx or by closing, before all of it was taken")
def huge_head(manager: Manager) -> str:
    started = manager.start()
    found = []
    for name, (begin, part) in ENDLESS.items():
        visitor = manager.visitor().send(begin)
        sent = taken(visitor, part)
        check(sent < HUGE, f"it took all of {sent:,} bytes ({name})")
        found.append(f"{name} after {sent:,} bytes: {said(visitor)}")
    good(manager.get())
    manager.retire(started)
    ends(started)
    return "; ".join(found)


@case("3.16", f"a head that trickles is given up within {ENDS:g} s, with 4xx or by closing")
def trickling_head(manager: Manager) -> str:
    started = manager.start()
    began = time.monotonic()
    visitors = {name: manager.visitor().send(begin) for name, (begin, _) in TRICKLES.items()}
    took: dict[str, float] = {}
    while len(took) < len(visitors) and time.monotonic() - began < ENDS:
        time.sleep(0.1)
        for name, visitor in visitors.items():
            if name not in took and _given_up(visitor, TRICKLES[name][1]):
                took[name] = time.monotonic() - began
    kept = ", ".join(visitors.keys() - took.keys())
    check(not kept, f"it still waits after {ENDS:g} s ({kept}); $GAPLESS_HEAD_TIMEOUT is {HEAD:g} s")
    told = [f"{name} after {took[name]:.1f} s: {said(visitor)}" for name, visitor in visitors.items()]
    good(manager.get())
    manager.retire(started)
    ends(started)
    return "; ".join(told)


def _given_up(visitor: Visitor, part: bytes) -> bool:
    try:
        return visitor.has_news() or visitor.send(part).has_news()
    except Lost:
        return True


@case("3.17", f"a head of which half has come at SIGTERM is answered when the rest comes, {LATER:g} s later")
def half_a_head(manager: Manager) -> str:
    old = manager.start()
    visitors = [manager.visitor()]
    if manager.facts.keeps:
        visitors.append(manager.visitor())
        good(visitors[-1].get())
    manager.until_accepted(2)
    for visitor in visitors:
        visitor.send(OPEN)
    time.sleep(IDLE)
    manager.retire(old)
    time.sleep(LATER)
    for visitor in visitors:
        good(visitor.send(b"a: b\r\n\r\n").response())
    ends(old)
    return f"{len(visitors)} of {len(visitors)} answered"


@case("3.18", f"trailers of {HUGE >> 20} MiB after a chunked body are not taken")
def huge_trailers(manager: Manager) -> str:
    manager.start()
    begin = head("/echo", "POST", Transfer_Encoding="chunked")
    whole = manager.visitor().send(begin + b"1\r\nx\r\n0\r\n\r\n").response()
    if whole.status in (411, 501):
        raise NotApplicable(f"it refuses chunked bodies: status {whole.status}")
    found = []
    for name, (_, part) in ENDLESS.items():
        if name == "line":
            continue
        visitor = manager.visitor().send(begin + b"1\r\nx\r\n0\r\n" + (b"a: " if name == "header" else b""))
        sent = taken(visitor, part)
        check(sent < HUGE, f"it took all of {sent:,} bytes ({name})")
        found.append(f"{name} after {sent:,} bytes")
    good(manager.get())
    return "; ".join(found)
