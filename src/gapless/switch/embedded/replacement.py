"""A planned restart of the supervisor: another gapless goes on in its place, and nothing that serves notices."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable

from gapless import address
from gapless.address import Address
from gapless.errors import GaplessError
from gapless.switch.embedded import control
from gapless.switch.embedded.control import About, UnreachableError
from gapless.switch.embedded.home import EmbeddedHome

PATIENCE, LOOK_EVERY = 10.0, 0.05  # seconds for the successor to answer


def replace(home: EmbeddedHome, addresses: Iterable[str]) -> About:
    """Have this gapless supervise in the place of the one that does; what that one says of itself then.

    Raises GaplessError; without a supervisor UnreachableError.
    """
    before = control.about(home)
    held = [Address.parse(written) for written in before.sockets]
    if moved := address.moved(held, [*addresses]):  # it would refuse to start, and nobody would supervise
        hint = "put the address back, or end it with `kill` and start `gapless run`: the port is closed in between"
        raise GaplessError("replace", f"the supervisor of {home.root}", moved, hint)
    if not before.version:
        hint = f"`kill -KILL {before.pid}`, then `gapless run`: what serves goes on meanwhile, and is adopted"
        cause = "it is of an older gapless, which cannot do that"
        raise GaplessError("replace", f"the supervisor of {home.root}", cause, hint)
    control.ask(home, control.Replace(os.path.abspath(sys.executable)))  # noqa: PTH100 -- a venv's is a link, to be kept
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            if (about := control.about(home)).since != before.since:
                return about
        except UnreachableError:
            pass  # not yet
        time.sleep(LOOK_EVERY)
    cause = f"the new one does not answer after {PATIENCE:g} s"
    hint = "what serves goes on; its output says why, and `gapless run` supervises again"
    raise GaplessError("replace", f"the supervisor of {home.root}", cause, hint)
