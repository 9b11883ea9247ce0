"""The simulation of wave plans: what it counts, and that the page has what it says."""

from __future__ import annotations

import json
import random
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from bench import fleet_plans
from bench.fleet_picture import Dot, Panel, draw
from bench.fleet_plans import MEASURED, PLANS, SIZES, WATCH, Measured, exposed, outcomes, report, took

from gapless.fleet.play import AT_ONCE
from gapless.fleet.waves import plan

DOCS = Path(__file__).parents[2] / "docs"
MODEL = Measured(start=1.0, order=0.0, reach=0.0, hosts=[2.0], failed=0)
CHANCE = random.Random(1)  # noqa: S311 -- no secret


def hosts(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def test_a_release_that_every_host_shows_runs_on_the_first_wave_alone() -> None:
    """The hosts that ran it are those of the waves until one shows it."""
    assert exposed(plan(hosts(100), [1, "10%", "100%"]), 1.0, CHANCE) == 1
    assert exposed(plan(hosts(100), ["10%", "100%"]), 1.0, CHANCE) == 10


def test_a_release_that_no_host_shows_runs_on_all() -> None:
    """Nothing stops what nobody sees."""
    assert exposed(plan(hosts(100), [1, "10%", "100%"]), 0.0, CHANCE) == 100


@pytest.mark.parametrize(("count", "waves", "turns"), [(1, [1], 1), (10, [1, "100%"], 2), (AT_ONCE + 1, ["100%"], 2)])
def test_hosts_of_a_wave_are_done_side_by_side(count: int, waves: list[int | str], turns: int) -> None:
    """A wave takes as long as one host, as long as the laptop works on all of it at once."""
    assert took(plan(hosts(count), waves), MODEL, CHANCE) == pytest.approx(1 + turns * (2 + WATCH))


def test_what_keeps_the_laptop_busy_for_each_host_adds_up() -> None:
    """Hosts of one wave do not begin before the laptop comes to them."""
    busy = Measured(start=0.0, order=1.0, reach=0.0, hosts=[2.0], failed=0)
    assert took(plan(hosts(10), ["100%"]), busy, CHANCE) == pytest.approx(9 + 2 + WATCH + 20)


def test_without_a_failure_the_rule_of_three_bounds_them() -> None:
    """Of 120 deploys without a failure one says: fewer than one in forty."""
    assert Measured(0, 0, 0, [1.0] * 120, failed=0).failing == pytest.approx(3 / 120)
    assert Measured(0, 0, 0, [1.0] * 120, failed=6).failing == pytest.approx(6 / 120)


def test_the_picture_has_every_plan_in_every_panel() -> None:
    """It is XML, whatever a plan is called, with a dot for each plan of each panel."""
    dots = [Dot('[1, "<100%"]', 1.5, 2, 9), Dot("[1]", 80, 1, 1)]
    tree = ET.fromstring(draw([Panel("10 hosts", dots), Panel("100 hosts", dots)]))  # noqa: S314 -- our own
    titles = [one.text for one in tree.iter("{http://www.w3.org/2000/svg}title")]
    assert titles[1:] == [dot.plan for dot in dots] * 2


def test_the_page_has_what_the_simulation_says() -> None:
    """Figures and picture of docs/fleets.md come from `python -m bench.fleet_plans` and the measurements alone."""
    measured = Measured(**json.loads(MEASURED.read_text())["simulation"])
    found = {size: [*outcomes(size, measured)] for size in SIZES}
    text = report(found, measured)
    assert f"<!-- fleet-plans: begin -->\n{text}<!-- fleet-plans: end -->" in (DOCS / "fleets.md").read_text()
    picture = draw([fleet_plans.panel(size, rows) for size, rows in found.items()])
    assert (DOCS / "fleet-plans.svg").read_text() == picture
    assert len(found[10]) == len(PLANS)
