"""How long gapless itself takes: import, help, and a deploy over the boot of its app. In seconds."""

from __future__ import annotations

import compileall
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import gapless
from gapless.demo.ways import Gapless

PYTHON = sys.executable
LIMITS = {"import": 0.020, "help": 0.150}  # seconds: what somebody who types would feel
BOOT = 0.5  # seconds: any will do, it is taken off again


def seconds(run: Callable[[], object]) -> float:
    """Of one call."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def median(count: int, run: Callable[[], object]) -> float:
    """Median seconds of a call."""
    return statistics.median(seconds(run) for _ in range(count))


def _command(*argv: str) -> Callable[[], object]:
    return lambda: subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)


def timings(folder: Path) -> dict[str, float]:
    """Medians: `import` over a bare interpreter, `help`, `deploy` over the boot of its app, and `status`."""
    compileall.compile_dir(Path(gapless.__file__).parent, quiet=1)  # as pip does for those who install it
    bare = median(20, _command(PYTHON, "-c", "pass"))
    way = Gapless("timings", folder / "timings", BOOT, linger=1)
    try:
        way.start()
        deploy = over_boot(10, way.deploy, partial(_start, way))
        status = median(10, _command(PYTHON, "-m", "gapless", "status", "-C", str(way.folder)))
    finally:
        way.stop()
    return {
        "import": median(20, _command(PYTHON, "-c", "import gapless")) - bare,
        "help": median(20, _command(PYTHON, "-m", "gapless", "--help")),
        "deploy": deploy,
        "status": status,
    }


def too_slow(found: dict[str, float]) -> list[str]:
    """Say which of the medians are over their limit."""
    over = {name: most for name, most in LIMITS.items() if found[name] > most}
    return [f"{name}: {found[name]:.3f} s, and {most:g} s is the most" for name, most in over.items()]


def over_boot(count: int, deploy: Callable[[], object], start: Callable[..., subprocess.Popen[str]]) -> float:
    """Median seconds that a deploy takes over the boot of its app by itself, from exec to serving, right before it.

    `start` runs an argv, its output in a pipe.
    """
    argv = [PYTHON, "-m", "gapless", "serve", "app:app", "--bind", "127.0.0.1:0", "--check", "/health"]

    def boot() -> None:
        with start(*argv) as process:
            assert process.stdout is not None  # noqa: S101 -- it is a pipe
            next(line for line in process.stdout if "serving" in line)
            process.kill()

    def once() -> float:
        alone = seconds(boot)
        return seconds(deploy) - alone

    return statistics.median(once() for _ in range(count))


def _start(way: Gapless, *argv: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        argv, cwd=way.folder, env=way.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
