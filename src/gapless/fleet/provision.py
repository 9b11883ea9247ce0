"""What a bare host needs before `gapless up`: gapless, Caddy, Litestream, and the app's settings, by our collection."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from gapless.errors import GaplessError
from gapless.fleet import wheel
from gapless.fleet.answers import unreachable
from gapless.fleet.hosts import Host
from gapless.fleet.parts import Fleet
from gapless.fleet.play import AT_ONCE, LAST, SHARED, Answer, ansible_playbook, own_folder, surroundings, variables
from gapless.linux.orphans import nothing_left

SETTINGS = """[defaults]
callback_plugins = {plugins}/callback
stdout_callback = tasks
collections_path = {folder}/collections
forks = {forks}
timeout = 10
retry_files_enabled = false
[connection]
pipelining = true
[ssh_connection]
ssh_args = {ssh}
control_path_dir = {folder}
"""
THERE = """systemctl is-enabled --quiet caddy 2> /dev/null && echo caddy
command -v litestream > /dev/null && echo litestream
:"""
READY = "Have all that is needed"
PYTHON = "/usr/bin/python3"  # what the role `host` takes, too: nothing has to be found out


@dataclass(frozen=True)
class Task:
    """What changed on a host, or would; or the error that ended its part; or that it has all now, and is `ready`."""

    host: Host
    name: str = ""
    error: GaplessError | None = None
    ready: bool = False


def provision(fleet: Fleet, settings: Path, *, dry_run: bool) -> Iterator[Task]:
    """Bring all hosts side by side what they lack, with the files in `settings` as the app's; tell of each change.

    Caddy and Litestream are installed where the app wants them and no others are there: what runs goes on. Raises
    GaplessError where Ansible does not do its part.
    """
    program = ansible_playbook()
    names = {f"h{number}": host for number, host in enumerate(fleet.hosts)}
    with own_folder() as made, contextlib.ExitStack() as left:
        folder = Path(made)
        (folder / "collections/ansible_collections/gapless").mkdir(parents=True)
        (folder / "collections/ansible_collections/gapless/deploy").symlink_to(collection())
        play = _play(fleet, wheel.write(folder), sorted(settings.iterdir()))
        (folder / "play.json").write_text(json.dumps([play]))
        hosts = {name: {**variables(host), "ansible_python_interpreter": PYTHON} for name, host in names.items()}
        (folder / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts}}))
        plugins = files("gapless").joinpath("fleet/plugins")
        forks = min(len(names), AT_ONCE)
        (folder / "ansible.cfg").write_text(SETTINGS.format(plugins=plugins, folder=folder, forks=forks, ssh=SHARED))
        left.enter_context(nothing_left())
        argv = [program, "-i", str(folder / "hosts.json"), str(folder / "play.json"), *(["--check"] if dry_run else [])]
        with (folder / "log").open("wb") as log:
            process = left.enter_context(_running(argv, folder, log.fileno()))
        assert process.stdout is not None  # noqa: S101 -- it is a pipe
        told = False
        for line in process.stdout:
            if line.startswith("{"):
                event = json.loads(line)
                yield _task(names[event["host"]], event)
                told |= event["event"] != "changed"
        if process.wait() != 0 and not told:
            said = (folder / "log").read_text("utf-8", "replace").splitlines()[-LAST:]
            raise GaplessError("run", "ansible-playbook", "it ended before its work was done", details=tuple(said))


def collection() -> Path:
    """Where our collection is: it comes with the package, and in a checkout it is beside."""
    root = Path(str(files("gapless")))
    found = root / "fleet" / "collection"
    return found if found.exists() else root.parents[1] / "ansible"


def _play(fleet: Fleet, gapless: Path, settings: Sequence[Path]) -> dict[str, Any]:
    config = fleet.config
    wanted = {"caddy": config.proxy.domains, "litestream": config.database.path}
    programs = [name for name, why in wanted.items() if why]
    look = {
        "name": "Look what is there",
        "ansible.builtin.command": {"argv": ["sh", "-c", THERE]},
        "register": "gapless_there",
        "changed_when": False,
        "check_mode": False,
    }
    folder = {"path": fleet.directory, "state": "directory", "mode": "0700"}
    write = [
        {
            "name": f"Write {fleet.directory}/{one.name}",
            "ansible.builtin.copy": {"src": str(one), "dest": f"{fleet.directory}/{one.name}", "mode": "0600"},
            "when": "not (ansible_check_mode and gapless_folder is changed)",  # it is not there yet
        }
        for one in settings
    ]
    return {
        "hosts": "all",
        "gather_facts": True,
        "gather_subset": ["!all", "min"],
        "vars": {
            "host_gapless": f"{gapless}[serve,cli]",
            "host_timezone": "",  # how the host is otherwise, is not ours to say
            "host_unattended_upgrades": False,
            **{f"{one}_enabled": f"{{{{ '{one}' not in gapless_there.stdout_lines }}}}" for one in programs},
        },
        "pre_tasks": [look],
        "roles": [f"gapless.deploy.{role}" for role in ("host", *programs)],
        "post_tasks": [
            {"name": f"Make {fleet.directory}", "ansible.builtin.file": folder, "register": "gapless_folder"},
            *write,
            {"name": READY, "ansible.builtin.command": "true", "changed_when": True, "check_mode": False},
        ],
    }


@contextlib.contextmanager
def _running(argv: Sequence[str], folder: Path, log: int) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        env=surroundings(folder),
        start_new_session=True,  # Ctrl-C is ours to answer
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def _task(host: Host, event: Mapping[str, str]) -> Task:
    name = event["task"].rpartition(" : ")[2]
    if name == READY:
        return Task(host, ready=True)
    if event["event"] == "changed":
        return Task(host, name)
    if event["event"] == "unreachable":
        return Task(host, name, unreachable(host, Answer(unreachable=event["why"])))
    details = tuple(event["said"].splitlines()[-LAST:])
    return Task(host, name, GaplessError("prepare", host.name, f"{name}: {event['why']}", details=details))
