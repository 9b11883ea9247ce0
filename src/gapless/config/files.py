"""What is wrong with where files are: in a release, in $GAPLESS_SHARED, and in URLs."""

from __future__ import annotations

import re
from collections.abc import Collection

from gapless.config.settings import Config

NOTHING = ("", "")  # is wrong: neither a cause nor a hint
# Where public files are in URLs: what nobody has to quote, in a Caddyfile or in a URL.
PREFIX = re.compile(r"(/[A-Za-z0-9._~@-]+)+")
INSIDE = re.compile(r"(?!/)(?!.*(^|/)\.{0,2}(/|$))[A-Za-z0-9._/-]+")  # what is below a directory
APART = "let neither be in the other"
SETTINGS = "gapless.toml"


def problem(config: Config) -> tuple[str, str]:
    """What is wrong with `[assets]`, `[shared]` or `[uploads]`: the cause and what to try; empty if nothing is."""
    checks = (_of_assets, _of_shared, _of_uploads)
    return next((found for check in checks if (found := check(config)) != NOTHING), NOTHING)


def _of_assets(config: Config) -> tuple[str, str]:
    example = 'for example: "/static" = "static"'
    for prefix, directory in config.assets.paths.items():
        if not _is_prefix(prefix):
            return f"`assets`: {prefix!r} is not where files can be in a URL", example
        parts = directory.split("/")
        if {"", ".", ".."} & {*parts}:
            return f"`assets.{prefix}`: {directory!r} is not a directory inside a release", example
        if other := _inside(prefix, config.assets.paths):
            return f"`assets`: {other!r} is in {prefix!r}", APART
    return NOTHING


def _of_shared(config: Config) -> tuple[str, str]:
    for path, directory in config.shared.items():
        if not INSIDE.fullmatch(path) or path == SETTINGS:
            cause = f"`shared`: {path!r} is not where a directory can be in a release"
            return cause, 'for example: media = "media"; quoted where it has a slash'
        if not INSIDE.fullmatch(directory):
            cause = f"`shared.{path}`: {directory!r} is not a directory inside $GAPLESS_SHARED"
            return cause, 'for example: media = "media"; quoted where it has a slash'
        if other := _inside(path, config.shared):
            return f"`shared`: {other!r} is in {path!r}", APART
        for public in config.assets.paths.values():
            if public == path or public.startswith(f"{path}/"):
                hint = "`[uploads]` is for what is in $GAPLESS_SHARED, `[assets]` for what is in a release"
                return f"`assets`: {public!r} is in $GAPLESS_SHARED, by `shared.{path}`", hint
    return NOTHING


def _of_uploads(config: Config) -> tuple[str, str]:
    example = 'for example: "/media" = "media"'
    for prefix, directory in config.uploads.items():
        if not _is_prefix(prefix):
            return f"`uploads`: {prefix!r} is not where files can be in a URL", example
        if not INSIDE.fullmatch(directory):
            return f"`uploads.{prefix}`: {directory!r} is not a directory inside $GAPLESS_SHARED", example
        if other := _inside(prefix, config.uploads):
            return f"`uploads`: {other!r} is in {prefix!r}", APART
        for other in config.assets.paths:
            if prefix == other or _inside(prefix, [other]) or _inside(other, [prefix]):
                return f"`uploads`: {prefix!r} and {other!r} of `assets` are one place in URLs", APART
        if config.database.path.startswith(f"{directory}/"):
            hint = "give uploads a directory of their own"
            return f"`uploads.{prefix}`: the database is in {directory!r}, and every visitor could get it", hint
    return NOTHING


def _is_prefix(text: str) -> bool:
    return bool(PREFIX.fullmatch(text)) and not {".", ".."} & {*text.split("/")}


def _inside(path: str, others: Collection[str]) -> str:
    """The first of `others` that is below `path`; "" where none is."""
    return next((one for one in others if one.startswith(f"{path}/")), "")
