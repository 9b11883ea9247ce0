"""gapless confirm [RELEASE]"""

from __future__ import annotations

import click

from gapless.cli import completion
from gapless.cli.deploy import lock_wait
from gapless.cli.options import Project, common, end_lease, ending, go_on_without_terminal, lease, stop_like_ctrl_c
from gapless.cli.output import Output
from gapless.cli.progress import Progress
from gapless.cli.types import SPAN
from gapless.release import confirming
from gapless.release.holding import moment


@click.command()
@click.argument("release", required=False, shell_complete=completion.releases)
@click.option("--stand-by", type=SPAN, metavar="TIME", help="Not yet: wait this long for another `gapless confirm`.")
@lock_wait
@lease
@end_lease
@common
@click.pass_obj
def command(
    output: Output,
    /,
    project: Project,
    release: str | None,
    stand_by: float | None,
    lock_wait: float,
    lease: str,
    end_lease: bool,
) -> None:
    """The previous release, which stands by, then drains. `gapless rollback` turns back at once.

    Whoever reaches the host from outside, and finds the app well, confirms it: a release that breaks the way there is
    turned back from by the host itself.
    """
    target = project.target(Progress(output), lock_wait, lease)
    stop_like_ctrl_c()
    go_on_without_terminal()
    with ending(lease, project, wanted=end_lease):
        done = confirming.confirm(target, release, stand_by)
    document = {"release": done.release, "changed": done.changed, "confirm_by": done.until}
    line = f"{done.release} is confirmed." if done.changed else f"Already confirmed: {done.release} is live, and stays."
    if done.until:
        line = f"{done.release} is live until {moment(done.until)}: `gapless confirm` keeps it."
    output.result(document, line)
