"""gapless.toml as systemd units: rendered whole for each release, so that a rollback brings its settings back."""

from __future__ import annotations

import base64
import errno
import functools
import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gapless import environment, programs, timeouts, variables
from gapless.address import Address
from gapless.config.settings import Config
from gapless.errors import GaplessError
from gapless.switch.job import NOTHING, Kind, Told
from gapless.switch.systemd.home import SystemdHome, release_of
from gapless.version import maker

if TYPE_CHECKING:
    import jinja2

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What ProtectHome= and PrivateTmp= hide, systemd.exec(5).
HIDDEN = tuple(map(Path, ("/home", "/root", "/run/user", "/tmp", "/var/tmp")))  # noqa: S108 -- nothing is written there

STREAM = "ListenStream="
CADDY = "caddy"  # the user and the group of Caddy's service, in every package of it
TRUST = {"FORWARDED_ALLOW_IPS": "*"}  # believe X-Forwarded-For and -Proto
ENDS = "\n\r\0"  # each ends a line of a unit file: what follows would be a setting of its own


def socket(config: Config, home: SystemdHome) -> str:
    """The socket unit. Raises GaplessError when an address cannot be used."""
    # Whoever may connect may say whose address and scheme a request has.
    closed = bool(config.proxy.domains and home.owner) and any(one.startswith("unix:") for one in config.addresses)
    addresses = [_stream(address) for address in config.addresses]
    return render("socket", config=config, addresses=addresses, group=CADDY if closed else "")


def installed(home: SystemdHome, name: str) -> str:
    """The text of a unit as it is installed; empty where it is not. Raises OSError."""
    unit = home.units / name
    return unit.read_text("utf-8", "replace") if unit.exists() else ""


def installed_socket(home: SystemdHome) -> str:
    """The text of the socket unit as it is installed; empty where it is not."""
    return installed(home, home.socket)


def listens(unit: str) -> list[Address]:
    """Where the socket unit with this text listens."""
    lines = [line for line in unit.splitlines() if line.startswith(STREAM)]
    streams = [line.removeprefix(STREAM).replace("%%", "%") for line in lines]
    return [Address.parse(f"unix:{one}" if one.startswith("/") else one) for one in streams]


def service(config: Config, home: SystemdHome, instance: str, socket: str = "") -> str:
    """The service unit of `instance`, which takes the sockets of `home`, or those of the unit `socket`."""
    release = release_of(instance)
    about = _common(config, home, release, config.argv)
    about["start_timeout"] = config.check.timeout + timeouts.MANAGER
    runtime = home.runtime(f"{instance}.rehearsal" if socket else instance)
    for_server = programs.for_server(home, config, "" if socket else home.private(instance), runtime)
    for_server[variables.CHECK_HEADERS] = ""  # they are in a file of root's
    about["variables_of_check"] = environment.check_file(home.root, release)
    about["for_server"] = for_server | (TRUST if socket else _trust(home))  # root alone connects to another socket
    runtime = "" if home.owner else runtime
    return render("service", instance=instance, socket=socket or home.socket, runtime=runtime, **about)


def _trust(home: SystemdHome) -> dict[str, str]:
    """Let the server believe X-Forwarded-For and -Proto where only Caddy can send it anything.

    uvicorn and gunicorn read the variable. Over TCP they believe whoever comes from this host.
    """
    unit = installed_socket(home)
    closed = f"SocketGroup={CADDY}\n" in unit and all(isinstance(one.name, str) for one in listens(unit))
    return TRUST if closed else {}


def job(
    config: Config,
    home: SystemdHome,
    release: str,
    kind: Kind,
    argv: Sequence[str],
    timeout: float,
    told: Told = NOTHING,
) -> str:
    """The service unit of a command that is run once: a build writes the release and the caches, no other does."""
    about = _common(config, home, release, argv)
    if kind.builds:
        about |= {"builds": True, "account": home.builder, "writable": [about["directory"], str(home.cache)]}
        about |= {"memory": config.build.memory, "cpu": 0.0}
    about["own"] = programs.for_build(home, release) if kind.builds else told.variables
    about["stdin"] = base64.b64encode(told.text.encode()).decode()
    return render("job", kind=kind, timeout=timeout, log=home.log_of(release), **about)


def execution(
    config: Config, home: SystemdHome, release: str, argv: Sequence[str], streams: Sequence[str], terminal: str
) -> str:
    """The service unit of a command of somebody's, on `streams`, as systemd names them; "tty" is the `terminal`."""
    term = os.environ.get("TERM", "dumb")
    about = _common(config, home, release, argv)
    return render("execution", streams=streams, terminal=terminal, term=term, **about)


def rehearsal(home: SystemdHome, path: Path) -> str:
    """The socket unit of a rehearsal, at `path`."""
    return render("rehearsal", home=home, path=path)


def of_release(config: Config, home: SystemdHome, instance: str) -> dict[str, str]:
    """Render every unit of an instance, by its name: for the server, the processes and the timers of its release."""
    release = release_of(instance)
    units = {home.unit(instance): service(config, home, instance)}
    for name, process in config.processes.items():
        about = _common(config, home, release, process.argv) | {"what": name, "leader": home.unit(instance)}
        units[home.other(name, release)] = render("process", timed=False, drain=process.drain, **about)
    for name, timer in config.timers.items():
        about = _common(config, home, release, timer.argv) | {"what": name, "leader": home.unit(instance)}
        units[home.other(name, release)] = render("process", timed=True, **about)
        units[home.other(name, release, "timer")] = render(
            "timer", calendar=timer.calendar, persistent=timer.persistent, **about
        )
    return units


def everything(config: Config, home: SystemdHome, instance: str) -> dict[str, str]:
    """All that makes `instance` the live one, by its path among the units: the socket, `of_release`, the commit."""
    drop_in = str(home.commit.relative_to(home.units))
    units = {home.socket: socket(config, home), **of_release(config, home, instance)}
    return units | {drop_in: commit(config, home, instance)}


def commands(config: Config) -> list[list[str]]:
    """The command lines of the server, the processes and the timers."""
    beside = [one.argv for one in config.processes.values()] + [one.argv for one in config.timers.values()]
    return [config.argv, *beside]


def unfit(config: Config, home: SystemdHome, release: str) -> str:
    """Why the release's programs cannot be executed; empty when they can. systemd would only say status 203."""
    for argv in commands(config):
        if number := missing(config, home, release, argv[0]):
            return f"could not execute {argv[0]!r}: {os.strerror(number)} (errno {number})"
    return ""


def missing(config: Config, home: SystemdHome, release: str, written: str) -> int:
    """Why a program of the release cannot be executed, as an errno; 0 when it can."""
    path = program(written, home.releases / release, search_path(config, home, release))
    if not path.exists():
        return errno.ENOENT
    return 0 if os.access(path, os.X_OK) else errno.EACCES


def companions(config: Config, home: SystemdHome, release: str) -> list[str]:
    """Name the processes and timers that run while the release is current; a timer starts its own service."""
    timers = [home.other(name, release, "timer") for name in config.timers]
    return [home.other(name, release) for name in config.processes] + timers


def commit(config: Config, home: SystemdHome, instance: str) -> str:
    """The drop-in of the socket unit that makes `instance` the live one."""
    wanted = companions(config, home, release_of(instance))
    return render("commit", home=home, instance=instance, others=wanted)


def body(text: str) -> str:
    """The text of a unit file without its first line, which says who made it."""
    return text.partition("\n")[2]


def made_by(text: str) -> str:
    """Who made the unit file with this text: as `maker` says it, or "an older gapless", which did not."""
    found = re.match(r"# Made by (gapless \S+ \(.*\))(?: for | from |; )", text)
    return found[1] if found else "an older gapless"


def started(text: str) -> Path:
    """The program that the service unit with this text starts: the first word, as `_command` writes it."""
    found = re.search(r'^ExecStart="((?:[^"\\]|\\.)*)"', text, re.MULTILINE)
    word = found[1] if found else ""
    return Path(re.sub(r"\\(.)", r"\1", word).replace("%%", "%").replace("$$", "$"))


def program(written: str, directory: Path, path: str = PATH) -> Path:
    """The absolute path of a program of the release in `directory`; where it would be when it is nowhere.

    systemd itself looks for it neither in the release nor on the app's PATH, and takes some bare names for orders.
    """
    if "/" in written:
        return directory / written
    found = shutil.which(written, path=environment.search_path(directory, path))
    return Path(found) if found else directory / environment.PROGRAMS / written


def visible(program: Path) -> list[str]:
    """List the directories of our Python that the sandbox leaves visible, where `program` belongs to it."""
    ours = [Path(sys.prefix), Path(sys.base_prefix), Path(__file__).parents[3]]  # an editable install is elsewhere
    if not any(program.is_relative_to(one) for one in ours):
        return []
    return [str(one) for one in dict.fromkeys(ours) if any(one.is_relative_to(home) for home in HIDDEN)]


def _common(config: Config, home: SystemdHome, release: str, argv: Sequence[str]) -> dict[str, object]:
    directory = home.releases / release
    search = search_path(config, home, release)
    path = program(argv[0], directory, search)
    return {
        "config": config,
        "home": home,
        "release": release,
        "directory": str(directory),
        "argv": [str(path), *argv[1:]],
        "path": environment.search_path(directory, search),
        "handed_over": environment.handed_over(home, release),
        "variables": environment.variables_file(home.root, release),
        "variables_of_build": environment.build_file(home.root, release),
        "secrets": environment.secrets(home.root, release),
        "hidden": visible(path),
        "builds": False,
        "memory": config.limits.memory,
        "cpu": config.limits.cpu,
        "account": home.owner,
        "writable": [str(home.shared), *config.sandbox.writable],
    }


def search_path(config: Config, home: SystemdHome, release: str) -> str:
    """Where a release that says so itself looks for programs; before it is made, that is what [env] says."""
    readable = os.access(environment.variables_file(home.root, release), os.R_OK)
    return (environment.read(home.root, release) if readable else config.env).get("PATH") or PATH


def _stream(written: str) -> str:
    name = Address.parse(written).name
    if isinstance(name, str):
        return _percent(name)
    return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"


@functools.cache
def _templates() -> jinja2.Environment:
    import jinja2  # only who writes units pays for it

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gapless", "templates/units"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        autoescape=False,  # noqa: S701 -- unit files are no HTML; each filter below quotes for systemd
    )
    environment.filters |= {"quoted": _quoted, "percent": _percent, "command": _command}
    return environment


def render(template: str, **values: object) -> str:
    """The unit file of a template."""
    text = _templates().get_template(template).render(maker=maker(), **values)
    return re.sub(r"\n{3,}", "\n\n", text)


def _percent(text: str | Path) -> str:
    """`text` with nothing in it that systemd would take for a specifier."""
    if any(end in str(text) for end in ENDS):
        raise GaplessError("write", f"{text!r} into a unit", "it has a line break in it", status=2)
    return str(text).replace("%", "%%")


def _quoted(text: str) -> str:
    """One word, systemd.syntax(7)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{_percent(escaped)}"'


def _command(argv: Sequence[str]) -> str:
    """A command line of systemd.service(5): a `$` would be a variable."""
    return " ".join(_quoted(word).replace("$", "$$") for word in argv)
