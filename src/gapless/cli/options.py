"""Options that verbs share, and the project that they work on."""

from __future__ import annotations

import contextlib
import os
import pwd
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import click

from gapless import destination as destinations
from gapless.cli import completion
from gapless.cli.output import Output
from gapless.config import FILE, content
from gapless.config.settings import Config
from gapless.errors import GaplessError
from gapless.linux.disk import refusal
from gapless.linux.upwards import upwards
from gapless.provision.identity import Identity
from gapless.release.attempt import Observer, Target
from gapless.release.hold import release_hold
from gapless.release.holding import me
from gapless.release.ledger import Ledger
from gapless.release.store import Store
from gapless.switch.app import App
from gapless.switch.manager import Manager
from gapless.switch.systemd import home as systemd
from gapless.switch.systemd.home import SystemdHome

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass
class Project:
    """A directory with a gapless.toml, and the app that a manager makes of it."""

    directory: Path
    only: str = ""  # the one app that the caller may act on, as --app says; "" is any
    destination: str = ""  # whose settings lie over gapless.toml; "" is none's
    take_over: bool = False  # whether the app may be another project's until now

    @cached_property
    def config(self) -> Config:
        """What gapless.toml says. Raises GaplessError, also when that is about another app than the caller's."""
        config = _load(self.directory, self.destination, self._content)
        if self.only and config.name != self.only:
            hint = f"pass `-C` with the directory of {self.only}"
            cause = f"the gapless.toml in {self.directory} is not about {self.only}, and no other app is meant (--app)"
            raise GaplessError("act on", config.name, cause, hint, status=2)
        return config

    @property
    def _content(self) -> Callable[[Path], bytes]:
        """How gapless.toml is read: as the operator, who could make it a link to what only root may read."""
        if not (operator := self._operator):
            return content
        from gapless.release.operators import reading_as_operator  # only an operator pays for it

        return reading_as_operator(operator, content)

    @cached_property
    def installed(self) -> SystemdHome | None:
        """Find where `gapless up` installed the app under systemd; None: nowhere, or the app is not to be there.

        Raises GaplessError where that is another project's app.
        """
        if self.only:  # an operator's own manager, or supervisor, is nothing of root's
            home: SystemdHome | None = SystemdHome(self.only)
            home = home if home and home.installed and self.config else None
        else:
            home = None if self.config.manager == "embedded" else systemd.find(self.config.name)
            if home is None:
                self.refuse_another_users()
        if home:
            Identity(self.config, home).refuse_another(take_over=self.take_over)
        return home

    def refuse_another_users(self, *more: str) -> None:
        """Refuse, to root, what is under its owner's own systemd manager: root's commands would make a second one.

        The command as that user types it has `more` words. Raises GaplessError.
        """
        if user := systemd.whose(self.config.name, self.directory):
            cause = f"it is {user}'s, whose own systemd manager runs it (`gapless up --user`)"
            command = shlex.join([shutil.which("gapless") or "gapless", *sys.argv[1:], *more])
            raise GaplessError("act on", self.config.name, cause, f"runuser {user} -c {shlex.quote(command)}")

    @cached_property
    def app(self) -> App:
        """The app under the manager that has it. Raises GaplessError while it is to be under systemd and is not yet."""
        if self.installed is None and (self.only or self.config.manager == "systemd"):
            cause = "it is not installed under systemd yet"
            raise GaplessError("find", self.config.name, cause, "run `sudo gapless up` (or `gapless up --user`)")
        return self.intended

    @property
    def intended(self) -> App:
        """The app under the manager that is to have it, also while `gapless up` has not installed it yet."""
        home = self.installed
        if home is None and self.config.manager == "systemd":
            home = SystemdHome(self.config.name)
        if home:  # each is imported where it is used: a command should be there at once
            from gapless.switch.systemd.app import SystemdApp

            return SystemdApp(home)
        from gapless.switch.embedded.app import EmbeddedApp

        if self.destination:
            cause = "it is not installed under systemd yet, and the embedded supervisor runs no destinations"
            hint = f"run `sudo gapless up -d {self.destination}` (or `gapless up --user -d {self.destination}`)"
            raise GaplessError("find", self.config.name, cause, hint)
        return EmbeddedApp(self.directory)

    @property
    def store(self) -> Store:
        return Store(self.app.home.root)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.app.home.root)

    @property
    def manager(self) -> Manager:
        return self.app.manager

    @property
    def current(self) -> str | None:
        """The current release, also where the commit file is lost; None before the first. Raises GaplessError."""
        from gapless.release.recovery import current
        from gapless.switch.embedded.control import UnreachableError

        try:
            return current(self)
        except UnreachableError:  # no supervisor runs, so there is nobody to ask what serves
            return self.manager.current()

    @property
    def first(self) -> str:
        """The command that makes the first release."""
        return "`gapless deploy`" if self.app.kind == "systemd" else "`gapless run`"

    def known_as(self, name: str) -> str:
        """Who the caller says to be, for the others to read; an operator has a name that is not his to choose."""
        return f"{name} (through {me()})" if name and self._operator else name

    @property
    def _operator(self) -> pwd.struct_passwd | None:
        """Who typed sudo, if he may act on one app alone; root itself may do anything."""
        uid = int(os.environ.get("SUDO_UID") or 0)
        return pwd.getpwuid(uid) if self.only and uid else None

    def target(self, observer: Observer, lock_wait: float = 0.0, lease: str = "") -> Target:
        """What the release steps work on. Raises GaplessError when only root may."""
        if self.app.home.owner:
            need_root(f"change {self.config.name}")
        return Target(
            self.app.home,
            self.manager,
            observer,
            lock_wait,
            jobs=self.app.jobs,
            inherited=self.app.inherited,
            operator=self._operator,
            destination=self.destination,
            backup=self.app.backup,
            guard=self.app.guard,
            lease=lease,
        )


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
    """--json, -q, -v, and -C, which is passed as `project`; outside a project the verb is refused."""
    return in_project(speaking(function))


def in_project(function: Function) -> Function:
    """-C alone, for a verb that says nothing itself."""
    return _in(_project)(function)


def anywhere(function: Function) -> Function:
    """--json, -q, -v, and -C, for verbs that also work outside a project."""
    return _in(_nearest)(speaking(function))


def _in(find: Callable[[Path], Project]) -> Callable[[Function], Function]:
    def project(ctx: click.Context, _param: click.Parameter, value: Path | None) -> Project:
        only, before = ctx.find_root().params.get("app") or "", ctx.find_root().params.get("directory")
        return replace(
            find(value or before or Path()), only=only, destination=ctx.meta.get("gapless.destination") or ""
        )

    def remember(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
        ctx.meta["gapless.destination"] = value

    destination = click.option(
        "-d",
        "--destination",
        metavar="NAME",
        expose_value=False,
        is_eager=True,  # the project is found with it
        callback=remember,
        shell_complete=completion.destinations,
        help=f"Lay gapless.NAME.toml over {FILE}: staging beside production, say.",
    )
    where = click.option(
        "-C",
        "--project",
        metavar="DIRECTORY",
        type=click.Path(path_type=Path),
        shell_complete=completion.directories,
        callback=project,
        help=f"The directory with {FILE}; default: here or the nearest above.",
    )
    return lambda function: where(destination(function))


def _flag(*names: str, help: str) -> Callable[[Function], Function]:  # noqa: A002 -- click calls it so
    def set_it(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        output: Output = ctx.obj
        setattr(output, str(param.name), value or getattr(output, str(param.name)))

    return click.option(*names, is_flag=True, expose_value=False, callback=set_it, help=help)


def _project(given: Path) -> Project:
    found = _nearest(given)
    if not (found.directory / FILE).exists():
        _load(found.directory)  # says what is missing, and what to try
    return found


def _nearest(given: Path) -> Project:
    try:
        return Project(upwards(given, FILE).nearest(FILE) or given.absolute())
    except PermissionError as error:
        raise refusal("look for", FILE, error) from error


def _load(directory: Path, destination: str = "", content: Callable[[Path], bytes] = content) -> Config:
    """Its configuration, as `destination` has it, read by `content`.

    Raises GaplessError that says, where there is none, what ended the search above it.
    """
    around = upwards(directory, FILE)
    if around.end is None or (directory / FILE).exists():
        return destinations.load(directory, destination, content)
    cause = f"there is no such file, and above it the search stopped: {around.why}"
    hint = "run `gapless init` there, or change to the project's directory"
    if meant := next((one for one in (around.end, *around.end.parents) if (one / FILE).exists()), None):
        where = shlex.quote(str(meant))
        hint = f"if {meant / FILE} is the one that you mean, pass `-C {where}` or `cd {where}`"
    raise GaplessError("read", str(directory / FILE), cause, hint, status=2)


@contextlib.contextmanager
def ending(lease: str, project: Project, *, wanted: bool) -> Iterator[None]:
    """End the lease with what is done inside, if that is `wanted`. Raises GaplessError."""
    if wanted and not lease:
        raise click.UsageError("--end-lease needs --lease")
    try:
        yield
    finally:
        if wanted:
            release_hold(project.app.home.root, lease)


def need_root(what: str) -> None:
    """Refuse anybody else, before something half-way does. Raises GaplessError."""
    if os.geteuid() != 0:
        command = shlex.join([shutil.which("gapless") or "gapless", *sys.argv[1:]])  # sudo has a PATH of its own
        raise GaplessError(what.partition(" ")[0], what.partition(" ")[2], "only root may", f"sudo {command}")


def go_on_without_terminal() -> None:
    """Let what was begun go on when the terminal or the SSH connection goes away; the next command shows it."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def stop_like_ctrl_c() -> None:
    """SIGTERM and SIGHUP end a deploy as Ctrl-C does: what it started ends, too, and the ledger says so."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup(1)
            signal.signal(number, signal.default_int_handler)


end_lease = click.option(
    "--end-lease", is_flag=True, help="With --lease: it ends with this command, whatever comes of that."
)
lease = click.option(
    "--lease", default="", metavar="TOKEN", help="Go on in the lease of `gapless lock acquire --for`, and renew it."
)
dry_run = click.option("-n", "--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
yes = click.option("-y", "--yes", is_flag=True, help="Do not ask; without a terminal nothing is asked.")
