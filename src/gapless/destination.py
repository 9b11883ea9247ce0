"""A destination: another installation of the same project, such as staging, whose settings lie over gapless.toml."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gapless import config
from gapless.config import FILE
from gapless.config.settings import Config
from gapless.errors import GaplessError

NAME = re.compile("[a-z0-9]([a-z0-9-]*[a-z0-9])?")
# What two installations on one host cannot both have, or would ruin for each other: by table and key.
# The database is in the installation's own directory.
ITS_OWN = (("proxy", "domains"), ("database", "replica"))


def overlay(directory: Path, destination: str) -> Path:
    """The file in the project's `directory` that lies over gapless.toml. Raises GaplessError (status 2)."""
    if not NAME.fullmatch(destination):
        cause = "a destination is called by small letters, digits and dashes"
        raise GaplessError("use", f"the destination {destination!r}", cause, "for example: staging", status=2)
    return directory / f"gapless.{destination}.toml"


def names(directory: Path) -> list[str]:
    """List the destinations that the project in `directory` has."""
    found = (one.name.removeprefix("gapless.").removesuffix(".toml") for one in directory.glob("gapless.*.toml"))
    return sorted(name for name in found if NAME.fullmatch(name))


def load(directory: Path, destination: str = "", content: Callable[[Path], bytes] = config.content) -> Config:
    """Read the settings of `destination` by `content`; "" is gapless.toml alone. Raises GaplessError (status 2)."""
    if not destination:
        return config.read(directory / FILE, content)
    return config.parse(lay_over(directory, destination, content), overlay(directory, destination))


def lay_over(directory: Path, destination: str, content: Callable[[Path], bytes] = config.content) -> str:
    """One gapless.toml out of both: what the destination sets counts, table by table; the rest is the project's.

    Raises GaplessError (status 2), also where the two would get in each other's way on one host.
    """
    base, over = directory / FILE, overlay(directory, destination)
    whole = config.read(base, content)
    if not over.exists():
        hint = f"write one: what it sets, `name` and `listen` at least, lies over {FILE}"
        raise GaplessError("read", str(over), "there is no such file", hint, status=2)
    raw, wanted = (config.tables(config.text(one, content), one) for one in (base, over))
    raw = _without_hosts(raw) if _groups(wanted) else raw
    try:
        laid = _merged(raw, wanted)
        both = "\n".join(f"{_quoted(key)} = {_written(value)}" for key, value in laid.items()) + "\n"
    except (RecursionError, ValueError) as error:  # tables without an end, a number of thousands of digits
        raise GaplessError("use", str(over), f"no setting is like that: {error}", status=2) from error
    _refuse_twice(base, over, (whole, raw), (config.parse(both, over), laid))
    return both


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Both, less their `x-…` keys, which are the user's own and may hold anything."""
    merged = dict(under)
    for key, value in over.items():
        inner = merged.get(key)
        merged[key] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return {key: value for key, value in merged.items() if not key.startswith("x-")}


def _groups(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The groups of [hosts]."""
    table = raw.get("hosts")
    found = table.items() if isinstance(table, dict) else ()
    return {key: value for key, value in found if isinstance(value, list) and key != "waves"}


def _without_hosts(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The project's settings for a destination that has hosts of its own: a group of other ones is none of its."""
    return {**raw, "hosts": {key: value for key, value in raw.get("hosts", {}).items() if key not in _groups(raw)}}


def _refuse_twice(
    base: Path, over: Path, one: tuple[Config, Mapping[str, Any]], other: tuple[Config, Mapping[str, Any]]
) -> None:
    """Raise GaplessError (status 2) that names both files where they share what only one installation can have."""
    twice = {}
    if one[0].name == other[0].name:
        twice["name"] = one[0].name
    if shared := [address for address in other[0].addresses if address in one[0].addresses]:
        twice["listen"] = ", ".join(shared)
    for table, key in ITS_OWN:
        mine, theirs = (each[1].get(table, {}).get(key) for each in (one, other))
        if common := _in_both(mine, theirs):
            twice[f"{table}.{key}"] = common
    if twice:
        key, value = next(iter(twice.items()))
        cause = f"`{key}` is {value} there and in {base}, and one host has room for one of them"
        raise GaplessError("use", str(over), cause, f"set another `{key}` in {over.name}", status=2)


def _in_both(one: object, other: object) -> str:
    """What two settings have in common, each a value or a list of them; "" for nothing."""
    first, second = ([each] if not isinstance(each, list) else each for each in (one, other))
    return ", ".join(str(each) for each in second if each is not None and each in first)


def _written(value: object) -> str:
    """A value in TOML, on one line. Raises GaplessError for one that no setting can have, such as a date."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_quoted(key)} = {_written(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_written, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return _quoted(value)
    raise GaplessError("use", "a setting", f"{value} is a {type(value).__name__}, and no setting is one", status=2)


def _quoted(text: str) -> str:
    """A basic string of TOML: JSON writes the same, but for DEL, which TOML wants escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
