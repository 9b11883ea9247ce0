"""The clock is set, ahead or back, between deploys. No namespace has a clock of its own: a Clock is handed in."""

from __future__ import annotations

from pathlib import Path

import pytest

from gapless.release.deploy import prune, rollback
from gapless.release.hold import acquire_hold, release_hold
from gapless.release.ledger import Outcome
from tests.scripted import ScriptedManager
from tests.unit.release_kit import make_project
from tests.unit.release_shop import Shop

DAY = 86400.0


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    project = make_project(tmp_path / "shop")
    return Shop(project, ScriptedManager(project / ".gapless"))


@pytest.mark.parametrize("jump", [-20 * 365 * DAY, -DAY, -61.0, -60.0, 20 * 365 * DAY])
def test_a_clock_that_jumps_leaves_the_order_of_releases(shop: Shop, jump: float) -> None:
    """Names stay unique and in the order of the deploys; rollback, prune and the ledger go by it."""
    first, second = shop.deploy(), shop.deploy()
    shop.time += jump
    third = shop.deploy()
    fourth = shop.deploy()
    shop.time -= 2 * jump
    fifth = shop.deploy()
    assert shop.target.store.names() == [first, second, third, fourth, fifth]
    assert shop.target.store.names() == sorted({first, second, third, fourth, fifth})
    assert shop.outcomes() == [Outcome.SUCCEEDED] * 5
    assert rollback(shop.target).release == fourth
    shop.manager.end_retired()
    assert prune(shop.target, 3) == [first, second]
    assert all(phase.seconds >= 0 for entry in shop.target.ledger.entries() for phase in entry.phases)


def test_a_hold_survives_a_clock_that_jumps(shop: Shop) -> None:
    """A hold is on until it is released, whatever the clock says."""
    shop.deploy()
    acquire_hold(shop.target.home.root, "a feast", shop.target.clock)
    shop.time -= 365 * DAY
    shop.fail("a feast")
    release_hold(shop.target.home.root)
    shop.deploy()
