"""The `gapless` command; says which extra is missing instead of a traceback."""

from __future__ import annotations

import sys


def main() -> None:
    try:
        from gapless.cli import cli
    except ModuleNotFoundError as missing:
        if missing.name != "click":
            raise
        sys.exit('Error: the gapless command is not installed\nTry:   pip install "gapless[serve,cli]"')
    cli()


if __name__ == "__main__":
    main()
