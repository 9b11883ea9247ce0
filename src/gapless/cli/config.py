"""gapless config"""

from __future__ import annotations

from importlib.resources import files

import click
import msgspec

from gapless.cli.options import Project, anywhere
from gapless.cli.output import Output
from gapless.switch.systemd import litestream, units
from gapless.switch.systemd.home import SystemdHome, find


@click.command()
@click.option("--example", is_flag=True, help="Print a gapless.toml with every setting, its default and its meaning.")
@click.option(
    "--units", "show_units", is_flag=True, help="Print the systemd units of a release, as a deploy writes them."
)
@anywhere
@click.pass_obj
def command(output: Output, /, project: Project, example: bool, show_units: bool) -> None:
    """Times are in seconds. A release is called RELEASE in the units."""
    if example:
        output.result({"example": example_text()}, example_text().rstrip())
        return
    if show_units:
        _show_units(output, project)
        return
    settings = msgspec.to_builtins(project.config, enc_hook=float)
    lines = []
    for key, value in settings.items():
        if isinstance(value, dict):
            lines += ["", f"[{key}]", *(f"{inner} = {_toml(each)}" for inner, each in value.items())]
        else:
            lines.append(f"{key} = {_toml(value)}")
    output.result(settings, *lines)


def _show_units(output: Output, project: Project) -> None:
    where = find(project.config.name) or SystemdHome(project.config.name)
    texts = units.everything(project.config, where, "RELEASE")
    if beside := litestream.of(where, project.config):
        texts[where.litestream] = beside.unit(project.config, shown=True)
    output.result({"units": texts}, *(f"# {where.units / name}\n{text}" for name, text in texts.items()))


def example_text() -> str:
    """The commented example, which is also what the tests read."""
    return files("gapless").joinpath("templates/gapless.toml").read_text("utf-8")


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_toml(key)} = {_toml(each)}' for key, each in value.items())} }}" if value else "{}"
    # Every other value here is a string, a number or a list of strings, which JSON and TOML write alike.
    return msgspec.json.encode(value).decode()
