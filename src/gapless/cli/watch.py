"""--watch and --prove: how deploy and rollback watch a release."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import click

from gapless.cli.options import Function, Project
from gapless.cli.types import SPAN
from gapless.config.settings import Config
from gapless.errors import GaplessError
from gapless.release.watch import Watch

AFTER = 3.0  # seconds that a proof goes on after the commit, without --watch

_OPTIONS: list[Callable[[Function], Function]] = [
    click.option(
        "--confirm",
        type=SPAN,
        metavar="TIME",
        help="Then wait for `gapless confirm` this long, the previous release being warm; without it, turn back.",
    ),
    click.option(
        "--max-latency", type=SPAN, metavar="TIME", help="With --prove: an answer slower than this turns it back, too."
    ),
    click.option(
        "--prove-url",
        metavar="URL",
        help="Prove through this address, for example that of the proxy; with a path, by exactly that page.",
    ),
    click.option(
        "--prove",
        is_flag=True,
        help="Send 50 GETs a second of [check] path, as visitors do; turn back if one is lost, and keep a report.",
    ),
    click.option(
        "--watch",
        type=SPAN,
        metavar="TIME",
        help="Keep the previous release warm this long; turn back if the new one restarts or fails its check.",
    ),
]


def watch_options(function: Function) -> Function:
    """The options of a watch; `wanted_watch` makes one of them."""
    for option in _OPTIONS:
        function = option(function)
    return function


def wanted_watch(
    project: Project,
    watch: float | None,
    prove: bool,
    prove_url: str | None,
    max_latency: float | None,
    confirm: float | None,
) -> Watch | None:
    """What the options ask for, or None.

    Raises GaplessError (status 2) for an address that cannot be probed, and where nobody would turn back.
    """
    if confirm is not None and project.app.guard is None:
        cause = "under `gapless run` nobody would turn back once this command, or the machine, is gone"
        raise GaplessError("wait for", "a confirmation", cause, "let `--watch 30s` decide, or use systemd", status=2)
    if prove_url is None and not prove:
        if max_latency is not None:
            raise click.UsageError("--max-latency needs --prove")
        return None if watch is confirm is None else Watch(watch or 0.0, confirm=confirm)
    from gapless.prove.live import LiveProbe
    from gapless.prove.workload import Workload

    config = project.config
    url, headers = (prove_url, config.check.headers) if prove_url else public(config)
    exactly = Workload(url, headers=headers)
    asks = exactly if exactly.names_a_page else replace(exactly, path=config.check.path)
    return Watch(
        AFTER if watch is None else watch,
        LiveProbe(config.name, asks, max_latency, None if prove_url else config.check.visitor),
        confirm,
    )


def public(config: Config) -> tuple[str, Mapping[str, str]]:
    """Where visitors reach the app, and the headers that a request there takes.

    That is its first TCP address, or behind Unix sockets alone its site in Caddy. Raises GaplessError (status 2) where
    there is neither.
    """
    address = next((one for one in config.addresses if not one.startswith("unix:")), config.addresses[0])
    if address.startswith("unix:"):
        domain = next((one for one in config.proxy.domains if not one.startswith("*")), "")
        if not domain:
            hint = "name the address of the proxy in front: --prove-url http://127.0.0.1:80"
            raise GaplessError("prove through", address, "it is a Unix socket", hint, status=2)
        return f"{'http' if config.proxy.tls == 'off' else 'https'}://{domain}", config.check.headers
    from gapless.address import Address  # only a proof pays for it

    # Asked past the proxy, the app gets what its own check is asked with.
    return f"http://{Address.parse(address).reached}", config.check.visitor.sent
