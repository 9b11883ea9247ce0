"""The candidate's own check: real HTTP over a private connection, before it accepts one public connection."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable

from gapless import notify
from gapless.errors import GaplessError
from gapless.linux.answers import Patience
from gapless.visitor import RELEASE_HEADER, Visitor

EXCERPT = 500  # bytes of a failed check's body in the log

Reach = Callable[[], Awaitable[socket.socket]]


class RefusedError(GaplessError):
    """The check was answered with the status `code`, by the release `answered`."""

    code = 0
    answered = ""


async def prove(reach: Reach, target: str, visitor: Visitor, release: str, deadline: float) -> None:
    """Return once `target` answers `visitor` with 2xx as `release`; raises GaplessError at `deadline`.

    That is in monotonic seconds. Until then it is tried again, because an app may need a moment for its own
    dependencies, unless its answer is its last word. Each time over what `reach` connects to the app, and not over a
    path: there another process of our user could answer as we, or keep us waiting.
    """
    wait, patience = 0.05, Patience()
    while True:
        end = await reach()
        problem = await asyncio.to_thread(_attempt, end, target, visitor, release, deadline - time.monotonic())
        if problem is None:
            return
        code, who = (problem.code, problem.answered) if isinstance(problem, RefusedError) else (None, "")
        now = time.monotonic()
        if patience.is_over(code, who, now) or now + wait >= deadline:
            raise problem
        notify.status(f"{problem}; trying again")
        await asyncio.sleep(wait)
        wait = min(wait * 2, 1.0)


def _attempt(end: socket.socket, target: str, visitor: Visitor, release: str, timeout: float) -> GaplessError | None:
    """None if the check holds, otherwise what is wrong with it."""
    what = f"GET {target} in private"
    try:
        status, headers, body = visitor.get_over(end, target, max(timeout, 0.05))
    except TimeoutError:
        return GaplessError("prove", what, "it did not answer in time", "is something in the app blocking its loop?")
    except OSError as error:
        return GaplessError("prove", what, str(error) or type(error).__name__)
    answered = headers.get(RELEASE_HEADER, "")
    if answered == release and 200 <= status < 300:
        return None
    if answered != release:
        cause = f"release {answered or '(none)'} answered instead of {release or '(none)'}"
        hint = f"does the app set {RELEASE_HEADER} itself?"
    else:
        location = headers.get("location", "")
        to = f"redirects ({status}) to {location or '?'}" if 300 <= status < 400 else f"answered {status}"
        cause, hint = f"it {to}", visitor.advice(status, location, release)
    excerpt = tuple(body[:EXCERPT].decode("utf-8", "replace").splitlines())
    refused = RefusedError("prove", what, cause, hint, details=excerpt)
    refused.code, refused.answered = status, answered
    return refused
