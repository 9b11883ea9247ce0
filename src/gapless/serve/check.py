"""The candidate's own check: real HTTP over its private socket, before it accepts one public connection."""

from __future__ import annotations

import asyncio
import time

from gapless import notify
from gapless.errors import GaplessError
from gapless.visitor import Visitor

RELEASE_HEADER = "gapless-release"
EXCERPT = 500  # bytes of a failed check's body in the log


async def prove(socket_path: str, target: str, visitor: Visitor, release: str, deadline: float) -> None:
    """Return once `target` answers `visitor` with 2xx as `release`; raises GaplessError at `deadline`.

    That is in monotonic seconds. Until then it is tried again: an app may need a moment for its own dependencies.
    """
    wait = 0.05
    while True:
        problem = await asyncio.to_thread(_attempt, socket_path, target, visitor, release, deadline - time.monotonic())
        if problem is None:
            return
        notify.status(f"{problem}; trying again")
        if time.monotonic() + wait >= deadline:
            raise problem
        await asyncio.sleep(wait)
        wait = min(wait * 2, 1.0)


def _attempt(socket_path: str, target: str, visitor: Visitor, release: str, timeout: float) -> GaplessError | None:
    """None if the check holds, otherwise what is wrong with it."""
    what = f"GET {target} on the private socket"
    try:
        status, headers, body = visitor.get(socket_path, target, max(timeout, 0.05))
    except TimeoutError:
        return GaplessError("prove", what, "it did not answer in time", "is something in the app blocking its loop?")
    except OSError as error:
        return GaplessError("prove", what, str(error) or type(error).__name__)
    excerpt = tuple(body[:EXCERPT].decode("utf-8", "replace").splitlines())
    answered = headers.get(RELEASE_HEADER, "")
    if answered != release:
        cause = f"release {answered or '(none)'} answered instead of {release or '(none)'}"
        return GaplessError("prove", what, cause, "does another instance use the same --private path?", details=excerpt)
    if 200 <= status < 300:
        return None
    location = headers.get("location", "")
    cause = f"it redirects ({status}) to {location or '?'}" if 300 <= status < 400 else f"it answered {status}"
    return GaplessError("prove", what, cause, visitor.advice(status, location), details=excerpt)
