"""The quick form of each longer target that needs no host: real processes, sockets and Caddy, and no limit of time."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from bench import switchovers, throughput

from gapless.demo.ways import HeldRestart, Overlap, Way
from tests.support import program


@pytest.mark.parametrize("front", ["direct", "Caddy"])
def test_bench(front: str) -> None:
    """Invariants 1, 3, 4 and 6: 0 lost, every acknowledged POST exactly once, every old process gone cleanly."""
    said = program("bench", "--only", f"gapless deploy {front}", "--switchovers", "4")
    rows = re.findall(rf"^\| gapless serve \| gapless deploy \| {front} \| 4 \| 0 of ([\d,]+) \| 0 \|", said, re.M)
    assert rows, said
    assert int(rows[0].replace(",", "")) > 500


def test_bench_assets() -> None:
    """With [assets] no file of a page is missing over deploys; without, as is usual, the same pages miss some."""
    said = program("bench.assets", "--deploys", "3", "--within", "3")
    assert re.search(r"^\| with \[assets\] \| 3 \| \d+ \| [1-9]\d* \| 0 \| [1-9]\d* \| 0 \| 0 \|$", said, re.M), said
    [[soon, later]] = re.findall(r"^\| without \| 3 \| \d+ \| \d+ \| (\d+) \| \d+ \| (\d+) \| 0 \|$", said, re.M)
    assert int(soon) + int(later) > 0


def test_bench_timings() -> None:
    """Every figure is there; a busy machine may be over the limits, which the bench's status would say."""
    said = program("bench", "--only", "timings", statuses=(0, 1))
    assert re.search(r"`gapless deploy` -?\d+ ms over its app's boot", said), said


def test_bench_throughput() -> None:
    """Both servers answer every request that wrk sends."""
    if throughput.wrk() is None:
        pytest.skip("there is no wrk, and only root can install it")
    said = program("bench", "--only", "throughput", "--rounds", "2")
    assert re.findall(r"^`gapless serve` over stock uvicorn, (.+): rate", said, re.M) == list(throughput.KINDS), said


@pytest.mark.parametrize(("make", "server"), [(HeldRestart, "uvicorn"), (Overlap, "hypercorn")])
def test_bench_finds_what_others_lose(tmp_path: Path, make: Callable[..., Way], server: str) -> None:
    """A proof that cannot fail proves nothing: this load sees losses, or a stall, in the usual ways."""
    argv, ready = switchovers.SERVERS[server]
    way = make(server, tmp_path / "app", 0.3, argv, ready)
    row, _ = switchovers.run(server, make.__name__, "direct", way, 3)
    found = row.quick
    assert row.lost > 0 or max(found.worst_inside, found.worst_outside) > 3 * found.p999_outside


def test_kills() -> None:
    """Invariant 5: SIGKILL at any moment of a deploy; the service answers, the next deploy repairs, nothing is lost."""
    said = program("bench.kills", "--count", "10", "--seed", "1")
    assert "10 kills" in said
    assert re.search(r"\d+ requests without a loss", said), said
    assert re.search(r"[1-9]\d* POSTs acknowledged, 0 not once", said), said


def test_demo(tmp_path: Path) -> None:
    """`gapless demo --quick`: three ways, one table, a report, exit status 0 because gapless lost nothing."""
    report = tmp_path / "report.html"
    said = program("gapless", "demo", "--quick", "--report", str(report))
    assert "restart on a held socket" in said
    assert "requests without a loss" in said
    assert str(report) in said
    assert report.read_text().startswith("<!doctype html>")


def test_scorecard(tmp_path: Path) -> None:
    """A row has version, date, counts and what failed; what is no longer as in the kept table is told."""
    only = ("--server", "gapless serve, WSGI", "--case", "4.1", "--into", str(tmp_path))
    said = program("bench.scorecard", *only)
    assert said.endswith("gapless serve, WSGI: new\ngapless serve, WSGI, 4 workers: new\n"), said
    page = (tmp_path / "scorecard.md").read_text()
    row = r"^\| 2 \| gapless serve, WSGI, 4 workers \| [\d.]+ \| \d{4}-\d\d-\d\d \| 1 \| 0 \| 0 \|  \|$"
    assert re.search(row, page, re.M), page
    kept = tmp_path / "scorecard.json"
    kept.write_text(kept.read_text().replace('"pass"', '"fail"', 1))
    told = [line for line in program("bench.scorecard", *only).splitlines() if "→" in line]
    assert len(told) == 1
    assert told[0].startswith("gapless serve, WSGI 4.1: fail → pass (")


def test_scorecard_of_a_manager(tmp_path: Path) -> None:
    """Invariants 1, 3 and 6: ours loses nothing, by a good release or by one that fails, and answers after that."""
    said = program("bench.scorecard", "--manager", "gapless run", "--deploys", "1", "--into", str(tmp_path))
    row = r"^gapless run, gapless serve: lost: 0 of [\d,]+, stall: .* fails: 0 of [\d,]+, answers then: yes$"
    assert re.search(row, said, re.M), said


def test_scorecard_of_a_python(tmp_path: Path) -> None:
    """What users install passes, ASGI and WSGI, on a Python that is named: a line each with its versions."""
    program("bench.scorecard.pythons", "--loop", "asyncio", "--case", "4.1", "--into", str(tmp_path), sys.executable)
    page = (tmp_path / "scorecard.md").read_text()
    rows = re.findall(r"^\| [\d.]+ \| (\w+) \| (\w+) \| python .+ \| 1 \| 0 \| 0 \|  \|$", page, re.M)
    assert rows == [("asyncio", "ASGI"), ("asyncio", "WSGI")], page
