"""What is kept has limits: failed releases, the ledger, the cache of builds; room is looked at before it is taken."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gapless.errors import GaplessError
from gapless.home import Home
from gapless.release import ledger as ledgers
from gapless.release import room
from gapless.release.deploy import prune
from gapless.release.ledger import Finished, Ledger, Outcome
from gapless.switch.manager import Readiness
from tests.scripted import ScriptedManager
from tests.unit.release_kit import make_project
from tests.unit.release_shop import Shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    project = make_project(tmp_path / "shop")
    return Shop(project, ScriptedManager(project / ".gapless"))


def test_failed_deploys_do_not_pile_up(shop: Shop) -> None:
    """Invariant 12: of ten that fail the last one is there, to be looked at, and the good ones."""
    good = shop.deploy()
    shop.manager.readiness = Readiness.EXITED
    for _ in range(10):
        shop.fail("it said no")
    last = shop.target.ledger.entries()[-1].to
    assert shop.target.store.names() == [good, last]
    assert not shop.observer.warnings


def test_a_ledger_that_has_grown_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest attempts go, those to releases that are there stay, whatever their age, and nothing else changes."""
    monkeypatch.setattr(ledgers, "LARGEST", 10_000)
    monkeypatch.setattr(ledgers, "KEPT", 20)
    ledger = Ledger(tmp_path)
    for number in range(100):
        attempt = ledger.start("deploy", "me", number, None, f"r{number:03}", "x")
        ledger.append(Finished(attempt, number, Outcome.SUCCEEDED, ""))
    ledger.path.chmod(0o640)
    before = ledger.entries()
    ledger.shorten(["r005", "r099"])
    assert ledger.entries() == [before[5], *before[80:]]
    assert ledger.path.stat().st_mode & 0o777 == 0o640
    size = ledger.path.stat().st_size
    ledger.shorten([])
    assert ledger.path.stat().st_size == size


def test_what_is_told_of_releases_has_an_age(shop: Shop) -> None:
    """Logs, reports and records of more than a year go, whatever their size; those of what is current or there stay."""
    old, failed, current = shop.deploy(), "", shop.deploy()
    shop.manager.readiness = Readiness.EXITED
    shop.fail("it said no")
    failed = shop.target.ledger.entries()[-1].to
    home, store = shop.target.home, shop.target.store
    for release in (old, current):
        for path in (store.log(release), store.report(release)):
            path.write_text("it said so")
            os.utime(path, (shop.time, shop.time))
    shop.manager.readiness = Readiness.READY
    shop.time += 399 * 86400
    prune(shop.target, 5)
    assert failed in [entry.to for entry in shop.target.ledger.entries()]
    shop.time += 2 * 86400
    prune(shop.target, 5)
    assert [path.name for path in home.log.iterdir()] == [f"{current}.log"]
    assert [path.name for path in home.reports.iterdir()] == [f"{current}.html"]
    assert [entry.to for entry in shop.target.ledger.entries()] == [old, current]
    assert "Already" not in shop.deploy()


@pytest.mark.parametrize(
    ("spare", "said"), [("SPARE", r"\d+ MiB are free"), ("SPARE_FILES", r"\d+ more files can be made")]
)
def test_no_room_for_another_release(shop: Shop, monkeypatch: pytest.MonkeyPatch, spare: str, said: str) -> None:
    """Invariants 3 and 8: what the disk has no room, or no inodes, for is refused before it writes anything."""
    shop.deploy()
    before = shop.files()
    monkeypatch.setattr(room, spare, 1 << 60)
    with pytest.raises(GaplessError, match=f"No space left on device: {said}") as refused:
        shop.deploy()
    assert "`gapless prune --keep 2`" in refused.value.hint
    assert {**shop.files()} == before


def test_a_cache_that_has_grown_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What builds cached goes as a whole, and what a link of it leads to stays."""
    home = Home(tmp_path)
    home.builder = "builder"
    (home.cache / "pip").mkdir(parents=True)
    (home.cache / "pip" / "wheel").write_bytes(os.urandom(100_000))
    precious = tmp_path / "precious"
    precious.mkdir()
    (home.cache / "link").symlink_to(precious)
    assert room.empty_cache(home) == 0
    monkeypatch.setattr(room, "LARGEST_CACHE", 50_000)
    assert room.empty_cache(home) >= 100_000
    assert list(home.cache.iterdir()) == []
    assert precious.is_dir()
