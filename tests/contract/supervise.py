"""What `gapless run` does, without the command line: supervise.py HOME [command that makes the first release]."""

import sys
from pathlib import Path

from gapless.config import load
from gapless.errors import GaplessError
from gapless.switch.embedded.supervisor import run


def emit(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


home, first = Path(sys.argv[1]), sys.argv[2:]
try:
    sys.exit(run(home, load(home.parent), emit, first=(lambda: first) if first else None))
except GaplessError as error:
    sys.exit(f"{error}\n{error.hint}")
