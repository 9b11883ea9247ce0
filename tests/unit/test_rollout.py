"""Hosts change together: what each is told, and what becomes of all, whoever fails at whatever moment."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from gapless import config
from gapless.errors import GaplessError
from gapless.fleet import rollout
from gapless.fleet.deploy import deploy
from gapless.fleet.hosts import Host, chosen
from gapless.fleet.parts import Fleet, Part, State
from gapless.fleet.play import Answer, Observer, Order, Play

HERE, ARTIFACT = Path("gapless.toml"), Path("artifact")
LEAST = 'name = "shop"\ncommand = "gapless serve shop:app"\n'
THREE = '[hosts]\nweb = ["one", "two", "three"]\n'
GONE = Answer(unreachable="no route to host")
BUSY = Answer(75, json.dumps({"error": dict.fromkeys(("operation", "object", "cause", "hint"), "x") | {
    "details": [], "notes": [], "status": 75}}))  # fmt: skip
BAD = Answer(1, BUSY.said.replace("75", "1"))

Does = Callable[[str, str], Answer | None]  # what a host answers to a command; None is as a host does that is well


class Hosts:
    """Hosts that are well, but for what `does` has them answer; they keep what they were told."""

    def __init__(self, does: Does) -> None:
        self.does = does
        self.told = dict[str, list[str]]()
        self.serves = dict[str, str]()

    def answer(self, host: str, order: Order) -> Answer:
        """Do as a host does."""
        argv = [one for one in order.argv if one not in ("--json", "-C", "/etc/gapless/shop")]
        command = " ".join(argv[1:])
        self.told.setdefault(host, []).append(command)
        found = self.does(host, command)
        if found is None:
            self.serves[host] = {"deploy": "new", "rollback": "old"}.get(argv[1], self.serves.get(host, "old"))
            document = {"release": self.serves[host], "previous": "old", "token": f"token of {host}"}
            found = Answer(0, json.dumps(document))
        return found

    def begins(self, host: str, verb: str) -> list[str]:
        """What of all that a host was told begins so."""
        return [one for one in self.told.get(host, []) if one.startswith(verb)]

    def free(self, host: str) -> bool:
        """Whether the last that a host was told ends the lease."""
        return self.told[host][-1].startswith("lock release") or self.told[host][-1].endswith("--end-lease")


class ScriptedPlay:
    """Rounds as Ansible has them, without hosts."""

    hosts: Hosts

    def __init__(self, rounds: Sequence[Sequence[Host]]) -> None:
        self._rounds = [*rounds]

    def __enter__(self) -> ScriptedPlay:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def round(self, orders: Mapping[Host, Sequence[Order]], observer: Observer) -> None:
        """Give each host of the next round its orders."""
        assert orders.keys() <= {*self._rounds.pop(0)}
        for host, some in orders.items():
            for order in some:
                observer.begun(host)
                observer.answered(host, answer := self.hosts.answer(host.name, order))
                if answer.status:
                    break


class Nobody:
    """Looks at nothing."""

    def changed(self, part: Part) -> None:
        pass


Run = Callable[..., tuple[dict[str, str], Hosts]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Deploys to hosts that do as is said; what has become of each, and the hosts."""
    monkeypatch.setattr(rollout, "Play", ScriptedPlay)
    monkeypatch.setattr("secrets.token_hex", lambda _size: "made-up")

    def deployed(
        does: Does = lambda _host, _command: None, hosts: str = THREE, interrupted: bool = False
    ) -> tuple[dict[str, str], Hosts]:
        settings = config.parse(LEAST + hosts, HERE)
        ScriptedPlay.hosts = Hosts(does)
        one = deploy(Fleet(settings, chosen(settings)), ARTIFACT, "ann@desk", [], Nobody())
        with one, pytest.raises(KeyboardInterrupt) if interrupted else contextlib.nullcontext():
            one.run("abc")
        return {part.host.name: str(part.state) for part in one.parts}, ScriptedPlay.hosts

    return deployed


def test_nobody_keeps_it_before_all_have_it(run: Run) -> None:
    """Each is told to confirm twice: until all have it, and for good; then others may deploy again."""
    states, hosts = run()
    assert {*states.values()} == {"deployed"}
    for name in states:
        lease = f"--lease token of {name}"
        assert hosts.told[name] == [
            "lock acquire --why deploy of abc --for 600 --by ann@desk --token made-up",
            f"deploy - --confirm 30 {lease}",
            f"confirm --stand-by 600 {lease}",
            f"confirm new {lease} --end-lease",
        ]


def test_one_host_alone_needs_no_lease(run: Run) -> None:
    """It is reached twice: to deploy, and anew to confirm."""
    states, hosts = run(hosts='[hosts]\nweb = ["one"]\n')
    assert states == {"one": "deployed"}
    assert hosts.told == {"one": ["deploy - --confirm 30", "confirm"]}


@pytest.mark.parametrize(("verb", "answer"), [("deploy", BAD), ("deploy", GONE), ("confirm", GONE), ("confirm", BAD)])
def test_the_first_that_cannot_take_it_ends_it(run: Run, verb: str, answer: Answer) -> None:
    """Invariant 3: who has it goes back to what it had, who has not begun never does; no lease is left."""
    states, hosts = run(lambda host, command: answer if host == "two" and command.startswith(verb) else None,
                        THREE + "waves = [1, 2]\n")  # fmt: skip
    assert states["one"] == "turned back"
    assert states["two"] == ("turned back" if verb == "confirm" else "failed" if answer is BAD else "unreachable")
    assert states["three"] == "spared"
    assert hosts.begins("one", "rollback") == ["rollback old --yes --lease token of one --end-lease"]
    assert len(hosts.begins("two", "rollback")) == (verb == "confirm")  # else it is not known to have anything
    assert not hosts.begins("three", "deploy")
    assert all(hosts.free(name) for name in states)


def test_a_host_that_nobody_reaches_keeps_nobody_from_it(run: Run) -> None:
    """It is left out from the beginning, and named."""
    states, hosts = run(lambda host, _command: GONE if host == "one" else None)
    assert states == {"one": "unreachable", "two": "deployed", "three": "deployed"}
    assert len(hosts.told["one"]) == 1


def test_as_many_as_may_fail(run: Run) -> None:
    """One that fails stays behind where one may; the others have it."""
    states, hosts = run(lambda host, command: BAD if host == "two" and "deploy -" in command else None,
                        THREE + "max_failures = 1\n")  # fmt: skip
    assert states == {"one": "deployed", "two": "failed", "three": "deployed"}
    assert hosts.free("two")


@pytest.mark.parametrize("verb", ["lock acquire", "deploy"])
@pytest.mark.parametrize("said", ["{}", '{"token": 1, "release": [], "previous": {}}'])
def test_an_answer_to_something_else(run: Run, verb: str, said: str) -> None:
    """Invariant 8: a host with another version of gapless, or one that lies, fails alone, and is named."""
    states, _hosts = run(lambda host, command: Answer(0, said) if host == "two" and command.startswith(verb) else None,
                         THREE + "max_failures = 1\n")  # fmt: skip
    assert states == {"one": "deployed", "two": "failed", "three": "deployed"}


def test_who_is_refused_on_one_host_gives_all_back(run: Run) -> None:
    """Invariant 2: nothing is deployed anywhere; who is refused by the first host asks no other."""
    states, hosts = run(lambda host, command: BUSY if host == "two" and "acquire" in command else None)
    assert states == {"one": "spared", "two": "failed", "three": "spared"}
    assert not any(hosts.begins(name, "deploy") for name in states)
    assert all(hosts.free(name) for name in ("one", "three"))
    states, hosts = run(lambda host, command: BUSY if host == "one" and "acquire" in command else None)
    assert [*hosts.told] == ["one"]


def test_a_database_that_all_share(run: Run) -> None:
    """The first that is there migrates it; where that fails, nobody deploys."""
    once = THREE + '[release]\nmigrate = "a"\n[fleet]\nmigrate = "once"\n'
    states, hosts = run(hosts=once)
    assert [len(hosts.begins(name, "deploy - --migrate-only")) for name in states] == [1, 0, 0]
    assert all(hosts.begins(name, "deploy - --without-migration") for name in states)
    states, hosts = run(lambda _host, command: BAD if "--migrate-only" in command else None, once)
    assert states == {"one": "failed", "two": "spared", "three": "spared"}


@pytest.mark.parametrize("moment", ["lock acquire", "deploy", "confirm --stand-by"])
def test_an_interruption_has_all_go_back(run: Run, moment: str) -> None:
    """Invariant 5: Ctrl-C before the decision: nobody keeps it."""
    states, hosts = run(interrupting("two", moment), THREE, interrupted=True)
    assert "deployed" not in states.values()
    assert not hosts.begins("one", "confirm new")
    assert hosts.free("one")
    assert hosts.free("two"), "also of a lease of which nobody heard"
    assert states["two"] == {"lock acquire": "spared", "deploy": "interrupted"}.get(moment, "turned back")


@pytest.mark.parametrize(("hosts", "most"), [('[hosts]\nweb = ["one"]\n', 0), (THREE, 0), (THREE, 1)])
def test_what_is_well_for_itself_alone(run: Run, monkeypatch: pytest.MonkeyPatch, hosts: str, most: int) -> None:
    """Invariant 3: a host that does not answer from here does not keep the release, and goes back at once."""

    def visit(parts: Sequence[Part], url: str, patience: float) -> None:
        assert (url, patience) == ("http://{host}/", 30)
        for part in parts[:1] if parts[0].host.name == "one" else ():
            part.error, part.state = GaplessError("visit", "one", "it answered 500"), State.FAILED

    monkeypatch.setattr("gapless.fleet.visit.visit", visit)
    states, told = run(hosts=f'{hosts}max_failures = {most}\n[fleet]\nurl = "http://{{host}}/"\n')
    assert states["one"] == "turned back"
    assert len(told.begins("one", "rollback old --yes")) == 1
    assert not told.begins("one", "confirm new")
    assert {state for name, state in states.items() if name != "one"} <= {"deployed" if most else "spared"}


def test_an_interruption_after_the_decision_has_all_keep_it(run: Run) -> None:
    """Invariant 5: one keeps it already, so all do."""
    states, _hosts = run(interrupting("two", "confirm new"), THREE, interrupted=True)
    assert {*states.values()} == {"deployed"}


def test_nobody_goes_back_after_the_decision(run: Run) -> None:
    """Invariant 5: not after another Ctrl-C either, since one keeps it already."""
    states, hosts = run(interrupting("two", "confirm new", 2), THREE, interrupted=True)
    assert states == {"one": "deployed", "two": "keeping", "three": "proven"}
    assert not any(hosts.begins(name, "rollback") for name in states)


def interrupting(host: str, moment: str, times: int = 1) -> Does:
    """Ctrl-C, so many times, when a host is told something that begins so."""
    left = [1] * times

    def does(name: str, command: str) -> Answer | None:
        if name == host and command.startswith(moment) and left:
            left.pop()
            raise KeyboardInterrupt
        return None

    return does


def test_no_ansible(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Invariant 8: without the extra it is said which."""
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GaplessError, match="not installed") as raised, Play([]):
        pass
    assert "fleet" in raised.value.hint
