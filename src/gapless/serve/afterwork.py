"""What an app still does when its response or WebSocket has ended: a background task, a document's save."""

from __future__ import annotations

import asyncio
import logging
import time
from types import TracebackType
from typing import Any

from gapless.serve.busy import is_websocket
from gapless.serve.connections import Http

log = logging.getLogger("gapless.serve")


class Afterwork:
    """Gives each task of `http` that has nobody to answer any more `budget` seconds from then on, and cancels it.

    A task whose client was cut off has had its budget: it has `grace` to hear of that, and its end is no news.
    """

    def __init__(self, http: Http, budget: float, grace: float) -> None:
        self.http = http
        self.budget = budget
        self.grace = grace
        self._since: dict[asyncio.Task[None], float] = {}  # the work of each began then
        self._cut: list[object] = []  # whom these tasks answered
        self._cancelled: dict[asyncio.Task[None], float] = {}
        self._filter = logging.Filter()
        self._filter.filter = self._is_news  # type: ignore[method-assign]

    def __enter__(self) -> None:
        logging.getLogger("uvicorn.error").addFilter(self._filter)

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        logging.getLogger("uvicorn.error").removeFilter(self._filter)

    def cut(self, answered: object) -> None:
        """Take note that whoever was answered by `answered`, a request's cycle or a WebSocket, was cut off."""
        self._cut.append(answered)

    def left(self) -> bool:
        """Whether there is a task worth waiting for."""
        now = time.monotonic()
        return any(now - self._cancelled.get(task, now) <= self.grace for task in self.http.tasks)

    def look(self, *, hurried: bool) -> None:
        """Cancel what is due, or all if `hurried`."""
        now = time.monotonic()
        for task in self.http.tasks - self._cancelled.keys():
            answers = _answers(task)
            if self._has_client(answers):
                continue
            was_cut = any(answers is one for one in self._cut)
            since = self._since.setdefault(task, now)
            if now - since < (self.grace if was_cut else self.budget) and not (hurried and not was_cut):
                continue
            if not was_cut:
                log.warning("drain: work that outlived its response is cut off: %s", _name(answers) or task)
            self._cancelled[task] = now
            task.cancel()

    def _has_client(self, answers: Any) -> bool:
        if answers is None:  # whoever it is
            return bool(self.http.connections)
        if is_websocket(answers):
            return answers in self.http.connections
        return not (answers.response_complete or answers.disconnected or answers.transport.is_closing())

    def _is_news(self, record: logging.LogRecord) -> bool:
        """Whether uvicorn has to log it: that a task ends which was cancelled here is known."""
        cancelled = isinstance(record.exc_info and record.exc_info[1], asyncio.CancelledError)
        return not (cancelled and asyncio.current_task() in self._cancelled)


def _answers(task: asyncio.Task[None]) -> Any:
    """The cycle or the WebSocket whose `run_asgi` a task of uvicorn's is."""
    frame = getattr(task.get_coro(), "cr_frame", None)
    return frame and frame.f_locals.get("self")


def _name(answers: Any) -> str:
    scope = getattr(answers, "scope", None)
    return f"{scope['type']} {scope['path']}" if scope else ""
