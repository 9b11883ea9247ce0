"""gapless.toml as frozen typed values: every setting, its default, its unit."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec

from gapless import span, timeouts
from gapless.errors import GaplessError
from gapless.linux.files import open_regular

FILE = "gapless.toml"
LARGEST = 256 << 10  # bytes: it may be somebody else's
DOTS = 500  # in a line
NOTHING = ("", "")  # is wrong: neither a cause nor a hint
VARIABLE = re.compile("[A-Za-z_][A-Za-z0-9_]*")
SECRET = re.compile("[A-Za-z0-9_-]+")
# systemd.service(5) takes a leading @ - : + ! or | for an order of its own, "run it as root" among them.
PROGRAM = re.compile(r"[A-Za-z0-9_./][^\x00-\x1f\x7f]*")


class Seconds(float):
    """A span of time; written in TOML as a number of seconds or as "250ms", "30s", "5m", "1h"."""


Command = str | list[str]
# Not with a dash at its end: what is in shop-.socket.d systemd applies to every shop-….socket, systemd.unit(5).
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z]([a-z0-9-]{0,30}[a-z0-9])?\Z")]


class Build(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`run` makes a release ready (a string goes to `sh -e`, a list is run as it is); it may take `timeout`."""

    run: Command = ""
    timeout: Seconds = Seconds(900)


class Release(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`migrate` runs once before the switchover, within `timeout`; `keep` good releases stay for rollback."""

    migrate: Command = ""
    timeout: Seconds = Seconds(300)
    keep: Annotated[int, msgspec.Meta(ge=2)] = 5


class Check(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The candidate's own check: `path` must answer 2xx (with this `host` header) within `timeout` of its start.

    Without `path`, ready means that start-up is complete. `timeout` bounds start-up and check together.
    `rehearse` (under systemd) first starts the release on a private socket and checks it there, then stops it:
    for servers that cannot check themselves; "auto" is for every command but `gapless serve`.
    """

    path: str = ""
    host: str = "localhost"
    timeout: Seconds = Seconds(60)
    rehearse: bool | Literal["auto"] = "auto"


class Drain(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long a retiring instance serves: idle connections (`linger`), `requests`, and `streams` (WebSocket, SSE).

    `linger` exceeds the keep-alive time of the proxy in front (the guide sets Caddy's `keepalive` to 30 s).
    """

    linger: Seconds = Seconds(35)
    requests: Seconds = Seconds(30)
    streams: Seconds = Seconds(300)


class Process(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A background process of the current release: told to end at a switchover, it may take `drain`."""

    command: Command
    drain: Seconds = Seconds(30)

    @property
    def argv(self) -> list[str]:
        return argv(self.command)


class Timer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command that systemd runs at each `calendar` moment (systemd.time(7)), in the current release."""

    command: Command
    calendar: str

    @property
    def argv(self) -> list[str]:
        return argv(self.command)


class Sandbox(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the app may do under systemd: reach the network, write outside `shared`, make code while it runs."""

    network: Literal["none", "local", "full"] = "full"
    writable: list[str] = []
    jit: bool = False


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One service. `command` is an argv (a string is split like a shell would, but no shell runs it: LISTEN_PID).

    `env_file` and the files of `secrets` are relative to the project's directory; see environment.py.
    """

    name: Name
    command: Command
    listen: str | list[str] = "127.0.0.1:8000"
    manager: Literal["auto", "systemd", "embedded"] = "auto"
    env_file: str = ""
    env: dict[str, str] = {}
    secrets: dict[str, str] = {}
    build: Build = Build()
    release: Release = Release()
    check: Check = Check()
    drain: Drain = Drain()
    processes: dict[Name, Process] = {}
    timers: dict[Name, Timer] = {}
    sandbox: Sandbox = Sandbox()

    @property
    def argv(self) -> list[str]:
        return argv(self.command)

    @property
    def rehearses(self) -> bool:
        """Whether a candidate is first rehearsed: `gapless serve` checks itself."""
        return not self.served_by_us if self.check.rehearse == "auto" else self.check.rehearse

    @property
    def served_by_us(self) -> bool:
        """Whether the command is `gapless serve`."""
        return Path(self.argv[0]).name == "gapless"

    @property
    def addresses(self) -> list[str]:
        return [self.listen] if isinstance(self.listen, str) else list(self.listen)

    @property
    def longest_drain(self) -> float:
        """Seconds after which a retiring instance that is still there is killed: no budget is cut short by it."""
        last = max(self.drain.requests, self.drain.streams) + self.drain.linger  # its connection is idle until then
        return last + 2 * self.drain.requests + timeouts.SHUTDOWN  # a request comes just before its end


def argv(command: Command) -> list[str]:
    """The command as an argument vector; raises ValueError when its quotes do not close."""
    return shlex.split(command) if isinstance(command, str) else list(command)


def load(directory: Path) -> Config:
    """Read `directory`/gapless.toml; raises GaplessError (status 2) that names the key and the nearest known one."""
    return read(directory / FILE)


def content(path: Path) -> bytes:
    """What is in the file `path`, which may be somebody else's. Raises GaplessError (status 2) or OSError."""
    with open_regular(path) as file:
        found = file.read(LARGEST + 1)
    if len(found) > LARGEST:
        raise GaplessError("read", str(path), f"it has more than {LARGEST >> 10} KiB", status=2)
    return found


def read(path: Path, content: Callable[[Path], bytes] = content) -> Config:
    """Read `path` by `content`; raises GaplessError (status 2) that names the key and the nearest known one."""
    try:
        return parse(content(path).decode("utf-8"), path)
    except FileNotFoundError:
        hint = "run `gapless init` there, or change to the project's directory"
        raise GaplessError("read", str(path), "there is no such file", hint, status=2) from None
    except (OSError, UnicodeDecodeError) as error:
        raise GaplessError("read", str(path), str(error), status=2) from error


def parse(text: str, path: Path) -> Config:
    """The configuration in `text`; `path` is for messages. Raises GaplessError (status 2)."""
    # tomllib takes hours for a key of many parts, and all that it says of some files is not its own error.
    if any(line.count(".") > DOTS for line in text.splitlines()):
        raise GaplessError("read", str(path), f"it has a line with more than {DOTS} dots", status=2)
    try:
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise GaplessError("read", str(path), f"it is not valid TOML: {error}", status=2) from error
    known = _without_unknown_keys(raw, Config, path)
    try:
        config = msgspec.convert(known, Config, dec_hook=_decode)
    except (msgspec.ValidationError, ValueError) as error:
        hint = "`gapless config --example` prints every setting with its default"
        raise GaplessError("use", str(path), str(error), hint, status=2) from error
    problem, hint = _problem(config)
    if problem:
        raise GaplessError("use", str(path), problem, hint, status=2)
    return config


def _problem(config: Config) -> tuple[str, str]:
    """What types alone cannot say: the cause and what to try; empty if nothing is wrong."""
    for check in (_of_commands, _of_places, _of_environment):
        if (found := check(config)) != NOTHING:
            return found
    return NOTHING


def _of_commands(config: Config) -> tuple[str, str]:
    commands = {"command": config.command}
    commands |= {f"processes.{name}.command": one.command for name, one in config.processes.items()}
    commands |= {f"timers.{name}.command": one.command for name, one in config.timers.items()}
    commands |= {"build.run": config.build.run} if isinstance(config.build.run, list) and config.build.run else {}
    migrate = config.release.migrate
    commands |= {"release.migrate": migrate} if isinstance(migrate, list) and migrate else {}
    for key, command in commands.items():
        try:
            words = argv(command)
        except ValueError as error:
            return f"`{key}`: {error}", "close its quotes"
        if not words:
            return f"`{key}` is empty", 'for example: command = "gapless serve app:app"'
        if not PROGRAM.fullmatch(words[0]):
            hint = "a program's name or path begins with a letter, a digit, _, . or /"
            return f"`{key}`: {words[0]!r} is not the name or path of a program", hint
    if "rehearsal" in config.processes.keys() | config.timers.keys():
        return "`rehearsal` is the name of gapless's own unit", "choose another name for that process or timer"
    if both := config.processes.keys() & config.timers.keys():
        return f"`{both.pop()}` is both a process and a timer", "give one of them another name"
    return NOTHING


def _of_places(config: Config) -> tuple[str, str]:
    for path in config.sandbox.writable:
        if not path.startswith("/") or any(sign in path for sign in "\n\0"):
            return f"`sandbox.writable`: {path!r} is no absolute path", "write it from the root on"
    if not config.addresses:
        return "`listen` is empty", 'for example: listen = "127.0.0.1:8000"'
    return NOTHING


def _of_environment(config: Config) -> tuple[str, str]:
    for name, value in config.env.items():
        if not VARIABLE.fullmatch(name) or "\0" in value:
            hint = "a name consists of letters, digits and _ (so it has no =), and a value has no NUL byte"
            return f"`env.{name}` cannot be an environment variable", hint
    for name, file in config.secrets.items():
        if not SECRET.fullmatch(name) or not file or "\0" in file:
            hint = 'for example: database-password = "secrets/database-password"'
            return f"`secrets.{name}` is not a name (letters, digits, _ and -) with the path of a file", hint
    return NOTHING


def _decode(kind: type, written: object) -> object:
    if kind is Seconds:
        return Seconds(span.parse(written))
    raise NotImplementedError(kind)


def _without_unknown_keys(raw: Mapping[str, Any], kind: Any, path: Path, table: str = "") -> dict[str, Any]:
    """`raw` less its `x-…` keys (free for the user); any other key that `kind` does not have is refused."""
    fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
    kept = {key: value for key, value in raw.items() if not key.startswith("x-")}
    for key, value in kept.items():
        if key not in fields:
            import difflib  # only a slip pays for it

            near = difflib.get_close_matches(key, fields, 1, 0.5)
            hint = f"did you mean `{table}{near[0]}`?" if near else f"known here: {', '.join(fields)}"
            raise GaplessError("use", str(path), f"unknown key `{table}{key}`", hint, status=2)
        kept[key] = _inner(value, fields[key], path, f"{table}{key}.")
    return kept


def _inner(value: object, kind: Any, path: Path, table: str) -> object:
    if isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _without_unknown_keys(value, kind, path, table)
    if isinstance(value, dict) and (of := get_args(kind)):  # a table of tables: their names are the user's
        return {name: _inner(each, of[1], path, f"{table}{name}.") for name, each in value.items()}
    return value
