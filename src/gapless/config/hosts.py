"""What is wrong with [hosts] and [fleet]: with how hosts are written, with waves, and with what several hosts share."""

from __future__ import annotations

import re

from gapless.config.files import NOTHING
from gapless.config.settings import Config
from gapless.fleet import waves

LABEL = "[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?"
HOST = re.compile(
    rf"((?P<user>[A-Za-z0-9_][A-Za-z0-9_.-]*)@)?((?P<name>{LABEL}(\.{LABEL})*\.?)|\[(?P<ipv6>[0-9A-Fa-f:.]+(%\w+)?)\])"
    r"(:(?P<port>[0-9]{1,5}))?"
)
GROUP = re.compile("[A-Za-z0-9_][A-Za-z0-9_-]*")
URL = re.compile(r"https?://[!-~]*\{host\}[!-~]*")
DIRECTORY = re.compile(r"/[A-Za-z0-9._/@+-]+")


def problem(config: Config) -> tuple[str, str]:
    """What is wrong with `[hosts]` or `[fleet]`: the cause and what to try; empty if nothing is."""
    checks = (_of_hosts, _of_waves, _of_fleet)
    return next((found for check in checks if (found := check(config)) != NOTHING), NOTHING)


def _of_hosts(config: Config) -> tuple[str, str]:
    example = 'for example: web = ["root@10.0.0.1", "root@web2.example.com"]'
    written = dict[str, str]()
    for group, hosts in config.hosts.groups.items():
        if not GROUP.fullmatch(group):
            return f"`hosts`: {group!r} is not the name of a group", example
        for host in hosts:
            if (found := HOST.fullmatch(host)) is None:
                return f"`hosts.{group}`: {host!r} is not a host that ssh could reach", example
            place = f"{found['name'] or found['ipv6']}:{found['port'] or ''}"
            if written.setdefault(place, host) != host:
                return f"`hosts`: {host!r} and {written[place]!r} are one host", "write it in one way"
            if host in config.hosts.groups:
                return f"`hosts`: {host!r} is both a group and a host", "give the group another name"
    return NOTHING


def _of_waves(config: Config) -> tuple[str, str]:
    try:
        waves.plan((), config.hosts.waves)
    except ValueError as error:
        return f"`hosts.waves`: {error}", 'for example: waves = [1, "10%", "100%"]'
    return NOTHING


def _of_fleet(config: Config) -> tuple[str, str]:
    fleet = config.fleet
    several = len({host for hosts in config.hosts.groups.values() for host in hosts}) > 1
    if several and config.release.migrate and not fleet.migrate:
        cause = "`fleet.migrate` is missing: several hosts migrate, and have one database, or each its own"
        return cause, 'for example: migrate = "once"; with a database on each host "each"'
    if fleet.directory and not DIRECTORY.fullmatch(fleet.directory):
        cause = f"`fleet.directory`: {fleet.directory!r} is not the absolute path of a directory"
        return cause, 'for example: directory = "/etc/gapless/shop"'
    if fleet.url and not URL.fullmatch(fleet.url):
        cause = f"`fleet.url`: {fleet.url!r} is no http or https URL with {{host}} in it"
        return cause, 'for example: url = "http://{host}:8000/health"'
    for key, seconds in (("confirm", fleet.confirm), ("stand_by", fleet.stand_by)):
        if seconds <= 0:
            return f"`fleet.{key}` is 0: no host could be kept", f'for example: {key} = "60s"'
    return NOTHING
