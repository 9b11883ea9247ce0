"""Cases about WebSockets when a release is told to go."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import ClientConnection, connect

from gapless.conform.case import Failed, NotApplicable, case, check
from gapless.conform.expect import IDLE, ends
from gapless.conform.manager import ENDS, Manager
from gapless.conform.visitor import head

COMES_BACK = (1001, 1012)  # going away, service restart: what a client opens its next one after
UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Version": "13"}
KEY = "AAAAAAAAAAAAAAAAAAAAAA=="


@contextlib.contextmanager
def opened(manager: Manager) -> Iterator[ClientConnection]:
    """A WebSocket that echoes; raises NotApplicable where there is none, and Failed where it does not."""
    visitor = manager.visitor()
    with contextlib.ExitStack() as stack:
        try:
            dialled = connect("ws://localhost/ws", sock=visitor.sock, compression=None, open_timeout=10)
            client = stack.enter_context(dialled)
        except (InvalidHandshake, EOFError) as error:
            raise NotApplicable(f"no WebSocket: {error}") from None
        try:
            client.send("hello")
            check(client.recv(timeout=5) == "hello", "it does not echo")
        except (ConnectionClosed, TimeoutError):
            raise Failed("it does not echo") from None
        yield client


@case("6.1", "an open WebSocket is closed with a code by which its client comes back (1001, 1012)")
def closes_with_a_code(manager: Manager) -> str:
    old = manager.start()
    with opened(manager) as client:
        at = manager.retire(old)
        try:
            client.recv(timeout=ENDS)
            raise Failed("it sent a message, and was asked nothing")
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd else 1006
        except TimeoutError:
            raise Failed(f"neither closed nor answered {ENDS:g} s after SIGTERM") from None
        check(code in COMES_BACK, f"closed with {code}")
        seconds = time.monotonic() - at
    ends(old)
    return f"closed with {code}, {seconds:.1f} s after SIGTERM"


@case("6.2", "a WebSocket handshake that is under way at SIGTERM gets an answer")
def answers_a_handshake(manager: Manager) -> str:
    old = manager.start()
    with opened(manager):
        pass
    visitor = manager.visitor().send(head("/ws-slow", Sec_WebSocket_Key=KEY, **UPGRADE))
    time.sleep(0.3)
    manager.retire(old)
    status = visitor.begun().status
    visitor.sock.close()
    check(status == 101 or status >= 500, f"status {status}")
    ends(old)
    return f"status {status}"


@case("6.3", "a WebSocket handshake that the app never answers: its client is told 5xx")
def cuts_a_handshake_with_an_answer(manager: Manager) -> str:
    old = manager.start()
    with opened(manager):
        pass
    visitor = manager.visitor().send(head("/ws-never", Sec_WebSocket_Key=KEY, **UPGRADE))
    time.sleep(IDLE)
    at = manager.retire(old)
    visitor.sock.settimeout(ENDS)
    status = visitor.begun().status
    check(status >= 500, f"status {status}")
    ends(old)
    return f"status {status} {time.monotonic() - at:.1f} s after SIGTERM"
