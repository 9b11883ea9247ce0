"""Options that verbs share, and the project that they work on."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import click

from gapless.cli.output import Output
from gapless.config import FILE, Config, load
from gapless.release.attempt import Observer, Site
from gapless.release.ledger import Ledger
from gapless.release.store import Store
from gapless.switch.embedded import EmbeddedManager
from gapless.switch.home import Home

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass
class Project:
    """A directory with a gapless.toml, and what gapless keeps for it in `.gapless`."""

    directory: Path

    @property
    def home(self) -> Path:
        return self.directory / ".gapless"

    @cached_property
    def config(self) -> Config:
        return load(self.directory)

    @cached_property
    def manager(self) -> EmbeddedManager:
        return EmbeddedManager(self.home)

    @property
    def store(self) -> Store:
        return Store(self.home)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.home)

    @property
    def place(self) -> Home:
        return Home(self.home)

    def site(self, observer: Observer, lock_wait: float = 0.0) -> Site:
        """What the release steps work on."""
        return Site(self.home, self.manager, observer, lock_wait)

    def prepare(self) -> None:
        """Make `.gapless`, invisible to git without a line in the project's own .gitignore."""
        self.home.mkdir(exist_ok=True)
        (self.home / ".gitignore").write_text("*\n")


def speaking(function: Function) -> Function:
    """--json, -q, -v: they go to the Output."""
    for option in (
        _flag("-v", "--verbose", help="Say more."),
        _flag("-q", "--quiet", help="Say nothing but the answer and errors."),
        _flag("--json", help="Answer in JSON (documented, only ever added to)."),
    ):
        function = option(function)
    return function


def common(function: Function) -> Function:
    """The same, and -C: passed as `project`; outside a project the verb is refused."""
    return _in(_project)(speaking(function))


def anywhere(function: Function) -> Function:
    """The same, for verbs that also work outside a project."""
    return _in(_nearest)(speaking(function))


def _in(find: Callable[[Path], Project]) -> Callable[[Function], Function]:
    return click.option(
        "-C",
        "--project",
        default=".",
        type=click.Path(path_type=Path),
        callback=lambda _ctx, _param, value: find(value),
        help=f"The directory with {FILE}; default: here or the nearest above.",
    )


def _flag(*names: str, help: str) -> Callable[[Function], Function]:  # noqa: A002 -- click calls it so
    def set_it(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        output: Output = ctx.obj
        setattr(output, str(param.name), value or getattr(output, str(param.name)))

    return click.option(*names, is_flag=True, expose_value=False, callback=set_it, help=help)


def _project(given: Path) -> Project:
    found = _nearest(given)
    if not (found.directory / FILE).exists():
        load(found.directory)  # says what is missing, and what to try
    return found


def _nearest(given: Path) -> Project:
    start = given.absolute()
    found = next((one for one in (start, *start.parents) if (one / FILE).exists()), start)
    return Project(found)


def stop_like_ctrl_c() -> None:
    """SIGTERM and SIGHUP end a deploy as Ctrl-C does: what it started ends, too, and the ledger says so."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup(1)
            signal.signal(number, signal.default_int_handler)


dry_run = click.option("-n", "--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
yes = click.option("-y", "--yes", is_flag=True, help="Do not ask; without a terminal nothing is asked.")
