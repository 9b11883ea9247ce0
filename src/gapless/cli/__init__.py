"""The command line: one file a verb; only this package prints."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from gapless.cli import completion
from gapless.cli.output import Output
from gapless.errors import GaplessError, in_words
from gapless.linux import standard
from gapless.version import VERSION

VERBS = {  # in the order of the story; a verb's module is imported when it is called
    "demo": "Deploy the same app in three ways under load and compare what got lost.",
    "init": "Write a gapless.toml for this project.",
    "run": "Hold the sockets and run the current release (embedded supervisor).",
    "serve": "Serve an ASGI or WSGI app: prove it, accept, drain.",
    "up": "Install the app on this host under systemd; deploy it the first time.",
    "deploy": "Make a release, prove it, switch over to it.",
    "pack": "Write what a release is made of as one stream, for `gapless deploy -`.",
    "confirm": "Keep a release that was deployed with --confirm.",
    "rollback": "Switch back to an earlier release, proven first.",
    "status": "Show each instance: role, release, connections and requests.",
    "doctor": "Check the app's host, and say how to mend what is wrong.",
    "releases": "List the releases.",
    "logs": "Show what the instances log.",
    "exec": "Run a command as the current release runs.",
    "audit": "Show every deploy: who, when, from, to, outcome.",
    "lock": "Show, take or release the deploy lock.",
    "database": "Look after the replica of the app's SQLite database, and restore it.",
    "pause": "Let visitors wait, for a short time, while nothing of the app answers.",
    "resume": "End a pause at once.",
    "maintenance": "Have Caddy show visitors a page in the place of the app.",
    "prune": "Remove releases that are no longer kept.",
    "down": "Remove what up and deploys made; data only if asked to.",
    "config": "Show the settings in force, or an example of all of them.",
    "probe": "Load a URL on schedule and prove that nothing was lost.",
    "conform": "Test whether a server loses requests when it is handed over.",
    "help": "Show the help of a command.",
}
# Units, releases, the ledger: everybody may read them, whatever the umask of whoever types the command. The other verbs
# write what is the user's own, or hand their umask on to the app.
FOR_EVERYBODY = {"up", "deploy", "rollback", "confirm", "lock", "pause", "resume", "prune", "down", "database"}

# These do nothing but tell: an answer that cannot be written is a failure. What the others do is done, told or not.
TELL = {"pack", "status", "doctor", "releases", "logs", "audit", "config", "probe", "conform", "help"}

# What somebody may be allowed who may not decide what root makes on the host: with --app, in a rule of sudo.
OF_AN_OPERATOR = {
    *("deploy", "rollback", "confirm", "status", "doctor", "releases", "logs", "exec", "audit", "lock", "prune"),
    *("pause", "resume"),
}


class Verbs(click.Group):
    """Lists verbs without importing them, and prints a GaplessError as it promises."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        command = importlib.import_module(f"gapless.cli.{name}").command
        assert isinstance(command, click.Command)  # noqa: S101 -- a slip of ours, not of the user
        more = inspect.cleandoc(command.help or "").removeprefix(VERBS[name]).strip()
        command.help = f"{VERBS[name]}\n\n{more}"
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in VERBS and not args[0].startswith("-") and not ctx.resilient_parsing:
            import difflib  # only a slip pays for it

            if near := difflib.get_close_matches(args[0], VERBS, 1):
                ctx.fail(f"No such command {args[0]!r}. Did you mean {near[0]!r}?")
        found = super().resolve_command(ctx, args)
        if found[0] in FOR_EVERYBODY:
            os.umask(0o022)
        if ctx.params.get("directory") and found[1] and not _has_project(found[1]):
            ctx.fail(f"`gapless {found[0]}` is about no project: it takes no -C.")
        return found

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Verbs, without importing each as click would, and the options of none."""
        verbs = [CompletionItem(verb, help=said) for verb, said in VERBS.items() if verb.startswith(incomplete)]
        return verbs + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().main(*args, **kwargs)
        except OSError as error:  # of --help or a wrong use, that nobody takes
            standard.give_up(1)
            Output().error(GaplessError("finish", "this command", error.strerror or str(error)))
            sys.exit(1)

    def invoke(self, ctx: click.Context) -> object:
        ctx.obj = Output()
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as missing:
            ctx.obj.error(_missing_extra(missing))
            ctx.exit(2)
        except GaplessError as error:
            ctx.obj.error(error)
            ctx.exit(error.status)
        except KeyboardInterrupt:
            ctx.obj.interrupted()
            ctx.exit(130)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except BrokenPipeError:  # nobody reads any more: click's own way
            raise
        except Exception as error:  # a person is never shown a traceback that he did not ask for
            refused = _unexpected(ctx, error)
            ctx.obj.error(refused)
            ctx.exit(refused.status)


def _has_project(command: click.Command) -> bool:
    """Whether a verb, or one of its own verbs, takes -C."""
    inner = command.commands.values() if isinstance(command, click.Group) else ()
    return any(one.name == "project" for one in command.params) or any(map(_has_project, inner))


def _unexpected(ctx: click.Context, error: Exception) -> GaplessError:
    """What the system refused, or a mistake of ours, as an error for people."""
    what = f"`gapless {ctx.invoked_subcommand}`"
    if isinstance(error, OSError):
        from gapless.linux.disk import refusal  # only a failure pays for it

        return refusal("run", what, error)
    import traceback  # the same

    details = tuple(line for text in traceback.format_exception(error) for line in text.splitlines())
    hint = "the same with -v shows where: that belongs into a report to gapless's authors"
    return GaplessError("run", what, in_words(error), hint, details=details if ctx.obj.verbose else ())


def _missing_extra(missing: ModuleNotFoundError) -> GaplessError:
    if missing.name is None or missing.name.partition(".")[0] == "gapless":
        raise missing
    return GaplessError("run", "this command", f"{missing.name} is not installed", 'pip install "gapless[serve,cli]"')


def _only(_ctx: click.Context, _param: click.Parameter, given: tuple[str, ...]) -> str | None:
    """The one name. Of several the last would count, and a rule of sudo vouches for the first."""
    if len(given) > 1 or "" in given:
        raise click.UsageError("--app takes the name of one app, and stands once")
    return given[0] if given else None


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, message="gapless %(version)s")
@click.option(
    "-C",
    "--project",
    "directory",
    metavar="DIRECTORY",
    type=click.Path(path_type=Path),
    shell_complete=completion.directories,
    help="As after the verb: the directory with gapless.toml.",
)
@click.option(
    "--app",
    metavar="NAME",
    multiple=True,
    callback=_only,
    help="Act on this app alone, whatever the directory says: for sudo rules.",
)
@click.pass_context
def cli(ctx: click.Context, /, app: str | None, directory: Path | None) -> None:  # noqa: ARG001 -- verbs look at it
    """Deploy a new release on your own server without losing or delaying one request."""
    verb = ctx.invoked_subcommand or ""
    ctx.obj.only_tells = verb in TELL
    if app is not None and verb not in OF_AN_OPERATOR:
        hint = "run it without --app, as somebody who may decide what is on this host"
        raise GaplessError("run", f"`gapless {verb}` for {app} alone", "it acts on the host", hint, status=2)
