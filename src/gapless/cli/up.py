"""gapless up"""

from __future__ import annotations

import os

import click

from gapless import address
from gapless.cli.deploy import lock_wait, switched
from gapless.cli.options import Project, common, dry_run, go_on_without_terminal, need_root
from gapless.cli.output import Output
from gapless.cli.progress import Progress
from gapless.config import load
from gapless.errors import GaplessError
from gapless.provision import install
from gapless.release import deploy, recovery
from gapless.release.attempt import Target
from gapless.release.lock import deploy_lock
from gapless.release.preview import plan_deploy
from gapless.switch.systemd.manager import SystemdManager
from gapless.switch.systemd.names import Place


@click.command()
@click.option("--user", is_flag=True, help="Under your own systemd manager instead of the machine's: no root needed.")
@click.option("--close-socket", is_flag=True, help="Let a new address close the old one: new visitors are refused.")
@dry_run
@lock_wait
@common
@click.pass_obj
def command(
    output: Output, /, project: Project, user: bool, close_socket: bool, dry_run: bool, lock_wait: float
) -> None:
    """Makes a system user, /srv/NAME, the socket unit, and deploys the project as it is, if nothing was deployed yet.
    Can be repeated: what is there already stays as it is.
    """
    place = Place(project.config.name, user=user)
    install.require_systemd(place)
    manager = SystemdManager(place)
    install.refuse_foreign(place)
    target = Target(place.root, manager, Progress(output), lock_wait, owner=place.owner)
    current = recovery.current(target) or ""
    first, lost = not current, current != (manager.current() or "")
    changes = install.examine(project.config, place, current)
    if lost:
        changes.sentences.insert(0, f"Write {manager.commit} again: it is to name {current}.")
    if changes.closes and not close_socket:
        hint = "`gapless up --close-socket` does it: visitors are refused from then until the release listens there"
        raise GaplessError("change", "the held socket", f"{changes.closes}: it must be closed for that", hint)
    if dry_run:
        plan = [*changes.sentences, *(plan_deploy(target, project.directory) if first else [])]
        output.result({"plan": plan, "diff": changes.diff}, *(plan or ["Nothing: it is up already."]), *changes.diff)
        return
    if place.owner:
        need_root(f"install {place.name}")
    go_on_without_terminal(output)
    os.nice(10)
    if changes.sentences:
        _install(output, project, target, manager, changes)
    for missing in address.absent(project.config.addresses):
        output.warn(f"this host has no address {missing.rpartition(':')[0]} now: nobody reaches {missing} until it has")
    document: dict[str, object] = {"changed": changes.sentences, "deployed": None}
    lines = ["Already up: nothing to change." if not changes.sentences else f"{place.name} is up."]
    if first:
        document["deployed"], lines = switched(deploy.deploy(target, project.directory))
    elif load(target.store.path(current)) != project.config:
        lines.append("Other settings reach the next release: `gapless deploy`.")
    output.result(document, *lines)


def _install(
    output: Output, project: Project, target: Target, manager: SystemdManager, changes: install.Changes
) -> None:
    with deploy_lock(target.home, why="up", wait=target.lock_wait):
        recovery.restore(target)
        install.apply(project.config, manager.place, manager.ctl)
        for sentence in changes.sentences:
            output.say(sentence)
        if changes.closes or changes.shut:
            install.reopen(manager.place, manager.ctl)
