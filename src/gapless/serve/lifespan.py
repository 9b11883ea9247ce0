"""The ASGI lifespan protocol, strict where a deploy needs it: start-up that fails is a candidate that fails.

uvicorn's own takes any exception for "this app has no lifespan"; here that holds only for an app that raised
before it took the start-up event. Source: ASGI specification, Lifespan Protocol.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from typing import Any

from gapless.errors import GaplessError
from gapless.serve.app import ASGIApp, first_line

log = logging.getLogger("gapless.serve")


class Lifespan:
    """Runs an app's start-up and shutdown; `state` is what the app shares with its requests."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.state: dict[str, Any] = {}
        self._events: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def startup(self) -> None:
        """Return when the app is started, or at once if it has no lifespan; raises GaplessError if it failed."""
        self._events.put_nowait({"type": "lifespan.startup"})
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        self._task = asyncio.create_task(self._run(scope))
        answer = asyncio.create_task(self._answers.get())
        try:
            await asyncio.wait({self._task, answer}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(0)  # an app that answers and returns at once: let `answer` see it
        except BaseException:
            answer.cancel()
            self._task.cancel()
            raise
        if answer.done():
            if answer.result()["type"] == "lifespan.startup.failed":
                message = str(answer.result().get("message", "")).strip().splitlines()
                cause = _cause(message) or "the app said lifespan.startup.failed"
                raise GaplessError("start", "the app", cause, details=tuple(message[-20:]))
            return
        answer.cancel()
        error = self._task.exception()
        if not self._events.empty():  # it never took the event: no lifespan, which is legal
            self._task = None
        elif error is not None:
            lines = "".join(traceback.format_exception(error)).rstrip().splitlines()
            raise GaplessError(
                "start", "the app", f"its lifespan raised {first_line(error)}", details=tuple(lines[-20:])
            )
        else:
            raise GaplessError("start", "the app", "its lifespan returned without lifespan.startup.complete")

    async def shutdown(self, timeout: float) -> None:
        """Return when the app says that it has shut down, or after `timeout` seconds.

        What goes wrong is logged: nothing is served any more.
        """
        if self._task is None or self._task.done():
            return
        self._events.put_nowait({"type": "lifespan.shutdown"})
        answer = asyncio.create_task(self._answers.get())
        done, _ = await asyncio.wait({self._task, answer}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(0)  # an app that answers and returns, or raises, at once: see both
        if answer.done() and answer.result()["type"] == "lifespan.shutdown.failed":
            log.error("the app's shutdown failed: %s", str(answer.result().get("message", "")).strip() or "no message")
        elif not done:
            log.error("the app's shutdown did not end within %g s and is cut off", timeout)
        elif self._task.done() and self._task.exception() is not None:
            log.error("the app's shutdown raised", exc_info=self._task.exception())
        answer.cancel()
        self._task.cancel()

    async def _run(self, scope: dict[str, Any]) -> None:
        await self.app(scope, self._events.get, self._answers.put)


def _cause(message: list[str]) -> str:
    """What a message says in one line: of a traceback, which frameworks send, the one that names the error."""
    if not any(line.startswith("Traceback") for line in message):
        return message[-1] if message else ""
    indented = max(at for at, line in enumerate(message) if line[:1].isspace() or line.startswith("Traceback"))
    return next((line for line in message[indented + 1 :] if line), message[-1])
