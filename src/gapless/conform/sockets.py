"""Cases about what a server does to the sockets that it shares with others."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import statistics
import threading
from collections.abc import Sequence
from pathlib import Path

from gapless.conform.case import NotApplicable, case, check
from gapless.conform.expect import ends
from gapless.conform.manager import BACKLOG, ENDS, Manager, answers, backlog, listening, name_of
from gapless.conform.started import Started, wait_for
from gapless.conform.visitor import Lost, Visitor, head

DELAYED = 0.025  # seconds: less than the 40 ms that the kernel delays an acknowledgement
PATIENT = 5.0  # seconds without an answer, by which a server stands still


@case("2.1", "accepted connections have TCP_NODELAY: small writes wait for no acknowledgement", alone=True)
def has_no_delay(manager: Manager) -> str:
    manager.start()
    if not manager.facts.keeps:
        raise NotApplicable("it keeps no connection, so nothing waits for an acknowledgement")
    took = []
    with manager.visitor() as visitor:
        for _ in range(60):  # the first acknowledgements come at once, whatever there is to send
            took.append(visitor.get("/begin?0").seconds)  # its second write has to wait for one, or not
    usual = statistics.median(took[-30:])
    check(usual < DELAYED, f"a request on an open connection takes {usual * 1000:.0f} ms (median)")
    return f"a request on an open connection takes {usual * 1000:.1f} ms (median)"


@case("2.2", "keeps the backlog that the socket has")
def keeps_the_backlog(manager: Manager) -> str:
    before = backlog(manager.sock)
    manager.start()
    after = backlog(manager.sock)
    check(after == before, f"the backlog was {before}, and is {after} for all who share the socket")
    return f"{after}, as before"


@case("2.3", "keeps O_NONBLOCK, which it shares with all who have the socket")
def keeps_nonblocking(manager: Manager) -> str:
    started = manager.launch()
    manager.wait_ready(started, manager.address)
    check(_nonblocking(manager.sock), "it cleared O_NONBLOCK: accept(2) of another release may block for ever")
    manager.retire(started)
    started.ended(ENDS)
    check(_nonblocking(manager.sock), "it cleared O_NONBLOCK when it ended")
    return "set before, while it serves, and after its end"


@case("2.4", "goes on serving where another holder cleared O_NONBLOCK")
def survives_blocking(manager: Manager) -> str:
    started = manager.start()
    with manager.visitor() as kept:
        kept.get()
        flags = fcntl.fcntl(manager.sock, fcntl.F_GETFL)
        fcntl.fcntl(manager.sock, fcntl.F_SETFL, flags & ~os.O_NONBLOCK)
        for count in range(5):
            with Visitor(manager.address, PATIENT) as new:
                try:
                    new.get()
                    if manager.facts.keeps:
                        kept.sock.settimeout(PATIENT)
                        kept.get()
                except Lost as lost:
                    what = f"request {count + 1} after O_NONBLOCK was cleared: {lost}"
                    raise Lost(f"its accept(2) blocks what else it does: {what}") from lost
    manager.retire(started)
    check(started.ended(ENDS) is not None, f"it still runs {ENDS:g} s after SIGTERM: its accept(2) blocks")
    return "5 new connections answered, and as many requests on one that was open"


def told_by_number(manager: Manager) -> bool:
    """Whether the command names the descriptor, so that LISTEN_* say nothing to it."""
    started = manager.launch(LISTEN_FDS=None)
    with contextlib.suppress(OSError), Visitor(manager.address, manager.facts.seconds + 3) as visitor:
        try:
            return visitor.get().release == started.release
        except Lost:
            return False
        finally:
            started.close()
    return False


@case("2.5", "refuses sockets that LISTEN_PID says are another process's")
def refuses_a_wrong_pid(manager: Manager) -> str:
    started = manager.launch(LISTEN_PID="1")
    with Visitor(manager.address, manager.facts.seconds + 3) as visitor:
        try:
            served = visitor.get().release == started.release
        except Lost:
            served = False
    started.close()
    if served and told_by_number(manager):
        raise NotApplicable("the command names the descriptor; LISTEN_PID says nothing to it")
    check(not served, "it serves on the sockets of another process")
    return f"it does not serve: {started.last_words}"


@case("2.6", "has the socket close-on-exec: a child of the app does not pin the queue")
def closes_on_exec(manager: Manager) -> str:
    started = manager.start()
    found = _descriptors(started, manager.sock)
    check(found, "no process of its session has the socket")
    without = [place for place, closes in found.items() if not closes]
    check(not without, f"without FD_CLOEXEC: {', '.join(without)}")
    return f"FD_CLOEXEC on {', '.join(found)}"


@case("2.7", "serves on a Unix socket, and leaves its name where it is when it ends")
def leaves_the_unix_socket(manager: Manager) -> str:
    path = manager.folder / "unix"
    sock = manager.hold(listening(str(path)))
    started = manager.start([sock])
    response = manager.get(address=str(path))
    check(response.status == 200, f"GET / on it: status {response.status}")
    manager.retire(started)
    check(started.ended(ENDS) is not None, f"it still runs {ENDS:g} s after SIGTERM")
    check(path.exists(), "it removed the socket, which is the manager's: the next release is out of reach")
    manager.start([sock])
    check(manager.get(address=str(path)).status == 200, "the next release does not answer on it")
    return "GET / answered; the socket is still there after its end, and the next release answers"


@case("2.8", "serves on each of several sockets, named by LISTEN_FDNAMES")
def serves_on_many(manager: Manager) -> str:
    others = [manager.hold(listening()) for _ in range(2)]
    sockets = [manager.sock, *others]
    started = manager.start(sockets, LISTEN_FDNAMES="web:admin:metrics")
    silent = []
    for number, sock in enumerate(sockets):
        with Visitor(name_of(sock), 5.0) as visitor:
            try:
                visitor.get()
            except Lost:
                silent.append(number + 3)
    if silent:
        started.close()
        if told_by_number(manager):
            raise NotApplicable("the command names one descriptor")
    check(not silent, f"nothing answers on descriptor {', '.join(map(str, silent))}")
    return "three of three answer"


@case("2.9", "answers as many connections at once as wait in the queue")
def empties_the_queue(manager: Manager) -> str:
    crowd = [manager.visitor() for _ in range(200)]
    manager.wait_ready(manager.launch(), manager.address)
    results: list[int] = []

    def ask(one: Visitor) -> None:
        with contextlib.suppress(Lost), one:
            results.append(one.send(head(Connection="close")).response().status)

    threads = [threading.Thread(target=ask, args=(one,)) for one in crowd]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(15)
    good = results.count(200)
    check(good == len(crowd), f"{good} of {len(crowd)} connections that waited for it were answered")
    return f"{good} connections that waited for it, of a backlog of {BACKLOG}, answered"


def _without_listen_fds(
    manager: Manager, sockets: Sequence[socket.socket], named: Sequence[socket.socket], **env: str
) -> str:
    """Hand over from one release to the next in a way that says nothing in LISTEN_*; raises NotApplicable."""
    old = manager.launch(sockets, LISTEN_FDS=None, **env)
    first = name_of(named[0])
    wait_for(lambda: not old.runs or answers(first) == old.release, manager.facts.seconds + 3)
    served = [answers(name_of(one)) == old.release for one in named]
    if not any(served):
        raise NotApplicable(f"it does not take sockets in this way: {old.last_words}")
    check(all(served), f"it serves on {served.count(True)} of the {len(named)} sockets that are named")
    new = manager.launch(sockets, LISTEN_FDS=None, **env)
    manager.wait_ready(new, first)
    manager.retire(old)
    said = ends(old)
    served = [answers(name_of(one)) == new.release for one in named]
    check(all(served), f"{said}, and since then its successor answers on {served.count(True)} of {len(named)} sockets")
    return f"{len(named)} of {len(named)} served; {said}, and its successor goes on"


@case("2.10", "takes the sockets that start_server names in SERVER_STARTER_PORT, and hands them over")
def takes_start_servers_sockets(manager: Manager) -> str:
    named = [manager.hold(listening()) for _ in range(2)]
    places = [":".join(map(str, name_of(one))) for one in named]
    ports = ";".join(f"{place}={number}" for number, place in enumerate(places, 4))  # what is descriptor 3 is unnamed
    return _without_listen_fds(manager, [manager.sock, *named], named, SERVER_STARTER_PORT=ports)


@case("2.11", "takes the socket whose descriptor its command names, as circus has it, and hands it over")
def takes_a_number(manager: Manager) -> str:
    return _without_listen_fds(manager, [manager.sock], [manager.sock])


def _nonblocking(sock: socket.socket) -> bool:
    return bool(fcntl.fcntl(sock, fcntl.F_GETFL) & os.O_NONBLOCK)


def _descriptors(started: Started, sock: socket.socket) -> dict[str, bool]:
    """Where processes of it have the socket, and whether each closes on exec."""
    wanted = f"socket:[{os.fstat(sock.fileno()).st_ino}]"
    found = {}
    wait_for(lambda: len(started.pids()) > 0, 1)
    for pid in started.pids():
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            with contextlib.suppress(OSError):
                if os.readlink(link) == wanted:  # noqa: PTH115 -- no path
                    lines = Path(f"/proc/{pid}/fdinfo/{link.name}").read_text().splitlines()
                    flags = int(next(line for line in lines if line.startswith("flags:")).split()[1], 8)
                    found[f"descriptor {link.name} of process {pid}"] = bool(flags & os.O_CLOEXEC)
    return found
