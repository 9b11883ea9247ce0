"""gapless logs [RELEASE]"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator

import click

from gapless.cli.options import Project, common
from gapless.cli.output import Output
from gapless.errors import GaplessError
from gapless.home import Home
from gapless.release.commands import tail
from gapless.switch.embedded.logs import Follower
from gapless.switch.systemd import journal


@click.command()
@click.argument("release", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines of every release, until Ctrl-C.")
@click.option("--lines", type=click.IntRange(0), default=50, show_default=True, help="How many of the last lines.")
@common
@click.pass_obj
def command(output: Output, /, project: Project, release: str | None, follow: bool, lines: int) -> None:
    """Without RELEASE: the current one. Its build and migration are in its log, too."""
    wanted = release or project.current
    if wanted is None:
        raise GaplessError("show", "the log", "nothing was deployed yet", "gapless run, or gapless deploy")
    path = project.store.log(wanted)
    if project.place:
        # What its build and migration wrote is in a file, what systemd ran in the journal.
        last = [f"{wanted} | {line}" for line in tail(path, lines)] + journal.lines(project.place, wanted, lines)
        _show(output, wanted, last[-lines:] if lines else [], journal.follow(project.place) if follow else ())
        return
    if not path.exists():
        there = ", ".join(one.stem for one in sorted(path.parent.glob("*.log"))) or "none"
        raise GaplessError("show", f"the log of {wanted}", "there is none", f"there are logs of: {there}")
    with path.open(errors="replace") as text:
        last = [line.rstrip("\n") for line in deque(text, lines)]
    _show(output, wanted, last, _follow(Home(project.home)) if follow else ())


def _show(output: Output, release: str, last: list[str], more: Iterable[str]) -> None:
    output.result({"release": release, "lines": last}, *last)
    for line in more:
        output.line({"line": line}, line)


def _follow(home: Home) -> Iterator[str]:
    """New lines of every release, those that start to log meanwhile included."""
    new: deque[str] = deque()
    followers: dict[str, Follower] = {}
    while True:
        for path in home.log.glob("*.log"):
            if path.stem not in followers:
                followers[path.stem] = Follower(path, path.stem, new.append, cuts=False)
        for follower in followers.values():
            follower.poll()
        while new:
            yield new.popleft()
        time.sleep(0.2)
