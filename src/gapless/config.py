"""gapless.toml as frozen typed values: every setting, its default, its unit."""

from __future__ import annotations

import posixpath
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec

from gapless import span, timeouts
from gapless.address import clash
from gapless.errors import GaplessError
from gapless.linux.files import open_regular
from gapless.visitor import TARGET, Visitor

PLACEHOLDER = "MODULE:APP"
FILE = "gapless.toml"
LARGEST = 256 << 10  # bytes: it may be somebody else's
DOTS = 500  # in a line
NOTHING = ("", "")  # is wrong: neither a cause nor a hint
VARIABLE = re.compile("[A-Za-z_][A-Za-z0-9_]*")
SECRET = re.compile("[A-Za-z0-9_-]+")
LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
DOMAIN = re.compile(rf"(\*\.)?({LABEL}\.)*{LABEL}")
HEADER = re.compile("[A-Za-z][A-Za-z0-9-]*")
# Less what a Caddyfile takes for more than text: placeholders and variables { }, quotes " `, \\, ends of lines.
PLAIN = re.compile(r"[^{}\"`\\\x00-\x1f\x7f]*")
# Where public files are in URLs, and in a release: what nobody has to quote, in a Caddyfile or in a URL.
PREFIX = re.compile(r"(/[A-Za-z0-9._~@-]+)+")
PROXIED = re.compile("/run/[A-Za-z0-9][A-Za-z0-9._-]*")
INSIDE = re.compile(r"(?!/)(?!.*(^|/)\.{0,2}(/|$))[A-Za-z0-9._/-]+")  # a file below a directory
REPLICA = re.compile(
    r"(file://(?P<path>/[^\x00-\x1f\x7f\"'\\%]*[^/\x00-\x1f\x7f\"'\\%])|s3://[a-z0-9][a-z0-9.-]+(/[A-Za-z0-9._-]+)+)"
)
ENDPOINT = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]+)?|https?://\[[0-9A-Fa-f:]+\](:[0-9]+)?")
# systemd.service(5) takes a leading @ - : + ! or | for an order of its own, "run it as root" among them.
# All that stands in one line of a unit file or of an HTTP request; the other settings may have several lines.
IN_ONE_LINE = re.compile(r"(?!env\.|build\.env\.|build\.run|release\.migrate|proxy\.extra|(.+\.)?command\b).*")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
VISIBLE = re.compile(r"[!-~]+")  # what HTTP's Host takes, RFC 9112
TEXT = re.compile(r"[!-~]([ -~]*[!-~])?")  # the value of a header
FRAMING = {"host", "connection", "content-length", "transfer-encoding"}  # of a request, said by who sends it
MEMORY = re.compile("[1-9][0-9]*[KMGT]?|([1-9][0-9]?|100)%")  # systemd.resource-control(5)
PROGRAM = re.compile(r"[A-Za-z0-9_./][^\x00-\x1f\x7f]*")


class Seconds(float):
    """A span of time; written in TOML as a number of seconds or as "250ms", "30s", "5m", "1h"."""


Command = str | list[str]
# Not with a dash at its end: what is in shop-.socket.d systemd applies to every shop-….socket, systemd.unit(5).
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z]([a-z0-9-]{0,30}[a-z0-9])?\Z")]


class Build(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`run` makes a release ready (a string goes to `sh -e`, a list is run as it is).

    It may take `timeout` and `memory`, and it alone gets the variables `env`, over those of the release.
    """

    run: Command = ""
    timeout: Seconds = Seconds(900)
    memory: str = "75%"
    env: dict[str, str] = {}


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What each server, process, timer's job, migration and exec may take under systemd; "" and 0 are no limit.

    `memory` in bytes ("512M", "2G") or as a part of the host's ("40%"), `cpu` in processors.
    """

    memory: str = ""
    cpu: Annotated[float, msgspec.Meta(ge=0, le=4096)] = 0.0


class Release(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`migrate` runs once before the switchover, within `timeout`; `keep` good releases stay for rollback."""

    migrate: Command = ""
    timeout: Seconds = Seconds(300)
    keep: Annotated[int, msgspec.Meta(ge=2, le=10_000)] = 5


class Check(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The candidate's own check: `path` must answer 2xx within `timeout` of its start, asked as a visitor would.

    That is by `scheme` (https as over a proxy that ends TLS), for `host`, with `headers` over all others.

    Without `path`, ready means that start-up is complete. `timeout` bounds start-up and check together.
    `rehearse` (under systemd) first starts the release on a private socket and checks it there, then stops it:
    for servers that cannot check themselves; "auto" is for every command but `gapless serve`.
    """

    path: str = ""
    host: str = "localhost"
    scheme: Literal["http", "https"] = "http"
    headers: dict[str, str] = {}
    timeout: Seconds = Seconds(60)
    rehearse: bool | Literal["auto"] = "auto"

    @property
    def visitor(self) -> Visitor:
        """Who asks."""
        return Visitor(self.host, self.scheme, self.headers)


class Drain(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long a retiring instance serves: idle connections (`linger`), `requests`, and `streams` (WebSocket, SSE).

    `linger` exceeds the keep-alive time of the proxy in front (`[proxy]` sets Caddy's below it).
    """

    linger: Seconds = Seconds(35)
    requests: Seconds = Seconds(30)
    streams: Seconds = Seconds(300)


class Serve(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `gapless serve` takes from visitors: heads of `head_size` bytes that come whole within `head_timeout`.

    Without a byte of a request's body for `body_timeout` it waits no longer.
    """

    head_timeout: Seconds = Seconds(30)
    head_size: Annotated[int, msgspec.Meta(ge=1024, le=1 << 24)] = 65536
    body_timeout: Seconds = Seconds(300)


class Process(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A background process of the current release: told to end at a switchover, it may take `drain`."""

    command: Command
    drain: Seconds = Seconds(30)

    @property
    def argv(self) -> list[str]:
        return argv(self.command)


class Timer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command that systemd runs at each `calendar` moment (systemd.time(7)), in the current release.

    `persistent`: also once after a boot, where a moment passed while the machine was off.
    """

    command: Command
    calendar: str
    persistent: bool = False

    @property
    def argv(self) -> list[str]:
        return argv(self.command)


class Sandbox(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the app may do under systemd: reach the network, write outside `shared`, make code while it runs."""

    network: Literal["none", "local", "full"] = "full"
    writable: list[str] = []
    jit: bool = False


class Certificate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A certificate (with its chain) and its key: absolute paths of PEM files, which Caddy's user reads."""

    cert: str
    key: str


class Proxy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The app's site in Caddy, written by `gapless up`: its `domains`, or none.

    `tls` says whose certificates: those that Caddy gets ("auto"), makes itself ("internal"), is given, or "off".
    `headers` are set on every response, an empty one is taken away; `extra` goes into the site's block as it is.
    """

    domains: list[str] = []
    tls: Literal["auto", "internal", "off"] | Certificate = "auto"
    headers: dict[str, str] = {}
    extra: str = ""


class Assets(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Directories of public files in a release, by their prefixes in URLs; written in TOML as `"/static" = "static"`.

    They stay reachable as long as their release is kept, and for `age` after it was the current one.
    """

    paths: dict[str, str] = {}
    age: Seconds = Seconds(7 * 86400)


class Database(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The app's SQLite database, `path` in $GAPLESS_SHARED, and its `replica`, which Litestream keeps up to date.

    That is a directory (file:///…), or s3://bucket/prefix at Amazon or at `endpoint`; `credentials` is a file of
    NAME=value lines, relative to the project's directory. Every `snapshot` the whole is copied anew; what `retention`
    is over for goes.
    """

    path: str = ""
    replica: str = ""
    endpoint: str = ""
    credentials: str = ""
    snapshot: Seconds = Seconds(24 * 3600)
    retention: Seconds = Seconds(7 * 24 * 3600)

    @property
    def directory(self) -> str:
        """Where the replica is on this host; "" where it is elsewhere."""
        found = REPLICA.fullmatch(self.replica)
        return (found and found["path"]) or ""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One service. `command` is an argv (a string is split like a shell would, but no shell runs it: LISTEN_PID).

    `id` tells the project from another one of its `name`: of two that have one, only the same may deploy there.
    `env_file` and the files of `secrets` are relative to the project's directory; see environment.py.
    """

    name: Name
    command: Command
    listen: str | list[str] = "127.0.0.1:8000"
    id: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{0,64}\Z")] = ""
    manager: Literal["auto", "systemd", "embedded"] = "auto"
    env_file: str = ""
    env: dict[str, str] = {}
    secrets: dict[str, str] = {}
    build: Build = Build()
    release: Release = Release()
    check: Check = Check()
    drain: Drain = Drain()
    serve: Serve = Serve()
    processes: dict[Name, Process] = {}
    timers: dict[Name, Timer] = {}
    sandbox: Sandbox = Sandbox()
    limits: Limits = Limits()
    assets: Assets = Assets()
    proxy: Proxy = Proxy()
    database: Database = Database()

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
        # Its connection is idle until `linger` is over. Then half a head comes, an upload, the handler works on that,
        # responds, works on after it: each has a budget of its own. Last is the app's own shutdown.
        drain = self.drain
        return drain.linger + max(drain.requests, drain.streams) + 5 * drain.requests + timeouts.SHUTDOWN


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
    return parse(text(path, content), path)


def text(path: Path, content: Callable[[Path], bytes] = content) -> str:
    """What is in the file `path`, which may be anybody's, read by `content`. Raises GaplessError (status 2)."""
    try:
        return content(path).decode("utf-8")
    except FileNotFoundError:
        hint = "run `gapless init` there, or change to the project's directory"
        raise GaplessError("read", str(path), "there is no such file", hint, status=2) from None
    except (OSError, UnicodeDecodeError) as error:
        raise GaplessError("read", str(path), str(error), status=2) from error


def tables(text: str, path: Path) -> dict[str, Any]:
    """The tables of the TOML in `text`, which may be anybody's; `path` is for messages.

    Raises GaplessError (status 2).
    """
    # tomllib takes hours for a key of many parts, and all that it says of some files is not its own error.
    if any(line.count(".") > DOTS for line in text.splitlines()):
        raise GaplessError("read", str(path), f"it has a line with more than {DOTS} dots", status=2)
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise GaplessError("read", str(path), f"it is not valid TOML: {error}", status=2) from error


def parse(text: str, path: Path) -> Config:
    """The configuration in `text`; `path` is for messages. Raises GaplessError (status 2)."""
    raw = tables(text, path)
    if isinstance(table := raw.get("assets"), dict):
        raw["assets"] = _with_paths(table)
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


def _with_paths(table: dict[str, Any]) -> dict[str, Any]:
    """[assets] with its prefixes in a table of their own, beside what is a setting."""
    paths = {key: value for key, value in table.items() if key.startswith("/")}
    rest = {key: value for key, value in table.items() if key not in paths}
    return rest | {"paths": rest.get("paths", {}) | paths} if paths else rest


def _problem(config: Config) -> tuple[str, str]:
    """What types alone cannot say: the cause and what to try; empty if nothing is wrong."""
    checks = (
        _of_texts,
        _of_commands,
        _of_check,
        _of_serve,
        _of_places,
        _of_environment,
        _of_limits,
        _of_assets,
        _of_proxy,
        _of_database,
    )
    for check in checks:
        if (found := check(config)) != NOTHING:
            return found
    return NOTHING


def _of_texts(config: Config) -> tuple[str, str]:
    for key, text in _texts(msgspec.to_builtins(config, enc_hook=float)):
        if "\0" in text or (IN_ONE_LINE.fullmatch(key) and CONTROL.search(text)):
            return f"`{key}` has a line break or another control character in it", "write it without that"
    return NOTHING


def _texts(value: object, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a configuration, with its key."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _texts(inner, f"{key}.{name}".strip("."))
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, key)


def _of_check(config: Config) -> tuple[str, str]:
    path, host = config.check.path, config.check.host
    if path and not TARGET.fullmatch(path):
        cause = f"`check.path`: {path!r} is not a path in a URL"
        return cause, "it begins with /, and what is neither ASCII nor visible is written with % (a space is %20)"
    if not VISIBLE.fullmatch(host):
        return f"`check.host`: {host!r} cannot be the Host of a request", 'for example: host = "shop.example"'
    for name, value in config.check.headers.items():
        if name.lower() in FRAMING:
            return f"`check.headers.{name}` is not for a setting to say", "for the Host there is `check.host`"
        if not HEADER.fullmatch(name) or not TEXT.fullmatch(value):
            hint = 'for example: headers = { accept = "text/html" }; in visible ASCII'
            return f"`check.headers.{name}`: with {value!r} it cannot be a header", hint
    return NOTHING


def _of_serve(config: Config) -> tuple[str, str]:
    for key, seconds in (("head_timeout", config.serve.head_timeout), ("body_timeout", config.serve.body_timeout)):
        if seconds <= 0:
            return f"`serve.{key}` is 0: every visitor would be turned away", f'for example: {key} = "30s"'
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
        if PLACEHOLDER in words:
            cause = f"`{key}` has {PLACEHOLDER}, where `gapless init` found no app"
            return cause, 'for example: command = "gapless serve app:app"'
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
        if not path.startswith("/"):
            return f"`sandbox.writable`: {path!r} is no absolute path", "write it from the root on"
        if any(sign in path for sign in "\"'\\"):  # systemd.exec(5) has no way to write them there
            return f"`sandbox.writable`: {path!r} has a quote or a backslash in it", "give that directory another name"
    if "" in config.addresses:
        return "`listen` has an empty address in it", 'for example: listen = "127.0.0.1:8000"'
    if not config.addresses:
        return "`listen` is empty", 'for example: listen = "127.0.0.1:8000"'
    if again := clash(config.addresses):
        return f"`listen`: {again}", "write each address once"
    for name, timer in config.timers.items():
        if not timer.calendar.strip():
            return f"`timers.{name}.calendar` is empty", 'for example: calendar = "daily"; see systemd.time(7)'
    return NOTHING


def _of_environment(config: Config) -> tuple[str, str]:
    for table, given in (("env", config.env), ("build.env", config.build.env)):
        for name in given:
            if not VARIABLE.fullmatch(name):
                hint = "a name consists of letters, digits and _ (so it has no =)"
                return f"`{table}.{name}` cannot be an environment variable", hint
    for name, file in config.secrets.items():
        if not SECRET.fullmatch(name) or not file:
            hint = 'for example: database-password = "secrets/database-password"'
            return f"`secrets.{name}` is not a name (letters, digits, _ and -) with the path of a file", hint
    return NOTHING


def _of_limits(config: Config) -> tuple[str, str]:
    for key, memory in (("build.memory", config.build.memory), ("limits.memory", config.limits.memory)):
        if memory and not MEMORY.fullmatch(memory):
            hint = 'for example: memory = "512M"; also "2G", "40%", and "" for no limit'
            return f"`{key}`: {memory!r} is no amount of memory", hint
    if 0 < config.limits.cpu < 0.01:
        return "`limits.cpu` is less than a hundredth of a processor", "for example: cpu = 1.5; 0 = no limit"
    return NOTHING


def _of_assets(config: Config) -> tuple[str, str]:
    example = 'for example: "/static" = "static"'
    for prefix, directory in config.assets.paths.items():
        if not PREFIX.fullmatch(prefix) or {".", ".."} & {*prefix.split("/")}:
            return f"`assets`: {prefix!r} is not where files can be in a URL", example
        parts = directory.split("/")
        if {"", ".", ".."} & {*parts}:
            return f"`assets.{prefix}`: {directory!r} is not a directory inside a release", example
        for other in config.assets.paths:
            if other.startswith(f"{prefix}/"):
                return f"`assets`: {other!r} is in {prefix!r}", "let neither be in the other"
    return NOTHING


def _of_proxy(config: Config) -> tuple[str, str]:
    """What is wrong with the words that root puts into Caddy's configuration."""
    proxy = config.proxy
    for domain in proxy.domains:
        if not DOMAIN.fullmatch(domain) or len(domain) > 253:
            return f"`proxy.domains`: {domain!r} is not a domain", 'for example: domains = ["shop.example.com"]'
    for name, value in proxy.headers.items():
        if not HEADER.fullmatch(name) or not PLAIN.fullmatch(value):
            hint = 'a name has letters, digits and -, a value none of { } " ` \\; the rest can be written in `extra`'
            return f"`proxy.headers`: {name!r} with {value!r} cannot be a header", hint
    for path in (proxy.tls.cert, proxy.tls.key) if isinstance(proxy.tls, Certificate) else ():
        if not path.startswith("/") or not PLAIN.fullmatch(path):
            return f"`proxy.tls`: {path!r} is no absolute path", "write it from the root on, without quotes and braces"
    for address in config.addresses if proxy.domains else ():
        if address.startswith("unix:") and not PROXIED.fullmatch(address.removeprefix("unix:")):
            hint = f'for example: listen = "unix:/run/{config.name}.sock"'
            return f"`listen`: {address!r} is not a plain name in /run, where only root can put another", hint
    return NOTHING


def _of_database(config: Config) -> tuple[str, str]:
    """What is wrong with where the database is, and where its copy goes."""
    database = config.database
    if not database.path:
        if database != Database():
            return "`database.path` is missing", 'for example: path = "shop.db", in the directory $GAPLESS_SHARED'
        return NOTHING
    if not INSIDE.fullmatch(database.path):
        cause = f"`database.path`: {database.path!r} is not the path of a file in $GAPLESS_SHARED"
        return cause, 'for example: path = "shop.db", in letters, digits, and . _ - /'
    if not REPLICA.fullmatch(database.replica) or posixpath.normpath(database.directory or "/") != (
        database.directory or "/"
    ):
        hint = 'for example: replica = "file:///mnt/backup/shop", or "s3://bucket/shop"'
        return f"`database.replica`: {database.replica!r} is no place for a replica", hint
    if database.endpoint and (database.directory or not ENDPOINT.fullmatch(database.endpoint)):
        hint = 'it is for s3:// alone, for example: endpoint = "https://s3.example.com"'
        return f"`database.endpoint`: {database.endpoint!r} cannot be used", hint
    if not 0 < database.snapshot <= database.retention:
        return "`database.snapshot` is 0, or longer than `database.retention`", 'for example: retention = "168h"'
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
