"""What options have in common."""

from __future__ import annotations

import contextlib
import re
import time
from datetime import datetime

import click

from gapless.span import parse
from gapless.visitor import TARGET


class Span(click.ParamType[float]):
    """A span of time in seconds: 30, 250ms, 30s, 5m, 1h."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Target(click.ParamType[str]):
    """A path in a URL, with its query; nothing stands for none."""

    name = "path"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value and not TARGET.fullmatch(value):
            self.fail(f"{value!r} is not a path in a URL: it begins with /, and a space in it is %20", param, ctx)
        return value


class Header(click.ParamType[tuple[str, str]]):
    """A header of a request; several in a variable have a tab between two."""

    name = "name=value"
    envvar_list_splitter = "\t"

    def convert(
        self, value: str | tuple[str, str], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, equals, text = value.partition("=")
        if not name or not equals:
            self.fail(f"the header {value!r} has no name and `=`: write NAME=VALUE", param, ctx)
        return name, text


class Moment(click.ParamType[float]):
    """A time, in Unix seconds: how long ago it was (10m), or its date and time (2026-11-29 10:00)."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        with contextlib.suppress(ValueError):
            return time.time() - parse(value)
        try:
            return datetime.fromisoformat(str(value)).timestamp()
        except (ValueError, OverflowError, OSError):
            self.fail(f'{value!r} is no time: write it like "10m" or "2026-11-29 10:00"', param, ctx)


class Pattern(click.ParamType[str]):
    """A regular expression."""

    name = "pattern"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            re.compile(value)
        except re.error as error:
            self.fail(f"{value!r} is no regular expression: {error}", param, ctx)
        if "\n" in value or "\0" in value:
            self.fail("it has a line break in it, and no line has", param, ctx)
        return value


SPAN = Span()
MOMENT = Moment()
PATTERN = Pattern()
TARGET_PATH = Target()
HEADER = Header()
