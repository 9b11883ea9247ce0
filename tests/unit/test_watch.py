"""A watched release, as the release layer sees it; the manager is scripted (tests/scripted.py): nothing stands by."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gapless.errors import GaplessError
from gapless.release.deploy import deploy, rollback
from gapless.release.ledger import SWITCH, Finished, Outcome, Phase
from gapless.release.watch import Watch
from gapless.switch.manager import Readiness
from tests.scripted import ScriptedManager
from tests.unit.release_kit import make_project
from tests.unit.release_shop import Shop


@dataclass
class Scripted:
    """A monitor that sees something wrong in one phase."""

    wrong_in: str = ""
    promise: str = "the test says so"
    phases: list[str] = field(default_factory=list)
    stopped: bool = False

    def begin(self) -> None:
        self.enter("baseline")

    def enter(self, phase: str) -> None:
        self.phases.append(phase)

    def verdict(self) -> str:
        return "a request was lost" if self.phases[-1] == self.wrong_in else ""

    def advice(self) -> str:
        return "ask for another page"

    def stop(self) -> str:
        self.stopped = True
        return "one was lost at the end" if self.wrong_in == "the end" else ""

    def write(self, report: Path) -> None:
        assert self.stopped
        report.write_text(" ".join(self.phases))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    project = make_project(tmp_path / "shop")
    return Shop(project, ScriptedManager(project / ".gapless"))


def watch(monitor: Scripted | None = None) -> Watch:
    return Watch(0.0, monitor)


def refused(shop: Shop, monitor: Scripted) -> GaplessError:
    shop.time += 60
    with pytest.raises(GaplessError) as failed:
        deploy(shop.target, shop.project, watch=watch(monitor))
    assert monitor.stopped
    return failed.value


def test_a_release_that_stands_its_trial(shop: Shop) -> None:
    """The monitor hears of every phase, its page is kept and named, and the release is a good one."""
    first, monitor = shop.deploy(), Scripted()
    shop.time += 60
    result = deploy(shop.target, shop.project, watch=watch(monitor))
    assert monitor.phases == ["baseline", "starting", "proven", "committed", "watching", "done"]
    assert [phase.name for phase in result.phases] == ["install", "seal", "baseline", "switch over", "watch", "prune"]
    assert Path(result.report).read_text() == " ".join(monitor.phases)
    assert shop.target.ledger.entries()[-1].report == result.report
    assert rollback(shop.target).release == first
    shop.target.store.remove(result.release)
    assert not Path(result.report).exists()


@pytest.mark.parametrize("phase", ["baseline", "proven"])
def test_what_is_wrong_before_the_commit_prevents_it(shop: Shop, phase: str) -> None:
    """Invariant 3: a loss before the commit leaves everything as it was."""
    first = shop.deploy()
    error = refused(shop, Scripted(phase))
    assert "a request was lost" in str(error)
    assert shop.manager.current() == first
    entry = shop.target.ledger.entries()[-1]
    assert (entry.outcome, entry.switched, entry.turned_back) == (Outcome.FAILED, False, False)
    assert shop.target.ledger.bad(entry.to)


@pytest.mark.parametrize("phase", ["baseline", "migrate"])
def test_the_monitor_looks_on_from_before_the_migration(shop: Shop, phase: str) -> None:
    """Invariant 3: what visitors feel of it keeps the release from serving; a site that is ill before is left alone."""
    config = 'name = "shop"\ncommand = "serve"\nrelease = { migrate = "touch migrated" }\n'
    (shop.project / "gapless.toml").write_text(config)
    first = shop.deploy()
    error = refused(shop, Scripted(phase))
    assert "a request was lost" in str(error)
    assert error.hint.startswith("ask for another page; ")
    assert shop.manager.current() == first
    done = [one.name for one in shop.target.ledger.entries()[-1].phases]
    assert done == ["install", "seal", "baseline", "migrate"][: 3 + (phase == "migrate")]
    shop.time += 60
    monitor = Scripted()
    deploy(shop.target, shop.project, watch=watch(monitor))
    assert monitor.phases == ["baseline", "migrate", "starting", "proven", "committed", "watching", "done"]


@pytest.mark.parametrize("phase", ["watching", "the end"])
def test_what_is_wrong_after_it_turns_the_release_back(shop: Shop, phase: str) -> None:
    """The previous one boots and serves again; the release that was tried is bad, and no rollback lands on it."""
    older, first = shop.deploy(), shop.deploy()
    error = refused(shop, Scripted(phase))
    assert "lost" in str(error)
    assert f"{first} serves again" in str(error)
    assert shop.manager.current() == first
    entry = shop.target.ledger.entries()[-1]
    assert [one.name for one in entry.phases] == ["install", "seal", "baseline", "switch over", "watch", "turn back"]
    assert (entry.outcome, entry.switched, entry.turned_back) == (Outcome.FAILED, False, True)
    assert shop.target.ledger.bad(entry.to)
    assert rollback(shop.target).release == older


def test_a_rollback_that_is_turned_back_makes_its_release_bad(shop: Shop) -> None:
    """The next rollback goes past it, although it was good once."""
    older, target, current = shop.deploy(), shop.deploy(), shop.deploy()
    with pytest.raises(GaplessError, match="serves again"):
        rollback(shop.target, watch=watch(Scripted("watching")))
    assert shop.manager.current() == current
    assert shop.target.ledger.bad(target)
    assert rollback(shop.target).release == older


def test_a_release_stays_when_the_previous_one_does_not_come_up(shop: Shop) -> None:
    """Turning back may fail: then the new release goes on serving, and both causes are named."""
    first = shop.deploy()
    monitor = Scripted("watching")

    def enter(phase: str) -> None:
        monitor.phases.append(phase)
        if phase == "watching":
            shop.manager.readiness = Readiness.EXITED

    monitor.enter = enter  # type: ignore[method-assign]
    error = refused(shop, monitor)
    assert f"{first} could not serve again (it said no)" in str(error)
    entry = shop.target.ledger.entries()[-1]
    assert shop.manager.current() == entry.to
    assert (entry.outcome, entry.switched) == (Outcome.FAILED, True)


def test_the_first_release_is_not_on_trial(shop: Shop) -> None:
    """There is nothing to turn back to: that is said, and the deploy goes on."""
    monitor = Scripted("baseline")
    result = deploy(shop.target, shop.project, watch=watch(monitor))
    assert [phase.name for phase in result.phases] == ["install", "seal", "switch over", "prune"]
    assert (monitor.phases, result.report) == ([], "")
    assert "no release to turn back to" in shop.observer.warnings[0]


def test_killed_between_turning_back_and_the_record_of_it(shop: Shop) -> None:
    """Invariant 5: the next command finds the previous release current, and writes down what that means."""
    first = shop.deploy()
    target = shop.target
    release = deploy(target, shop.project).release
    attempt = target.ledger.start("deploy", "ada@host", 1.0, first, release, "abc")
    target.ledger.append(Phase(attempt, SWITCH, 1.0, 1.0, Outcome.SUCCEEDED))
    shop.manager.point(first)
    shop.deploy()
    entry = next(entry for entry in target.ledger.entries() if entry.id == attempt)
    assert (entry.outcome, entry.turned_back) == (Outcome.INTERRUPTED, True)
    assert target.ledger.bad(release)


def test_records_of_an_older_gapless_have_no_report(shop: Shop) -> None:
    """The field is new and optional: a ledger from before is read as it is."""
    target = shop.target
    target.home.root.mkdir()
    attempt = target.ledger.start("deploy", "ada@host", 1.0, None, "r1", "abc")
    line = f'{{"record":"finished","attempt":"{attempt}","when":2.0,"outcome":"succeeded","error":""}}\n'
    with target.ledger.path.open("a") as file:
        file.write(line)
    (entry,) = target.ledger.entries()
    assert (entry.outcome, entry.report) == (Outcome.SUCCEEDED, "")
    assert Finished(attempt, 2.0, Outcome.SUCCEEDED, "").report == ""
