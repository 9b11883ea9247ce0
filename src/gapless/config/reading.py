"""gapless.toml is read: no file of anybody's takes long, and a key that is unknown is refused with the nearest one."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import msgspec

from gapless import span
from gapless.config.problems import problem
from gapless.config.settings import Config, Hosts, Seconds
from gapless.errors import GaplessError
from gapless.linux.files import open_regular

FILE = "gapless.toml"
LARGEST = 256 << 10  # bytes: it may be somebody else's
DOTS = 500  # in a line


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
    if isinstance(table := raw.get("hosts"), dict):
        raw["hosts"] = _with_groups(table)
    known = _without_unknown_keys(raw, Config, path)
    try:
        config = msgspec.convert(known, Config, dec_hook=_decode)
    except (msgspec.ValidationError, ValueError) as error:
        hint = "`gapless config --example` prints every setting with its default"
        raise GaplessError("use", str(path), str(error), hint, status=2) from error
    cause, hint = problem(config)
    if cause:
        raise GaplessError("use", str(path), cause, hint, status=2)
    return config


def _with_paths(table: dict[str, Any]) -> dict[str, Any]:
    """[assets] with its prefixes in a table of their own, beside what is a setting."""
    paths = {key: value for key, value in table.items() if key.startswith("/")}
    rest = {key: value for key, value in table.items() if key not in paths}
    return rest | {"paths": rest.get("paths", {}) | paths} if paths else rest


def _with_groups(table: dict[str, Any]) -> dict[str, Any]:
    """[hosts] with its groups in a table of their own, beside what is a setting."""
    settings = {field.name for field in msgspec.structs.fields(Hosts)}
    groups = {key: value for key, value in table.items() if key not in settings and not key.startswith("x-")}
    rest = {key: value for key, value in table.items() if key not in groups}
    return rest | {"groups": rest.get("groups", {}) | groups} if groups else rest


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
