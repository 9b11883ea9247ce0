"""gapless serve MODULE:APP"""

from __future__ import annotations

import logging
import sys

import click

from gapless import notify, variables
from gapless.cli.types import HEADER, SPAN, TARGET_PATH, UPLOADS
from gapless.errors import GaplessError
from gapless.visitor import SCHEMES


@click.command()
@click.argument("app", metavar="MODULE:APP")
@click.option(
    "--bind",
    multiple=True,
    metavar="ADDRESS",
    help="Listen here if no socket was handed in: host:port, [v6]:port, unix:/path, or fd:N, a descriptor that listens."
    " Repeatable.  [default: 127.0.0.1:8000]",
)
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Worker processes.")
@click.option(
    "--check",
    type=TARGET_PATH,
    envvar=variables.CHECK,
    show_envvar=True,
    default="",
    metavar="PATH",
    help="Accept nothing in public before this path answers 2xx in private.",
)
@click.option(
    "--check-host",
    envvar=variables.CHECK_HOST,
    show_envvar=True,
    default="localhost",
    show_default=True,
    metavar="HOST",
    help="Host header of the check.",
)
@click.option(
    "--check-scheme",
    type=click.Choice(SCHEMES),
    envvar=variables.CHECK_SCHEME,
    show_envvar=True,
    default="http",
    show_default=True,
    help="Scheme of the check; https as over a proxy that ends TLS (X-Forwarded-Proto).",
)
@click.option(
    "--check-header",
    "check_headers",
    type=HEADER,
    envvar=variables.CHECK_HEADERS,
    show_envvar=True,
    multiple=True,
    metavar="NAME=VALUE",
    help="Send this header with the check. Repeatable.",
)
@click.option(
    "--check-timeout",
    type=SPAN,
    envvar=variables.CHECK_TIMEOUT,
    show_envvar=True,
    default="60s",
    show_default=True,
    help="Time for start-up and check together.",
)
@click.option(
    "--warm", type=TARGET_PATH, multiple=True, metavar="PATH", help="GET this once before accepting. Repeatable."
)
@click.option(
    "--release", envvar=variables.RELEASE, show_envvar=True, default="", metavar="ID", help="Name of this release."
)
@click.option(
    "--private",
    envvar=variables.PRIVATE,
    show_envvar=True,
    default="",
    metavar="PATH",
    help="Private Unix socket for the status document and orders.",
)
@click.option(
    "--assets",
    envvar=variables.ASSETS,
    show_envvar=True,
    default="",
    metavar="DIR",
    help="What the app answers 404 to is looked for here: public files of this release and of those before.",
)
@click.option(
    "--uploads",
    type=UPLOADS,
    envvar=variables.UPLOADS,
    show_envvar=True,
    multiple=True,
    metavar="PREFIX=DIR",
    help="What the app answers 404 to below this prefix is looked for here: what visitors gave to it. Repeatable.",
)
@click.option(
    "--linger",
    type=SPAN,
    envvar=variables.LINGER,
    show_envvar=True,
    default="35s",
    show_default=True,
    help="Keep idle connections this long, serving and draining; longer than the proxy does.",
)
@click.option(
    "--requests",
    type=SPAN,
    envvar=variables.REQUESTS,
    show_envvar=True,
    default="30s",
    show_default=True,
    help="Drain: time for requests under way.",
)
@click.option(
    "--streams",
    type=SPAN,
    envvar=variables.STREAMS,
    show_envvar=True,
    default="5m",
    show_default=True,
    help="Drain: time for responses that have begun and for WebSockets.",
)
@click.option(
    "--head-timeout",
    type=SPAN,
    envvar=variables.HEAD_TIMEOUT,
    show_envvar=True,
    default="30s",
    show_default=True,
    help="Time for a request's head, from its first byte; then 408.",
)
@click.option(
    "--head-size",
    type=click.IntRange(1024),
    envvar=variables.HEAD_SIZE,
    show_envvar=True,
    default=65536,
    show_default=True,
    metavar="BYTES",
    help="Size of a request's head; a larger one gets 431.",
)
@click.option(
    "--body-timeout",
    type=SPAN,
    envvar=variables.BODY_TIMEOUT,
    show_envvar=True,
    default="5m",
    show_default=True,
    help="Time without a byte of a request's body; then 408.",
)
@click.option(
    "--interface",
    type=click.Choice(["auto", "asgi", "wsgi"]),
    default="auto",
    show_default=True,
    help="What the app is; auto guesses, and says so.",
)
@click.option("--factory", is_flag=True, help="MODULE:APP makes the app: call it without arguments.")
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="WSGI: requests that one worker runs at the same time.",
)
@click.option("--app-dir", default=".", show_default=True, metavar="DIR", help="Import the app from here.")
def command(app: str, bind: tuple[str, ...], **options: object) -> None:
    """Sockets come from systemd or `gapless run` (LISTEN_FDS), otherwise from --bind. SIGTERM drains; a second
    one hurries. Under `gapless run` the environment variables carry the settings of gapless.toml.
    """
    from gapless.serve.run import serve
    from gapless.serve.settings import Settings

    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # not a line for each WebSocket
    try:
        status = serve(Settings(app=app, bind=bind, **options))  # type: ignore[arg-type]  # click checked the types
    except GaplessError as error:
        notify.status(str(error))  # for whoever waits for READY=1
        raise
    sys.exit(status)
