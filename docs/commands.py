"""Print docs/commands.md: the help of every verb, as the command gives it."""

from __future__ import annotations

import click
from click.testing import CliRunner

from gapless.cli import VERBS, cli

HEAD = """\
# Every command

As `gapless VERB --help` prints it. `make docs` renews this page, and a test holds it against the code.
Exit status: 0 done (or already so), 1 failed, 2 wrong use or configuration, 75 locked by somebody, 130 Ctrl-C.

`gapless -C DIR VERB` is `gapless VERB -C DIR`: it works on the project in DIR. `gapless help VERB` shows what is here;
`man gapless` has all of it, wherever the directory with the command is on the PATH.

A shell completes verbs, options, releases and destinations, once its own start-up file has this line:

    eval "$(_GAPLESS_COMPLETE=bash_source gapless)"     # ~/.bashrc
    eval "$(_GAPLESS_COMPLETE=zsh_source gapless)"      # ~/.zshrc, after compinit
    _GAPLESS_COMPLETE=fish_source gapless | source      # ~/.config/fish/config.fish
"""


def render() -> str:
    """The whole page."""
    pages = [HEAD]
    for verb in VERBS:
        pages.append(f"## gapless {verb}\n\n```\n{_help(verb)}```\n")
        command = cli.get_command(click.Context(cli), verb)
        if isinstance(command, click.Group):
            pages += [f"### gapless {verb} {inner}\n\n```\n{_help(verb, inner)}```\n" for inner in command.commands]
    return "\n".join(pages)


def _help(*verbs: str) -> str:
    arguments = [*verbs, "--help"]
    return CliRunner().invoke(cli, arguments, prog_name="gapless", terminal_width=100).output


if __name__ == "__main__":
    print(render(), end="")  # noqa: T201 -- it is a command
