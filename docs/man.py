"""Print docs/gapless.1: the manual page, from the help of every verb; man(7)."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from gapless.cli import VERBS, cli

HEAD = r"""'\" -*- coding: utf-8 -*-
.\" docs/man.py makes it of each verb's --help; `make docs` renews it.
.TH GAPLESS 1 "" gapless "User Commands"
.SH NAME
gapless \- deploy on your own server without losing or delaying one request
.SH SYNOPSIS
.B gapless
.RI [ OPTIONS ]
.I VERB
.RI [ ARGUMENTS ]
"""
TAIL = r"""
.SH EXIT STATUS
.TP
0
Done, or already so.
.TP
1
It failed.
.TP
2
Wrong use or configuration.
.TP
75
Somebody else has the deploy lock.
.TP
130
Ctrl\-C.
.SH FILES
.TP
.I gapless.toml
The settings of a project; \(gagapless config \-\-example\(ga shows each of them.
.TP
.I .gapless
What \(gagapless run\(ga keeps of the project: releases, shared data, logs.
.TP
.I /srv/NAME
The same of an app that \(gagapless up\(ga has installed.
.SH SEE ALSO
.BR systemd.socket (5),
.BR journalctl (1)
"""
SIGNS = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti"}


def render() -> str:
    """The whole page."""
    top = click.Context(cli, info_name="gapless", **cli.context_settings)
    lines = [HEAD.rstrip("\n"), ".SH DESCRIPTION", *_about(top), ".SH VERBS"]
    for context in _verbs(top):
        usage = " ".join((context.command_path, *context.command.collect_usage_pieces(context)))
        lines += [f".SS {_plain(usage)}", *_about(context)]
    return "\n".join(lines) + TAIL


def _verbs(group: click.Context) -> Iterator[click.Context]:
    """Every verb, each group followed by its own verbs."""
    assert isinstance(group.command, click.Group)  # noqa: S101 -- a slip of ours
    names = VERBS if group.command is cli else group.command.commands
    for name in names:
        command = group.command.get_command(group, name)
        assert command is not None  # noqa: S101 -- the same
        context = click.Context(command, parent=group, info_name=name)
        yield context
        if isinstance(command, click.Group):
            yield from _verbs(context)


def _about(context: click.Context) -> list[str]:
    """What a command's help says, and its options."""
    paragraphs = inspect.cleandoc(context.command.help or "").split("\n\n")
    lines = [".PP\n" + _plain(" ".join(one.split())) for one in paragraphs if one]
    for option in context.command.get_params(context):
        if isinstance(option, click.Option) and (record := option.get_help_record(context)):
            lines += [".TP", f".B {_plain(record[0])}", _plain(record[1])]
    return lines


def _plain(text: str) -> str:
    """`text` that means only itself to groff."""
    escaped = "".join(SIGNS.get(sign, sign) for sign in text)
    return rf"\&{escaped}" if escaped.startswith(".") else escaped


if __name__ == "__main__":
    print(render(), end="")  # noqa: T201 -- it is a command
