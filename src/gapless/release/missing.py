"""What a release would miss of the checkout that it was made from: said before it fails for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from gapless.config.settings import Config

VENV = "pyvenv.cfg"  # which every virtual environment has, PEP 405
MADE = (".venv", "venv", "env", "node_modules")  # by the tools that install what an app needs
BUILD = "`[build] run` makes it anew for each release"


def of(tree: Path, config: Config, project: Path, left_out: Callable[[], Iterable[str]]) -> list[str]:
    """Say what of `project` is not in `tree`, a release before its build, though it runs with it.

    `left_out` names what stayed in the project; nobody asks where a build makes what is not there.
    """
    found = [
        f"{one.parent.relative_to(tree)} is a virtual environment, whose programs run from where it was made, not from"
        f" the release: let git ignore it, and {BUILD}"
        for one in sorted((*tree.glob(f"*/{VENV}"), *tree.glob(f"*/*/{VENV}")))
    ]
    return found if config.build.run else [*found, *_unbuilt(tree, config, project, left_out)]


def _unbuilt(tree: Path, config: Config, project: Path, left_out: Callable[[], Iterable[str]]) -> Iterator[str]:
    programs = {"command": config.argv}
    programs |= {name: one.argv for name, one in config.processes.items()}
    programs |= {name: one.argv for name, one in config.timers.items()}
    for name, argv in programs.items():
        if "/" in argv[0] and not argv[0].startswith("/") and not os.path.lexists(tree / argv[0]):
            yield f"`{name}` runs {argv[0]}, which is not in the release: {BUILD}"
    for prefix, directory in config.assets.paths.items():
        if not os.path.lexists(tree / directory):
            yield f"`[assets]` {prefix}: {directory} is not in the release: {BUILD}"
    stayed = {one.rstrip("/") for one in left_out()}
    for name in MADE:
        if name in stayed and not Path(sys.prefix).is_relative_to((project / name).absolute()):
            yield f"{name} stays in the project, and nothing in the release takes its place: {BUILD}"
