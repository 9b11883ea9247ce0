"""What is wrong with settings that types alone cannot say, each with what to write instead."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

import msgspec

from gapless.address import clash
from gapless.config import files, hosts
from gapless.config.files import INSIDE, NOTHING
from gapless.config.settings import REPLICA, Certificate, Command, Config, Database, argv
from gapless.visitor import TARGET

VARIABLE = re.compile("[A-Za-z_][A-Za-z0-9_]*")
SECRET = re.compile("[A-Za-z0-9_-]+")
LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
DOMAIN = re.compile(rf"(\*\.)?({LABEL}\.)*{LABEL}")
HEADER = re.compile("[A-Za-z][A-Za-z0-9-]*")
# Less what a Caddyfile takes for more than text: placeholders and variables { }, quotes " `, \\, ends of lines.
PLAIN = re.compile(r"[^{}\"`\\\x00-\x1f\x7f]*")
PROXIED = re.compile("/run/[A-Za-z0-9][A-Za-z0-9._-]*")
ENDPOINT = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]+)?|https?://\[[0-9A-Fa-f:]+\](:[0-9]+)?")
# systemd.service(5) takes a leading @ - : + ! or | for an order of its own, "run it as root" among them.
# All that stands in one line of a unit file or of an HTTP request; the other settings may have several lines.
IN_ONE_LINE = re.compile(r"(?!env\.|build\.env\.|build\.run|release\.migrate|hooks\.|proxy\.extra|(.+\.)?command\b).*")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
VISIBLE = re.compile(r"[!-~]+")  # what HTTP's Host takes, RFC 9112
TEXT = re.compile(r"[!-~]([ -~]*[!-~])?")  # the value of a header
FRAMING = {"host", "connection", "content-length", "transfer-encoding"}  # of a request, said by who sends it
MEMORY = re.compile("[1-9][0-9]*[KMGT]?|([1-9][0-9]?|100)%")  # systemd.resource-control(5)
PROGRAM = re.compile(r"[A-Za-z0-9_./][^\x00-\x1f\x7f]*")
PLACEHOLDER = "MODULE:APP"  # of `gapless init`


def problem(config: Config) -> tuple[str, str]:
    """What types alone cannot say: the cause and what to try; empty if nothing is wrong."""
    checks = (
        _of_texts,
        _of_commands,
        _of_names,
        _of_check,
        _of_serve,
        _of_places,
        _of_environment,
        _of_limits,
        files.problem,
        _of_proxy,
        _of_database,
        hosts.problem,
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
    others = {"build.run": config.build.run, "release.migrate": config.release.migrate}
    others |= {f"hooks.{name}": one for name, one in config.hooks.commands.items()}
    commands |= {key: one for key, one in others.items() if isinstance(one, list) and one}
    commands |= {"notify.command": config.notify.command} if config.notify.command else {}
    for key, command in commands.items():
        if (found := _of_command(key, command)) != NOTHING:
            return found
    if config.notify.command and not config.notify.argv[0].startswith("/"):
        cause = f"`notify.command`: {config.notify.argv[0]!r} is no absolute path, and it is no program of the release"
        return cause, 'for example: command = "/usr/local/lib/shop/tell-chat"'
    for key, seconds in (("hooks.timeout", config.hooks.timeout), ("notify.timeout", config.notify.timeout)):
        if seconds <= 0:
            return f"`{key}` is 0: nothing is that quick", 'for example: timeout = "30s"'
    return NOTHING


def _of_command(key: str, command: Command) -> tuple[str, str]:
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
    return NOTHING


def _of_names(config: Config) -> tuple[str, str]:
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
