"""`gapless serve`, without its command line."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import os
import resource
import socket
import threading
from collections.abc import Sequence

import uvicorn

from gapless import notify, timeouts
from gapless.errors import GaplessError
from gapless.serve.app import ASGIApp, load
from gapless.serve.channel import Channel
from gapless.serve.server import Server
from gapless.serve.settings import Settings
from gapless.serve.sockets import sockets_for
from gapless.serve.worker import say_why
from gapless.serve.workers import Parent

log = logging.getLogger("gapless.serve")


def serve(settings: Settings) -> int:
    """Serve until told to stop and return the exit status; raises GaplessError if it cannot start."""
    _allow_descriptors()
    sockets = sockets_for(settings.bind)
    if settings.workers == 1:
        return _run(settings, sockets, None)
    return Parent(settings, sockets, _run).run()


def _allow_descriptors() -> None:
    """Raise this process's limit of descriptors to the most that it may have: each connection takes one.

    The usual soft limit, 1,024, is for programs that use select(2), setrlimit(2); a loop here polls.
    """
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _run(settings: Settings, sockets: Sequence[socket.socket], line: socket.socket | None) -> int:
    """One process that serves; `line` leads to the parent of the workers, if there are several."""
    # An import that hangs blocks everything: after the time-out this prints where, and exits with status 1.
    faulthandler.dump_traceback_later(settings.check_timeout + timeouts.HANG, exit=True)
    app = load(settings)
    if settings.assets or settings.uploads:
        from gapless.serve.assets import Assets  # only an app with [assets] or [uploads] pays for it

        app = Assets(app, settings.assets, dict(settings.uploads))
    make_loop = uvicorn.Config(app, log_config=None).get_loop_factory()  # uvloop where it is installed
    with asyncio.Runner(loop_factory=make_loop) as runner:
        try:
            runner.run(_main(settings, app, sockets, line))
        except BaseException as error:
            _end_within(timeouts.HANG, error, line)
            raise
        _end_within(timeouts.SHUTDOWN, None, line)
    return 0


def _end_within(seconds: float, error: BaseException | None, line: socket.socket | None) -> None:
    """End this process then, if it has not ended by itself.

    The loop waits, as it is closed, for tasks of the app that go on although they are cancelled, and for threads that
    the app started; the interpreter waits for threads, too. Neither has a time-out.
    """
    timer = threading.Timer(seconds, _end, (error, line))
    timer.daemon = True
    with contextlib.suppress(RuntimeError):  # the system has no room for another thread: `error` matters more
        timer.start()
        faulthandler.cancel_dump_traceback_later()  # it would print where the loop waits, and nothing of `error`


def _end(error: BaseException | None, line: socket.socket | None) -> None:
    if isinstance(error, GaplessError):  # whoever catches it, and would say it, may come after what does not end
        log.error("%s", "\n".join((str(error), *error.details)))
        notify.status(str(error))
        if line is not None:
            say_why(line, error)
    elif error is not None:
        log.error("the server failed", exc_info=error)
    log.error("what the app left behind, a task or a thread, does not end: it is cut off")
    logging.shutdown()
    os._exit(1 if error else 0)


async def _main(settings: Settings, app: ASGIApp, sockets: Sequence[socket.socket], line: socket.socket | None) -> None:
    server = Server(settings, app, sockets)
    if line is None:
        await server.run()
        return
    channel = Channel(line, server)
    server.proven = channel.proven
    beat = asyncio.create_task(channel.beat())
    await server.run()
    beat.cancel()
