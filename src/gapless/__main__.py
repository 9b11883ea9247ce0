"""The `gapless` command; says which extra is missing instead of a traceback."""

from __future__ import annotations

import atexit
import gc
import sys

from gapless.linux import standard


def main() -> None:
    standard.open_closed()
    try:
        from gapless.cli import cli
    except ModuleNotFoundError as missing:
        if missing.name != "click":
            raise
        sys.exit('Error: the gapless command is not installed\nTry:   pip install "gapless[serve,cli]"')
    atexit.register(gc.freeze)  # the kernel takes it all back: no need to look for garbage before
    cli()


if __name__ == "__main__":
    main()
