"""The settings of one service as frozen typed values: every one, its default, its unit."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from gapless import timeouts
from gapless.listen import expand
from gapless.visitor import Visitor

REPLICA = re.compile(
    r"(file://(?P<path>/[^\x00-\x1f\x7f\"'\\%]*[^/\x00-\x1f\x7f\"'\\%])|s3://[a-z0-9][a-z0-9.-]+(/[A-Za-z0-9._-]+)+)"
)


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
    """What each server, process, timer's job, migration, hook and exec may take under systemd; "" and 0 are no limit.

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
    """What the app may do under systemd: reach the network, write outside `shared`, make code while it runs.

    `proc` is what it sees of /proc beside its own user's processes, as ProcSubset= of systemd.exec(5) has it;
    `priority` lets it change the priority, the processors and the memory's nodes of its own processes.
    """

    network: Literal["none", "local", "full"] = "full"
    writable: list[str] = []
    jit: bool = False
    proc: Literal["all", "pid"] = "all"
    priority: bool = False


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


class Hooks(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a release runs as its app's account at a moment of a deploy, each within `timeout`; "" is nothing.

    `before_deploy` may stop it; the others tell how it ended: see release/news.py.
    """

    before_deploy: Command = ""
    deployed: Command = ""
    failed: Command = ""
    turned_back: Command = ""
    timeout: Seconds = Seconds(60)

    @property
    def commands(self) -> dict[str, Command]:
        """What is run, by the moment at which it is."""
        return {name: getattr(self, name) for name in self.__struct_fields__ if name != "timeout"}

    @property
    def argvs(self) -> list[list[str]]:
        """Those that no shell runs."""
        return [one for one in self.commands.values() if isinstance(one, list) and one]


class Notify(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A program of the host that whoever deploys runs, as himself, to tell how a deploy ended; "" is none."""

    command: Command = ""
    timeout: Seconds = Seconds(30)

    @property
    def argv(self) -> list[str]:
        return argv(self.command)


class Hosts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a laptop deploys to, over SSH: `groups` of hosts by name, written in TOML as `web = ["root@10.0.0.1"]`.

    `waves` say how many hosts, or which share, have a release before the next get it; more than `max_failures` hosts
    that cannot take it end the deploy, and all go back.
    """

    groups: dict[str, list[str]] = {}
    waves: list[int | str] = msgspec.field(default_factory=lambda: [1, "10%", "100%"])
    max_failures: Annotated[int, msgspec.Meta(ge=0)] = 0


class Fleet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How several hosts go together: the old release stands by for `stand_by` at most, until the last wave is proven.

    A host that is not reached anew within `confirm` of its switchover turns back. `migrate` says whether one database
    is migrated "once", or "each" host has its own; `directory` is the app's on each host, /etc/gapless/NAME without.
    `url`, with `{host}` for a host's address, has to answer where the verb is run, before any host keeps its release.
    """

    stand_by: Seconds = Seconds(600)
    confirm: Seconds = Seconds(30)
    migrate: Literal["", "once", "each"] = ""
    directory: str = ""
    url: str = ""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One service. `command` is an argv (a string is split like a shell would, but no shell runs it: LISTEN_PID).

    `id` tells the project from another one of its `name`: of two that have one, only the same may deploy there.
    `env_file` and the files of `secrets` are relative to the project's directory; see environment.py. `shared` has
    directories of $GAPLESS_SHARED by the paths in a release that lead to them, `uploads` those that visitors read by
    their prefixes in URLs.
    """

    name: Name
    command: Command
    listen: str | list[str] = "127.0.0.1:8000"
    id: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{0,64}\Z")] = ""
    manager: Literal["auto", "systemd", "embedded"] = "auto"
    env_file: str = ""
    env: dict[str, str] = {}
    secrets: dict[str, str] = {}
    shared: dict[str, str] = {}
    uploads: dict[str, str] = {}
    build: Build = Build()
    release: Release = Release()
    check: Check = Check()
    drain: Drain = Drain()
    hooks: Hooks = Hooks()
    notify: Notify = Notify()
    serve: Serve = Serve()
    processes: dict[Name, Process] = {}
    timers: dict[Name, Timer] = {}
    sandbox: Sandbox = Sandbox()
    limits: Limits = Limits()
    assets: Assets = Assets()
    proxy: Proxy = Proxy()
    database: Database = Database()
    hosts: Hosts = Hosts()
    fleet: Fleet = Fleet()

    @property
    def argv(self) -> list[str]:
        return argv(self.command)

    @property
    def kept_apart(self) -> list[str]:
        """The files of the project that are for one host and one release alone: variables and secrets."""
        return [one for one in (self.env_file, self.database.credentials, *self.secrets.values()) if one]

    @property
    def rehearses(self) -> bool:
        """Whether a candidate is first rehearsed: `gapless serve` checks itself."""
        return not self.served_by_us if self.check.rehearse == "auto" else self.check.rehearse

    @property
    def served_by_us(self) -> bool:
        """Whether the command is `gapless serve`."""
        return bool(self.argv) and Path(self.argv[0]).name == "gapless"

    @property
    def addresses(self) -> list[str]:
        """Where a socket is held, one each; of `gapless serve`, which accepts on all, as `expand` reads them.

        Another server may take one socket alone, and whoever came in by a second would wait for ever.
        """
        written = [self.listen] if isinstance(self.listen, str) else list(self.listen)
        return expand(written) if self.served_by_us else written

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
