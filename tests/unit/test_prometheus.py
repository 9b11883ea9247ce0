"""What `gapless status --prometheus` says, read by Prometheus's own parser."""

from __future__ import annotations

import math
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from gapless.cli.prometheus import METRICS, text
from gapless.release.ledger import Deploy, Outcome
from gapless.switch.manager import Role

ODD = 'a "quoted" \\ name\nof two lines'
INSTANCE = {"id": "R", "release": ODD, "role": Role.LIVE, "ready": True, "since": 1795435805.25, "memory": 1 << 33}
STATUS: dict[str, Any] = {
    "name": "shop",
    "current": "R",
    "manager": "systemd",
    "locked_by": {"who": "somebody"},
    "paused": None,
    "companions": [{"name": "worker", "kind": "process", "release": "R", "trouble": "it died", "restarts": 3}],
}


def parsed(status: dict[str, Any], *deploys: Deploy) -> dict[tuple[str, ...], float]:
    """Every sample: by its name and the values of its labels, less the app's."""
    found = {}
    for family in text_string_to_metric_families(text(status, deploys) + "\n"):
        assert family.documentation
        for one in family.samples:
            assert one.labels.pop("app") == "shop"
            assert (one.name, *one.labels.values()) not in found
            found[one.name, *one.labels.values()] = one.value
    return found


def deployed(outcome: Outcome, when: float) -> Deploy:
    return Deploy("id", "deploy", "me", when, None, "R", "abc", [], outcome, "")


def test_everything_that_is_known_is_read() -> None:
    """Each metric is there, with its type, and labels come back as they were, whatever is in them."""
    status = {
        "connections": 7,
        "requests": 2,
        "websockets": 0,
        "descriptors": 11,
        "descriptors_allowed": 1024,
        "turned_away": {"slow_heads": 4},
    }
    found = parsed(
        STATUS | {"instances": [INSTANCE | {"status": status}]},
        *(deployed(outcome, when) for when, outcome in enumerate([Outcome.SUCCEEDED, Outcome.FAILED, Outcome.FAILED])),
    )
    assert {key[0] for key in found} == {f"gapless_{name}" for name in METRICS}
    assert found["gapless_up",] == 1
    assert found["gapless_instance_connections", "R", ODD, "live"] == 7
    assert found["gapless_instance_memory_bytes", "R", ODD, "live"] == 1 << 33
    assert found["gapless_instance_start_time_seconds", "R", ODD, "live"] == 1795435805.25
    assert found["gapless_instance_turned_away_total", "R", ODD, "live", "slow_heads"] == 4
    assert (found["gapless_companion_ok", "worker", "process", "R"], found["gapless_locked",]) == (0, 1)
    assert found["gapless_deploys_total", "deploy", "failed"] == 2
    assert (found["gapless_last_deploy_ok",], found["gapless_last_deploy_timestamp_seconds",]) == (0, 2)


def test_an_app_that_says_anything_of_itself() -> None:
    """What is no number, or is too large for one, is left out; the rest is read."""
    status = {"connections": "many", "requests": 10**400, "websockets": True, "descriptors": math.nan, "turned_away": 1}
    found = parsed(STATUS | {"instances": [INSTANCE | {"status": status, "ready": False}]})
    assert {key[0] for key in found if "instance_" in key[0]} == {
        *("gapless_instance_start_time_seconds", "gapless_instance_memory_bytes")
    }
    assert found["gapless_up",] == 0


def test_nothing_serves() -> None:
    """Then there are the metrics that say so."""
    found = parsed(STATUS | {"current": None, "instances": [], "companions": [], "locked_by": None})
    assert found["gapless_up",] == 0
    assert found["gapless_instances", "live"] == 0
    assert not [key for key in found if key[0] in {"gapless_release_info", "gapless_last_deploy_ok"}]
