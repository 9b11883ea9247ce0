"""What options have in common."""

from __future__ import annotations

import click

from gapless.span import parse


class Span(click.ParamType[float]):
    """A span of time in seconds: 30, 250ms, 30s, 5m, 1h."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


SPAN = Span()
