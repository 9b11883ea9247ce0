"""What options have in common."""

from __future__ import annotations

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


class Pair(click.ParamType[tuple[str, str]]):
    """Two texts with a = between, such as a header of a request; several in a variable have a tab between two."""

    name = "name=value"
    envvar_list_splitter = "\t"

    def __init__(self, what: str) -> None:
        self.what = what

    def convert(
        self, value: str | tuple[str, str], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, equals, text = value.partition("=")
        if not name or not equals:
            self.fail(f"{self.what} {value!r} has no name and `=`: write NAME=VALUE", param, ctx)
        return name, text


SPAN = Span()
TARGET_PATH = Target()
HEADER = Pair("the header")
UPLOADS = Pair("the place of uploads")
