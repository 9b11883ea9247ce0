"""Hosts as [hosts] of gapless.toml writes them: `root@10.0.0.1`, `web2.example.com:2222`, in groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gapless.config.hosts import HOST
from gapless.config.settings import Config
from gapless.errors import GaplessError


@dataclass(frozen=True)
class Host:
    """A machine that ssh reaches: as `user`, or as its own configuration says."""

    address: str
    user: str = ""
    port: str = ""

    @property
    def name(self) -> str:
        """What people read."""
        address = f"[{self.address}]" if self.port and ":" in self.address else self.address
        return f"{address}:{self.port}" if self.port else address

    @property
    def ssh(self) -> str:
        """The command that reaches it by hand."""
        port = f"-p {self.port} " if self.port else ""
        return f"ssh {port}{self.user}@{self.address}" if self.user else f"ssh {port}{self.address}"


def parse(written: str) -> Host:
    """The host that is written so; raises ValueError where none is."""
    if (found := HOST.fullmatch(written)) is None:
        raise ValueError(f"{written!r} is no host")
    return Host(found["name"] or found["ipv6"], found["user"] or "", found["port"] or "")


def chosen(config: Config, wanted: Sequence[str] = ()) -> list[Host]:
    """The hosts of the groups, and the hosts, that are `wanted`, each once and as [hosts] has them in order.

    Without any they are all. Raises GaplessError (status 2).
    """
    groups = config.hosts.groups
    if not groups:
        hint = 'for example: [hosts] web = ["root@shop.example.com"], in gapless.toml'
        raise GaplessError("find", f"the hosts of {config.name}", "gapless.toml has no [hosts]", hint, status=2)
    hosts = {one: parse(one) for group in groups.values() for one in group}
    names = [name for text in wanted for name in text.split(",")]
    for name in names:
        if name not in groups and name not in hosts and all(name != one.name for one in hosts.values()):
            hint = f"there are: {', '.join([*groups, *(one.name for one in hosts.values())])}"
            raise GaplessError("find", name, f"[hosts] of {config.name} has no such group or host", hint, status=2)
    of_groups = {one for name in names for one in groups.get(name, ())}
    found = [one for text, one in hosts.items() if not names or text in of_groups or {text, one.name} & {*names}]
    return list(dict.fromkeys(found))
