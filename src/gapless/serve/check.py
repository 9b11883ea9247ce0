"""The candidate's own check: real HTTP over a private connection, before it accepts one public connection."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable

from gapless import notify
from gapless.errors import GaplessError
from gapless.linux.unix_http import get_over

RELEASE_HEADER = "gapless-release"
EXCERPT = 500  # bytes of a failed check's body in the log

Reach = Callable[[], Awaitable[socket.socket]]


async def prove(reach: Reach, target: str, host: str, release: str, deadline: float) -> None:
    """Return once `target` answers 2xx as `release`; raises GaplessError at `deadline` (monotonic seconds).

    It is tried again until then, because an app may need a moment for its own dependencies. Each time over what `reach`
    connects to the app, and not over a path: there another process of our user could answer as we, or keep us waiting.
    """
    wait = 0.05
    while True:
        end = await reach()
        problem = await asyncio.to_thread(_attempt, end, target, host, release, deadline - time.monotonic())
        if problem is None:
            return
        notify.status(f"{problem}; trying again")
        if time.monotonic() + wait >= deadline:
            raise problem
        await asyncio.sleep(wait)
        wait = min(wait * 2, 1.0)


def _attempt(end: socket.socket, target: str, host: str, release: str, timeout: float) -> GaplessError | None:
    """None if the check holds, otherwise what is wrong with it."""
    what = f"GET {target} in private"
    try:
        status, headers, body = get_over(end, target, host, max(timeout, 0.05))
    except TimeoutError:
        return GaplessError("prove", what, "it did not answer in time", "is something in the app blocking its loop?")
    except OSError as error:
        return GaplessError("prove", what, str(error) or type(error).__name__)
    excerpt = tuple(body[:EXCERPT].decode("utf-8", "replace").splitlines())
    answered = headers.get(RELEASE_HEADER, "")
    if answered != release:
        cause = f"release {answered or '(none)'} answered instead of {release or '(none)'}"
        return GaplessError("prove", what, cause, f"does the app set {RELEASE_HEADER} itself?", details=excerpt)
    if 300 <= status < 400:
        hint = "name the path that answers itself, or set the check's host to the one the app expects"
        return GaplessError("prove", what, f"it redirects ({status}) to {headers.get('location', '?')}", hint)
    if not 200 <= status < 300:
        return GaplessError(
            "prove",
            what,
            f"it answered {status}",
            f"if the app checks the host name, set the check's host (sent: {host})",
            details=excerpt,
        )
    return None
