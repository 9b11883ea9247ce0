"""gapless up"""

from __future__ import annotations

import os

import click

from gapless import address, timeouts
from gapless.cli import completion
from gapless.cli.deploy import lock_wait, switched, take_over, taken
from gapless.cli.fleet.choice import meant, on_hosts
from gapless.cli.fleet.up import up_on
from gapless.cli.options import Project, common, dry_run, go_on_without_terminal, need_root
from gapless.cli.output import Output, in_a_line
from gapless.cli.progress import Progress
from gapless.doctor import machine
from gapless.doctor.finding import Severity
from gapless.errors import GaplessError
from gapless.provision import host
from gapless.provision.identity import Identity
from gapless.provision.install import Installation
from gapless.provision.renewal import Renewal
from gapless.provision.socket import SocketUnit
from gapless.release import deploy, difference, recovery
from gapless.release.attempt import Target
from gapless.release.lock import deploy_lock
from gapless.release.preview import preview_deploy
from gapless.switch.systemd.app import SystemdApp
from gapless.switch.systemd.home import SystemdHome
from gapless.switch.systemd.manager import SystemdManager


@click.command()
@click.argument("source", required=False, shell_complete=completion.files)
@click.option("--user", is_flag=True, help="Under your own systemd manager instead of the machine's: no root needed.")
@click.option("--close-socket", is_flag=True, help="Let a new address close the old one: new visitors are refused.")
@take_over
@click.option("--existing-user", is_flag=True, help="Run the app as a user of its name that is there already.")
@dry_run
@lock_wait
@on_hosts
@common
@click.pass_obj
def command(
    output: Output,
    /,
    project: Project,
    source: str | None,
    user: bool,
    close_socket: bool,
    take_over: bool,
    existing_user: bool,
    dry_run: bool,
    lock_wait: float,
) -> None:
    """Makes a system user, /srv/NAME, the socket unit, and deploys the project as it is, if nothing was deployed yet,
    or SOURCE in its place (see `gapless deploy`). Can be repeated: what is there already stays as it is. What another
    version of gapless made is started again beside itself.

    On hosts, over SSH, it first installs this gapless, Caddy for [proxy] and Litestream for [database], where they are
    missing, and writes gapless.toml there.
    """
    project.take_over = take_over
    if source != "-" and not user and (fleet := meant(project)):
        up_on(output, fleet, project, source, dry_run=dry_run)
        return
    home = SystemdHome(project.config.name, user=user)
    host.require_systemd(home)
    project.refuse_another_users(*(() if user else ("--user",)))
    app = SystemdApp(home)
    host.refuse_foreign(home)
    Identity(project.config, home).refuse_another(take_over=take_over)
    target = Target(
        home,
        app.manager,
        Progress(output),
        lock_wait,
        jobs=app.jobs,
        destination=project.destination,
        backup=app.backup,
    )
    current = recovery.current(target) or ""
    first, lost = not current, current != (app.manager.current() or "")
    installation = Installation(project.config, home, current, adopt=existing_user, project=project.directory)
    if os.geteuid() == 0:
        installation.site.judge()
    missing = _missing(installation, Renewal(home, current))
    if lost:
        missing.insert(0, f"Write {app.manager.commit} again: it is to name {current}.")
    if current and not close_socket:  # before the first release nobody is refused who was served
        _refuse_to_close(installation.socket)
    made_of = taken(target, project, source) if first else None
    steps = preview_deploy(target, project.directory, made_of).steps if first else []  # refused before anything is made
    if dry_run:
        plan = [*missing, *steps]
        _tell(output, installation, plan, current, _changes(target, project, current))
        return
    if home.owner:
        need_root(f"install {home.name}")
    go_on_without_terminal()
    os.nice(10)
    if missing:
        _install(output, target, installation, missing)
    _warn(output, home, project)
    document: dict[str, object] = {"changed": missing, "deployed": None}
    lines = ["Already up: nothing to change." if not missing else f"{home.name} is up."]
    if first:
        document["deployed"], lines = switched(deploy.deploy(target, project.directory, made_of))
    elif _differs(home, current, project):
        lines.append("Other settings reach the next release: `gapless deploy`.")
    _answer(output, document, lines, installation.site.blocked)


def _warn(output: Output, home: SystemdHome, project: Project) -> None:
    """Tell of visitors who will not get in."""
    for unreached in address.absent(project.config.addresses):
        output.warn(
            f"this host has no address {unreached.rpartition(':')[0]} now: nobody reaches {unreached} until it has"
        )
    for unheard in address.left_out(project.config.addresses):
        output.warn(f"nobody listens on {unheard}: `gapless doctor` says why")
    if home.user and (found := machine.linger(home)).state is Severity.FAILED:
        output.warn(f"{found.what}: every request is refused then; `{found.hint}` lets it stay")


def _refuse_to_close(socket: SocketUnit) -> None:
    if moved := socket.closes():
        hint = "`gapless up --close-socket` does it: visitors are refused from then until the release listens there"
        raise GaplessError("change", "the held socket", f"{moved}: it must be closed for that", hint)


def _differs(home: SystemdHome, current: str, project: Project) -> bool:
    try:
        return home.config(current) != project.config
    except GaplessError:  # they are damaged, as doctor says: the next release has its own
        return True


def _missing(installation: Installation, renewal: Renewal) -> list[str]:
    try:
        return [*installation.missing(), *renewal.missing()]
    except PermissionError as error:  # Caddy's own file may be nobody else's to read
        cause = f"{error.filename} is not yours to read"
        raise GaplessError("plan", f"`gapless up` of {installation.home.name}", cause, "run it as root") from error


def _answer(output: Output, document: dict[str, object], lines: list[str], blocked: GaplessError | None) -> None:
    if blocked:  # Caddy can load no site now; all else is done
        for line in lines:
            output.say(line)
        raise blocked
    output.result(document, *lines)


def _tell(output: Output, installation: Installation, plan: list[str], current: str, changes: list[str] | None) -> None:
    if installation.site.blocked:
        output.warn(str(installation.site.blocked))
    diff = installation.socket.diff() + installation.site.diff()
    later = [f"Another deploy would change: {', '.join(changes)}."] if changes else []
    output.result(
        {"plan": plan, "diff": diff, "current": current or None, "changes": changes},
        *map(in_a_line, plan or ["Nothing: it is up already."]),
        *diff,
        *later,
    )


def _changes(target: Target, project: Project, current: str) -> list[str] | None:
    """What of settings and environment the current release has otherwise; None where the caller cannot see that."""
    if not current:
        return []
    if not os.access(target.home.env, os.X_OK):
        return None
    return difference.of_settings(target, current, project.config, project.directory)


def _install(output: Output, target: Target, installation: Installation, missing: list[str]) -> None:
    with deploy_lock(target.home.root, why="up", wait=target.lock_wait):
        socket, current = installation.socket, installation.socket.current or ""
        reopens = bool(current) and (bool(socket.moved()) or socket.is_shut())
        recovery.restore(target)
        recovery.restore_ledger(target)
        installation.make()
        for sentence in missing:
            output.say(sentence)
        if reopens and any(one.ready for one in target.manager.instances()):
            timeout = target.home.config(current).check.timeout + timeouts.DEPLOYER
            SystemdManager(installation.home).renew(current, timeout, opening=True)
        elif reopens:
            socket.reopen()
        Renewal(installation.home, current).make()  # not after a renewal for the socket: it was one already
