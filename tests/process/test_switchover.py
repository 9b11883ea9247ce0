"""Switchovers under the mixed traffic, with real processes, sockets and Caddy: nothing lost, nothing double."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from bench import kills, switchovers

from gapless.demo.ways import Gapless, HeldRestart, Overlap, Way

COUNT = 5  # `make bench` does 50 of each


def way(folder: Path, make: Callable[..., Way] = Gapless, server: str = "uvicorn") -> Way:
    """A way to deploy the demo's app, with a quick boot."""
    if make is Gapless:
        return Gapless("gapless", folder / "app", 0.3, linger=switchovers.LINGER)
    argv, ready = switchovers.SERVERS[server]
    return make(server, folder / "app", 0.3, argv, ready)


@pytest.mark.parametrize("front", ["direct", "Caddy"])
def test_nothing_is_lost(tmp_path: Path, front: str) -> None:
    """Invariants 1, 3, 4 and 6: 0 lost, every acknowledged POST exactly once, every old process gone cleanly."""
    one = way(tmp_path)
    row, measured = switchovers.run("gapless serve", "gapless deploy", front, one, COUNT)
    assert measured.verdict.requests > 500
    assert (row.lost, row.wrong_posts) == (0, 0), measured.verdict.losses
    assert row.ended_cleanly == COUNT + 1
    assert len(measured.verdict.releases) == COUNT + 1


@pytest.mark.parametrize(("make", "server"), [(HeldRestart, "uvicorn"), (Overlap, "hypercorn")])
def test_the_same_traffic_finds_what_others_lose(tmp_path: Path, make: Callable[..., Way], server: str) -> None:
    """A proof that cannot fail proves nothing: this load sees losses, or a stall, in the usual ways."""
    row, _ = switchovers.run(server, make.__name__, "direct", way(tmp_path, make, server), 3)
    found = row.quick
    assert row.lost > 0 or max(found.worst_inside, found.worst_outside) > 3 * found.p999_outside


def test_random_kills_of_the_deployer(tmp_path: Path) -> None:
    """Invariant 5: SIGKILL at any moment of a deploy; the service answers, the next deploy repairs, nothing is lost."""
    outcome, measured = asyncio.run(kills.soak(tmp_path / "app", 15, seed=1))
    assert outcome.wrong == []
    assert measured.ok, measured.verdict.losses


def test_the_demo_shows_the_difference(tmp_path: Path) -> None:
    """`gapless demo --quick`: three ways, one table, a report, exit status 0 because gapless lost nothing."""
    report = tmp_path / "report.html"
    argv = [sys.executable, "-m", "gapless", "demo", "--quick", "--report", str(report)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "restart on a held socket" in done.stdout
    assert "requests without a loss" in done.stdout
    assert str(report) in done.stdout
    assert report.read_text().startswith("<!doctype html>")
