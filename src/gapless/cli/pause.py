"""gapless pause"""

from __future__ import annotations

import click

from gapless.cli.deploy import lock_wait
from gapless.cli.options import Project, common, stop_like_ctrl_c
from gapless.cli.output import Output, in_a_line
from gapless.cli.progress import Progress
from gapless.cli.types import SPAN
from gapless.release import pause
from gapless.span import show


@click.command()
@click.option("--at-most", type=SPAN, default="30s", show_default=True, metavar="TIME", help="Then it ends by itself.")
@lock_wait
@common
@click.pass_obj
def command(output: Output, /, project: Project, at_most: float, lock_wait: float) -> None:
    """Requests under way are answered, then this returns. Whoever comes from then on waits in the kernel's queue, or on
    an open connection, and is answered afterwards. It ends by `gapless resume`, after --at-most (10 minutes at the
    longest) in any case, or with the server's process. Processes and timers go on; deploys are refused.
    """
    target = project.target(Progress(output), lock_wait)
    stop_like_ctrl_c()
    held = pause.begin(target, at_most)
    line = f"{'Paused' if held.new else 'Already paused'} {held.pause}: {show(held.pause.left)} from now."
    document = {"paused": True, "until": held.pause.until, "who": held.pause.who, "changed": held.new}
    output.result(document, in_a_line(line))
