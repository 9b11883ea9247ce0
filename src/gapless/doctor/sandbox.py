"""What the log of the current release says that its sandbox refused, and what in it will be refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gapless.config.settings import Sandbox
from gapless.doctor.finding import Finding, Severity
from gapless.switch.symptoms import ADVICE, Kind, recognise

LINES = 1000  # of the log
COMPILERS = {"llvmlite": "numba"}  # packages that make code while they run, and by whom they are known


def refused(lines: Sequence[str], sandbox: Sandbox) -> list[Finding]:
    """Judge the last lines of the log of the current release."""
    return [
        Finding("sandbox", Severity.WARNING, f"it refused {one.kind}: {one.said}", one.advice)
        for one in recognise(lines, sandbox)
    ]


def packages(directory: Path, sandbox: Sandbox) -> list[Finding]:
    """Judge the packages in the release's `directory`: of what makes code while it runs, the import fails."""
    there = [who for name, who in COMPILERS.items() if any(directory.glob(f".venv/lib/python*/site-packages/{name}"))]
    if sandbox.jit or not there:
        return []
    what = f"{there[0]} is in {directory.name}, and makes code while it runs, which the sandbox forbids"
    return [Finding("sandbox", Severity.WARNING, what, ADVICE[Kind.JIT])]
