"""Threads that run what would block the loop. At the end of the process nobody waits for one that is stuck."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import queue
import threading
from collections.abc import Callable
from functools import partial

log = logging.getLogger("gapless.serve")

Work = Callable[[], BaseException | None]
Done = asyncio.Future[BaseException | None]


class Threads:
    """At most `count` threads, started when there is work for them; more work than that waits."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._started = 0
        self._short = False  # the last thread that was wanted could not be started, and the log says so
        self._idle = threading.Semaphore(0)
        self._jobs: queue.SimpleQueue[tuple[Work, Done]] = queue.SimpleQueue()

    async def run(self, work: Work) -> BaseException | None:
        """Return what `work` returns, called in a thread, in the context of the caller.

        Work whose caller is cancelled before its turn is not begun. Raises RuntimeError where no thread can be had.
        """
        done: Done = asyncio.get_running_loop().create_future()
        self._jobs.put((partial(contextvars.copy_context().run, work), done))
        if not self._idle.acquire(blocking=False) and self._started < self._count:
            self._start(done)
        return await done

    def _start(self, done: Done) -> None:
        # A daemon: the drain has given each request its budget, the interpreter is not to wait for it again.
        thread = threading.Thread(target=self._work, name=f"request-{self._started + 1}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the system has no room for it now; the next work tries again
            if not self._started:
                done.cancel()  # a later thread finds this work in the queue, and passes over it
                raise
            if not self._short:
                log.error("%s: %d of %d threads do the work", error, self._started, self._count)
            self._short = True
        else:
            self._started += 1
            self._short = False

    def _work(self) -> None:
        while True:
            try:
                work, done = self._jobs.get_nowait()
            except queue.Empty:
                self._idle.release()
                work, done = self._jobs.get()
            if done.done():  # its caller was cancelled, or told that there is no thread
                continue
            result = work()
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants to know
                done.get_loop().call_soon_threadsafe(_finish, done, result)


def _finish(done: Done, result: BaseException | None) -> None:
    if not done.done():  # its request was cancelled meanwhile
        done.set_result(result)
