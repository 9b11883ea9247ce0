"""The quick form of each longer target that boots hosts: each boots its own."""

from __future__ import annotations

import re

import pytest

from tests.support import program

pytestmark = pytest.mark.usefixtures("host")  # skips where none can be booted


def test_bench_hosts() -> None:
    """Invariants 1, 3, 4 and 6: 0 lost, every acknowledged POST exactly once, the same socket, all drains clean."""
    said = program("bench.hosts", "--deploys", "2")
    for front in ("direct", "Caddy"):
        assert re.search(rf"^\| gapless serve \| gapless deploy \| {front} \| 2 \| 0 of [\d,]+ \| 0 \|", said, re.M), (
            said
        )
    assert "The listening socket stayed the same one through every deploy, and every replaced instance" in said


def test_restore() -> None:
    """Every row that was acknowledged before the last sync is on the next host, from a directory and from S3."""
    said = program("bench.restore", "--switchovers", "2", "--losses", "1")
    for replica in ("directory", "S3"):
        assert re.search(rf"^\| {replica} \| 2 \| 1 \| [1-9][\d,]* \| 0 \|", said, re.M), said


def test_host_kills() -> None:
    """Invariants 1, 3 and 5: deployers, instances and the power; only what the killed had in hands is lost."""
    said = program("bench.host_kills", "--count", "6", "--reboots", "1", "--seed", "2")
    assert "1 × power" in said  # whether there was a candidate to kill depends on the machine
    assert re.search(r"\d+ requests without a loss", said), said
    assert re.search(r"[1-9]\d* POSTs acknowledged, 0 not once", said), said


def test_wppackages() -> None:
    """Invariants 1, 6 and 10: Composer never asks twice, each of its installs is counted once, the probe loses none."""
    said = program("bench.wppackages", "--deploys", "1", "--rollbacks", "1", seconds=400)
    assert re.search(r"^\| gapless deploy \| 1 \| 1 \| [1-9]\d* \| 0 \| 0 \| 0 \|", said, re.M), said
    none = r"([1-9][\d,]*) of \1 \| 0 of [\d,]+ \| [\d,]+ ms \| 0 of [1-9][\d,]* \| 0 \| 0"
    assert re.search(rf"\| {none} \|$", said, re.M), said
    assert re.search(r"^\| systemctl restart, held socket \| 1 \| 1 \| [1-9]", said, re.M), said


def test_field() -> None:
    """Invariants 1 and 6: a program as it is goes from `init` to a proof without a loss, by the lines that are said."""
    said = program("bench.field", "go")
    assert re.search(r"\| Go, net/http \| `./server` \| .* \| [1-9][\d,]* \| 0 \|$", said, re.M), said


def test_chaos() -> None:
    """Invariants 1, 3, 5, 11 and 12: whatever is done to a host, nothing is lost but what was in killed hands."""
    said = program("bench.chaos", "--steps", "12", "--seed", "3", seconds=400)
    assert "12 steps: " in said
    assert re.search(r"\d+ requests without a loss", said), said
    assert re.search(r"[1-9]\d* POSTs acknowledged, 0 not once", said), said


def test_soak() -> None:
    """Invariants 1 and 6: deploys in a row under wrk and the mixed traffic; nothing is lost, and nothing grows.

    The storm: what gapless does not lose, however fast its deploys follow one another.
    """
    said = program("bench.soak", "--deploys", "12", "--reloads", "1", seconds=400)
    [requests] = re.findall(r"^([\d,]+) requests without a loss: .* 0 of them are not in the app's ledger", said, re.M)
    assert int(requests.replace(",", "")) >= 12_000
    for clients in ("keep-alive", "new connections"):
        assert re.search(rf"^\| gapless deploy \| {clients} \| 1 \| [\d,]+ ms \| [\d,]+ \| 0 \|", said, re.M), said


def test_fleet() -> None:
    """Invariant 1: through a balancer that sends each request once, a deploy to all hosts loses none."""
    said = program("bench.fleet", "--hosts", "2", "--deploys", "1", "--others", "1", "--rounds", "1", seconds=400)
    assert re.search(r"^\| gapless deploy \| sends once \| 1 \| 0 of [1-9][\d,]* \| 0 of [1-9]", said, re.M), said
    for front in ("sends once", "retries"):
        assert re.search(rf"^\| ansible-playbook, .* \| {front} \| 1 \| ", said, re.M), said
    assert re.search(r"^\| fujin .* deploy, .* \| sends once \| 1 \| ", said, re.M), said
    assert "2 hosts in one wave take" in said
