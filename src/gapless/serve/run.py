"""`gapless serve`, without its command line."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import resource
import socket
from collections.abc import Sequence

import uvicorn

from gapless import timeouts
from gapless.serve.app import ASGIApp, load
from gapless.serve.channel import Channel
from gapless.serve.server import Server
from gapless.serve.settings import Settings
from gapless.serve.sockets import sockets_for
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
        runner.run(_main(settings, app, sockets, line))
    return 0


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
