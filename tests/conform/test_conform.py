"""`gapless conform`: gapless serve passes every case, and for each case there is a wrong server that it catches."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gapless.conform.battery import AT_ONCE, CASES, FAMILIES, chosen, try_case
from gapless.conform.case import Case, Outcome, Result
from gapless.conform.manager import Facts
from gapless.errors import GaplessError
from tests.conform import faults
from tests.conform.faults import FAULTS, SERVER
from tests.process.test_json import documented
from tests.support import wait_until

SERVE = (sys.executable, "-m", "gapless", "serve")
WITHOUT_UVLOOP = "import sys; sys.modules['uvloop'] = None; from gapless.__main__ import main; main()"
ON_ASYNCIO = (sys.executable, "-c", WITHOUT_UVLOOP, "serve")
TWO = ("--workers", "2")
OF_THE_LOOP = (
    "2.4",
    "2.9",
    "3.2",
    "3.3",
    "3.4",
    "3.5",
    "3.6",
    "3.7",
    "3.9",
    "3.10",
    "3.12",
    "3.17",
    "4.3",
    "websockets",
)
OF_THREADS = (
    "1.4",
    "3.2",
    "3.4",
    "3.6",
    "3.7",
    "3.8",
    "3.9",
    "3.10",
    "3.11",
    "3.12",
    "4.2",
    "4.3",
    "4.5",
    "4.6",
    "wsgi",
)
OF_WORKERS = ("1.3", "1.5", "2.9", "3.1", "3.4", "3.5", "4.3", "4.8", "4.10")
BY_NUMBER = "by a descriptor's number"
CONFIGURATIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "ASGI on uvloop": ((*SERVE, "app:app"), ()),
    "ASGI on asyncio": ((*ON_ASYNCIO, "app:app"), OF_THE_LOOP),
    "ASGI, two workers": ((*SERVE, *TWO, "app:app"), OF_WORKERS),
    "WSGI": ((*SERVE, "app:wsgi"), OF_THREADS),
    "WSGI, two workers": ((*SERVE, *TWO, "app:wsgi"), ("3.4", "3.8", "4.3")),
    BY_NUMBER: ((*SERVE, "--bind", "fd:3", "app:app"), ("2.11",)),
}


def conform(*argv: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gapless", "conform", *argv]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=150, cwd=cwd)


@pytest.fixture(scope="module")
def passed() -> dict[str, list[Result]]:
    """What the battery finds of each configuration; those that are not alone side by side, for they wait."""
    pairs = [(name, one) for name, (_, only) in CONFIGURATIONS.items() for one in chosen(only)]
    together = [pair for pair in pairs if not pair[1].alone]

    def judge(pair: tuple[str, Case]) -> Result:
        name, case = pair
        # How long a case waits for what may not come: there it comes.
        return try_case(CONFIGURATIONS[name][0], case, Facts(seconds=15.0 if name == BY_NUMBER else 3.0))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = [*zip(together, pool.map(judge, together), strict=True)]
    results += [(pair, judge(pair)) for pair in pairs if pair[1].alone]
    found: dict[str, list[Result]] = {name: [] for name in CONFIGURATIONS}
    for (name, _), result in results:
        found[name].append(result)
    return found


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_gapless_serve_passes(configuration: str, passed: dict[str, list[Result]]) -> None:
    """Invariants 1, 3, 4 and 6, a case each: what the battery asks of any server, ours does."""
    results = passed[configuration]
    wrong = [f"{one.case.number} {one.case.title}: {one.evidence}" for one in results if one.outcome is Outcome.FAIL]
    assert not wrong
    assert len(results) == len(chosen(CONFIGURATIONS[configuration][1]))


def test_every_case_applies_somewhere(passed: dict[str, list[Result]]) -> None:
    """A case that does not apply proves nothing: each passes somewhere; start_server's way we do not know."""
    seen = {one.case.number for results in passed.values() for one in results if one.outcome is Outcome.PASS}
    assert {one.number for one in CASES} - seen == {"2.10"}


@pytest.fixture(scope="module")
def judged() -> dict[str, dict[str, Result]]:
    """What the cases that are about each fault find of it: fault, number, result; side by side, for they wait."""
    pairs = [(fault, one) for fault, (must, _) in FAULTS.items() for one in CASES if one.number in must]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = pool.map(lambda pair: try_case(faults.command(pair[0]), pair[1], faults.facts(pair[0])), pairs)
    found: dict[str, dict[str, Result]] = {fault: {} for fault in FAULTS}
    for (fault, case), result in zip(pairs, results, strict=True):
        found[fault][case.number] = result
    return found


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_server_is_caught(fault: str, judged: dict[str, dict[str, Result]]) -> None:
    """A proof that cannot fail proves nothing: every case that is about a fault fails of it."""
    missed = {number: one.evidence for number, one in judged[fault].items() if one.outcome is not Outcome.FAIL}
    assert not missed


def test_each_case_has_a_wrong_server() -> None:
    """No case is without a fault that it must find."""
    assert {one.number for one in CASES} == set.union(*(must for must, _ in FAULTS.values()))


def test_the_table_of_a_server(tmp_path: Path) -> None:
    """It has verdict, case and evidence, and counts them; a program is found by its relative path."""
    program = tmp_path / "server"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{SERVER}"\n')
    program.chmod(0o755)
    done = conform("--only", "1.1", "--only", "4.1", "--", "./server", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first, evidence, *_, last = done.stdout.splitlines()
    assert first.split()[:2] == ["pass", "1.1"]
    assert evidence.strip().startswith("READY=1 after ")
    assert last.startswith("2 pass, 0 fail, 0 not applicable: ")


def test_a_case_that_fails(tmp_path: Path) -> None:
    """The exit status is 1; the document and the page have the evidence."""
    page = tmp_path / "page.html"
    wrong = ("env", "FAULT=calls listen(2)", sys.executable, str(SERVER))
    done = conform("--only", "2.2", "--json", "--report", str(page), "--", *wrong)
    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)
    documented("conform", document)
    assert [document[name] for name in ("pass", "fail", "not_applicable")] == [0, 1, 0]
    [case] = document["cases"]
    assert (case["number"], case["outcome"]) == ("2.2", "fail")
    assert "the backlog was 3000, and is 100" in case["evidence"]
    assert case["evidence"] in page.read_text()


def test_what_there_is_to_choose() -> None:
    """A case goes by its number, a family by its number or name; --list runs nothing."""
    done = conform("--list", "--json", "--only", "drain")
    assert [one["number"] for one in json.loads(done.stdout)["cases"]] == [one.number for one in chosen(["4"])]
    assert {one.number.partition(".")[0] for one in CASES} == {str(at) for at in range(1, len(FAMILIES) + 1)}
    assert len({one.number for one in CASES}) == len(CASES)


def test_a_case_that_there_is_not() -> None:
    """Its error says how to see those that there are, and that works."""
    with pytest.raises(GaplessError, match=r"cannot choose the case .9\.9.") as raised:
        chosen(["9.9"])
    assert raised.value.hint == "`gapless conform --list`"
    assert "1.1   says READY=1" in conform("--list").stdout


def test_a_command_that_serves_nothing() -> None:
    """It is told from a server that fails: nothing was tested; a server that keeps to what the hint says is."""
    done = conform("--only", "1.1", "--", "false")
    assert done.returncode == 1
    assert "Error: cannot test false: it ended" in done.stderr
    assert "docs/conform.md" in done.stderr


def test_nothing_of_it_stays_when_it_is_told_to_end(tmp_path: Path) -> None:
    """SIGTERM is as Ctrl-C: status 130, and what it started is gone."""
    noted = tmp_path / "pids"
    script = 'echo $$ >> "$1"; shift; exec "$@"'
    server = ("sh", "-c", script, "sh", str(noted), sys.executable, str(SERVER))
    with subprocess.Popen([sys.executable, "-m", "gapless", "conform", "--only", "4.2", "--", *server]) as process:
        wait_until(
            lambda: noted.exists() and len(noted.read_text().split()) == 2
        )  # one to learn of it, one for the case
        process.terminate()
        assert process.wait(60) == 130
    assert [pid for pid in noted.read_text().split() if Path(f"/proc/{pid}").exists()] == []
