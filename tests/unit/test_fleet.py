"""Fleets, less what takes hosts: how hosts are written and chosen, what they answer, to what they go back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gapless import config, destination
from gapless.config.settings import Config
from gapless.errors import GaplessError
from gapless.fleet import answers
from gapless.fleet.hosts import Host, chosen, parse
from gapless.fleet.play import Answer
from gapless.fleet.rollback import target

HERE = Path("gapless.toml")
LEAST = 'name = "shop"\ncommand = "gapless serve shop:app"\n'
SOME = """
[hosts]
web = ["root@10.0.0.1", "web2.example.com"]
worker = ["web2.example.com", "root@[2001:db8::1]:2222"]
x-why = "theirs"
"""
ONE, TWO = Host("web1"), Host("web2")


def settings(more: str = "") -> Config:
    return config.parse(LEAST + more, HERE)


def test_hosts_as_they_are_written() -> None:
    """Each is where ssh finds it; in groups by name, with waves and failures beside them."""
    hosts = settings(SOME + "waves = [2, '50%']\nmax_failures = 1\n").hosts
    assert [*hosts.groups] == ["web", "worker"]
    assert (hosts.waves, hosts.max_failures) == ([2, "50%"], 1)
    assert parse("root@10.0.0.1") == Host("10.0.0.1", "root")
    assert parse("root@[2001:db8::1]:2222") == Host("2001:db8::1", "root", "2222")
    assert parse("root@[2001:db8::1]:2222").ssh == "ssh -p 2222 root@2001:db8::1"


@pytest.mark.parametrize(
    "written", ["", "-oProxyCommand=x", "a b", "web1,web2", "a@b@c", "web1:", "web!", "web1/x", "ü"]
)
def test_what_is_no_host(written: str) -> None:
    """Nothing that ssh would take for an option, or Ansible for a pattern, and nothing else than a host."""
    with pytest.raises(GaplessError, match="is not a host"):
        settings(f"hosts = {{ web = [{json.dumps(written)}] }}")


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ((), ["10.0.0.1", "web2.example.com", "[2001:db8::1]:2222"]),
        (("worker",), ["web2.example.com", "[2001:db8::1]:2222"]),
        (("root@10.0.0.1",), ["10.0.0.1"]),
        (("worker,10.0.0.1",), ["10.0.0.1", "web2.example.com", "[2001:db8::1]:2222"]),
    ],
)
def test_hosts_are_chosen_by_group_and_by_name(wanted: tuple[str, ...], found: list[str]) -> None:
    """Each once, in the order of gapless.toml."""
    assert [one.name for one in chosen(settings(SOME), wanted)] == found


def test_hosts_that_are_advised() -> None:
    """Invariant 8: who asks for hosts where there are none is told how they are written."""
    with pytest.raises(GaplessError) as raised:
        chosen(settings())
    advice = raised.value.hint.removeprefix("for example: ").partition(", in")[0]
    assert [one.ssh for one in chosen(settings(advice.replace("] ", "]\n")))] == ["ssh root@shop.example.com"]


def test_a_destination_has_hosts_of_its_own(tmp_path: Path) -> None:
    """No host of production is among those of staging; waves stay the project's."""
    (tmp_path / "gapless.toml").write_text(LEAST + SOME + "waves = [2]\n")
    own = 'name = "staging"\nlisten = "127.0.0.1:1"\n'
    (tmp_path / "gapless.staging.toml").write_text(own + '[hosts]\nweb = ["stage"]\n')
    (tmp_path / "gapless.beside.toml").write_text(own)
    staging = destination.load(tmp_path, "staging").hosts
    assert (staging.groups, staging.waves) == ({"web": ["stage"]}, [2])
    assert len(destination.load(tmp_path, "beside").hosts.groups) == 2


def test_a_migration_of_many_hosts_says_whose_database_it_is() -> None:
    """Unsaid it is refused; for one host there is nothing to say."""
    migrating = "release = { migrate = 'a' }\n"
    with pytest.raises(GaplessError, match=r"fleet\.migrate"):
        settings(migrating + SOME)
    settings(migrating + SOME + "[fleet]\nmigrate = 'once'\n")
    settings(migrating + "hosts = { web = ['web1'] }")


def test_an_error_of_a_host_comes_whole() -> None:
    """Invariant 8: with the host's name, its cause, details, notes and status."""
    parts = {
        "operation": "start",
        "object": "shop",
        "cause": "it ended",
        "hint": "look",
        "details": ["a"],
        "notes": ["b"],
    }
    said = json.dumps({"error": {**parts, "status": 75}})
    with pytest.raises(GaplessError, match="cannot start shop on web1: it ended") as raised:
        answers.document(ONE, Answer(75, said))
    assert (raised.value.details, raised.value.status, raised.value.__notes__) == (("a",), 75, ["b"])
    assert raised.value.hint == "on web1: look"


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (Answer(unreachable="no route"), "no route"),
        (Answer(127, errors="gapless: not found"), "it is not there"),
        (Answer(2, "usage"), "ended with 2"),
        (Answer(0, "[]"), "ended with 0"),
        (Answer(1, '{"error": {"cause": "x"}}'), "ended with 1"),
        (Answer(1, '{"error": "x"}'), "ended with 1"),
    ],
)
def test_what_is_no_answer(answer: Answer, cause: str) -> None:
    """A host that was not reached is told from one whose gapless says nothing that can be read."""
    with pytest.raises(GaplessError, match=cause) as raised:
        answers.document(ONE, answer)
    assert isinstance(raised.value, answers.UnreachableError) == bool(answer.unreachable)
    assert ("`ssh web1 true`" if answer.unreachable else "`ssh web1 gapless --version`") in raised.value.hint


def releases(current: int, *contents: str) -> dict[str, Any]:
    """What `gapless releases` says of releases of these contents, newest first; one is the current."""
    names = [f"r{len(contents) - place}" for place in range(len(contents))]
    states = ["current" if place == current else "bad" if one == "!" else "good" for place, one in enumerate(contents)]
    rows = zip(names, contents, states, strict=True)
    return {"releases": [{"release": name, "id": id_ * 64, "revision": "", "state": how} for name, id_, how in rows]}


@pytest.mark.parametrize(
    ("one", "two", "wanted", "found"),
    [
        (releases(0, "c", "b", "a"), releases(0, "c", "b", "a"), None, ("r2", "r2")),
        (releases(0, "c", "c", "a"), releases(0, "c", "a"), None, ("r1", "r1")),  # one deployed twice
        (releases(0, "c", "b", "a"), releases(0, "c", "a"), None, ("r1", "r1")),  # one missed a deploy
        (releases(0, "c", "a"), releases(0, "b", "a"), None, ("r1", "r1")),  # they differ now
        (releases(0, "c", "!", "a"), releases(0, "c", "!", "a"), None, ("r1", "r1")),
        (releases(0, "c", "b", "a"), releases(0, "c", "b", "a"), "aaaaaaaa", ("r1", "r1")),
        (releases(0, "c", "b", "a"), releases(0, "c", "a"), "r1", ("r1", "r1")),
        (releases(1, "c", "a"), releases(0, "c", "a"), "cccccccc", ("r2", "r2")),
    ],
)
def test_hosts_go_back_to_what_all_have(
    one: dict[str, Any], two: dict[str, Any], wanted: str | None, found: tuple[str, str]
) -> None:
    """Releases are one by what they are made of, whatever they are called on each host."""
    assert tuple(target("shop", {ONE: one, TWO: two}, wanted).values()) == found


@pytest.mark.parametrize(
    ("one", "two", "wanted", "cause"),
    [
        (releases(0, "c", "b"), releases(0, "c", "a"), None, "no good release that all hosts had"),
        (releases(0, "c", "b"), releases(0, "c"), "bbbbbbbb", "no good one on web2"),
        (releases(0, "c"), releases(0, "c"), "dddddddd", "no host has it"),
    ],
)
def test_hosts_that_have_nothing_in_common(
    one: dict[str, Any], two: dict[str, Any], wanted: str | None, cause: str
) -> None:
    """None goes back to something else than the others; one alone may."""
    with pytest.raises(GaplessError, match=cause) as raised:
        target("shop", {ONE: one, TWO: two}, wanted)
    assert ("-H" if wanted is None else "`gapless releases`") in raised.value.hint
    assert wanted or target("shop", {ONE: one}, wanted)
