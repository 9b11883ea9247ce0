"""Units that are stopped, and files removed, should we die: a small process waits at the other end of a pipe."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from gapless.switch.systemd.systemctl import Systemctl

# The end of the pipe without a line means that we are dead. One unit after the other, in the order given. The next
# deployer may be at work by then: a socket, and the file that names who it starts, are ours while that file says so.
WITHIN = 15  # seconds to stop: what is stopped so never had a visitor
SCRIPT = """
read -r line && exit 0
file=$1 said=$2
shift 2
mine() { [ -z "$file" ] || grep -qxF "$said" "$file"; }
while [ "$1" != -- ]; do
    unit=$1
    shift
    case $unit in *.socket) mine || continue ;; esac
    # It may ask for more time to stop for ever, as in Systemctl.end; or systemd executes itself anew just then.
    timeout $WITHIN $SYSTEMCTL stop "$unit" || case $unit in *.socket) $CONFLICT ;; *) false ;; esac || {
        $SYSTEMCTL kill --signal=SIGKILL "$unit"
        sleep 2
        $SYSTEMCTL stop "$unit"
    }
    $SYSTEMCTL reset-failed "$unit"
done
shift
[ -z "$file" ] || { mine && rm -f "$file"; }
[ $# = 0 ] || rm -f "$@"
[ -z "$file" ] || $SYSTEMCTL daemon-reload
"""


@contextlib.contextmanager
def stopped_with_us(
    ctl: Systemctl, *units: str, remove: Sequence[Path] = (), named: tuple[Path, str] | None = None
) -> Iterator[None]:
    """See to it that `units` are stopped, in that order, and `remove` is removed, if we are killed inside the block.

    A socket among them only as long as the file `named` has that line; the file goes, too.
    """
    conflict = shlex.join(ctl.conflict("UNIT")).replace("=UNIT", '="$unit"')  # where stopping it is refused
    script = SCRIPT.replace("$SYSTEMCTL", shlex.join(ctl.argv())).replace("$CONFLICT", conflict)
    script = script.replace("$WITHIN", str(WITHIN))
    deadman = subprocess.Popen(
        ["/bin/sh", "-c", script, "deadman", *map(str, named or ("", "")), *units, "--", *map(str, remove)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=ctl.environment,
        start_new_session=True,  # what kills our group, or closes our terminal, must not kill it
    )
    assert deadman.stdin is not None  # noqa: S101 -- for the type checker: it is a pipe
    try:
        yield
    finally:
        with contextlib.suppress(BrokenPipeError):  # somebody killed it: then nothing waits for this
            deadman.stdin.write(b"done\n")
            deadman.stdin.close()
        deadman.wait()
