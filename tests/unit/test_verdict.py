"""What samples prove: counts, percentiles, releases, windows; and what may be asked of a plan."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice, pairwise

import pytest

from gapless.errors import GaplessError
from gapless.prove.kinds import MOST_RELEASES, Failure, Kind, Result, Sample, parse_kinds
from gapless.prove.probe import schedule
from gapless.prove.verdict import LISTED_LOSSES, Verdict, judge, windowed
from gapless.prove.workload import Workload

START = 1_800_000_000.0


def sample(
    at: float, latency: float = 0.002, failure: Failure | None = None, status: int = 200, release: str = "r1"
) -> Sample:
    return Sample(Kind.GET, START + at, latency, status, failure, release)


def result(*samples: Sample) -> Result:
    return Result(list(samples), START, START + 60, {})


def test_no_requests_prove_nothing() -> None:
    """A probe that sent nothing is not ok, and says so."""
    verdict = judge(result())
    assert not verdict.ok
    assert verdict.bound == "no request was sent, so nothing is proven"


def test_all_answered_bounds_the_loss_rate() -> None:
    """N requests without a loss bound the rate at 3/N."""
    verdict = judge(result(*(sample(at / 100) for at in range(3000))))
    assert verdict.ok
    assert (verdict.requests, verdict.lost, verdict.delayed) == (3000, 0, 0)
    assert verdict.bound == "3,000 requests without a loss: the loss rate is below 0.1 % (3/3,000) with 95 % confidence"


def test_one_loss_is_not_ok_and_is_counted_by_all_its_names() -> None:
    """A loss counts by failure, status and kind, and is listed."""
    lost = replace(sample(1, 0.05, Failure.STATUS, 502), kind=Kind.POST, id="abc", detail="status 502")
    verdict = judge(result(sample(0), lost, sample(2, 0.1, Failure.RESET, 0)))
    assert not verdict.ok
    assert verdict.lost_by_failure == {Failure.STATUS: 1, Failure.RESET: 1}
    assert verdict.lost_by_status == {502: 1}
    assert verdict.lost_by_kind == {Kind.POST: 1, Kind.GET: 1}
    assert verdict.losses[0] is lost
    assert verdict.bound == "2 of 3 requests were lost (66.67%)"
    assert verdict.latency_by_kind[Kind.POST].count == 0, "a kind that lost all it sent is still named"


def test_slower_than_the_bound_is_delayed_and_not_ok() -> None:
    """With a bound, a slow answer makes the verdict not ok; without one, or at the bound, it does not."""
    samples = result(sample(0, 0.1), sample(1, 0.3))
    assert judge(samples).ok
    assert judge(samples, 0.3).ok
    verdict = judge(samples, 0.2)
    assert (verdict.ok, verdict.delayed, verdict.lost) == (False, 1, 0)


def test_a_lost_request_is_not_delayed_too() -> None:
    """A time-out counts once, as lost, and does not enter the percentiles."""
    verdict = judge(result(sample(0), sample(1, 10.0, Failure.TIMEOUT, 0)), 1.0)
    assert (verdict.lost, verdict.delayed) == (1, 0)
    assert verdict.latency.max == 0.002


def test_percentiles_of_a_known_distribution() -> None:
    """Percentiles are right to 3 digits, and the maximum is exact."""
    latency = judge(result(*(sample(0, number / 1000) for number in range(1, 1001)))).latency
    assert latency.p50 == pytest.approx(0.500, rel=2e-3)
    assert latency.p99 == pytest.approx(0.990, rel=2e-3)
    assert latency.p999 == pytest.approx(0.999, rel=2e-3)
    assert latency.max == 1.0


def test_percentiles_never_exceed_the_slowest() -> None:
    """The histogram's bucket edges do not leak above the real maximum, nor do absurd values break it."""
    latency = judge(result(sample(0, 1.2345678))).latency
    assert latency.p50 == latency.p999 == latency.max == 1.2345678
    assert judge(result(sample(0, 0.0), sample(0, 10_000.0))).latency.max == 10_000.0


def test_releases_in_the_order_they_answered() -> None:
    """Each release has its first and last answer; unnamed answers and losses do not count."""
    verdict = judge(
        result(
            sample(5, release="new"),
            sample(0, release="old"),
            sample(6, release="old"),
            sample(9, release="new"),
            sample(10, release=""),
            sample(20, 0.1, Failure.STATUS, 503, release="old"),
        )
    )
    assert [(span.release, span.count) for span in verdict.releases] == [("old", 2), ("new", 2)]
    assert verdict.releases[0].first_seen == pytest.approx(START + 0.002)
    assert verdict.releases[0].last_seen == pytest.approx(START + 6.002)


def test_every_release_is_known_and_the_first_are_listed() -> None:
    """A probe over a thousand deploys has seen each; a server that names itself anew each time fills no page."""
    verdict = judge(result(*(sample(at, release=f"r{at}") for at in range(3 * MOST_RELEASES))))
    assert len(verdict.releases) == 3 * MOST_RELEASES
    listed = verdict.to_json()["releases"]
    assert isinstance(listed, list)
    assert [one["release"] for one in listed] == [f"r{at}" for at in range(MOST_RELEASES)]


def test_the_list_of_losses_is_cut_and_the_count_is_not() -> None:
    """The list holds the first 100 losses in time; the counts hold all of them."""
    verdict = judge(result(*(sample(200 - at, failure=Failure.REFUSED, status=0) for at in range(150))))
    assert verdict.lost == 150
    assert len(verdict.losses) == LISTED_LOSSES
    assert verdict.losses[0].scheduled_at == START + 51


def test_json_is_json_with_every_documented_key() -> None:
    """The documented keys are all there, as values that JSON can hold, latencies in milliseconds."""
    verdict = judge(result(sample(0), sample(1, 0.05, Failure.STATUS, 502)), 0.2)
    data = json.loads(json.dumps(verdict.to_json()))
    documented = Verdict.to_json.__doc__ or ""
    assert [key for key in data if f"`{key}`" not in documented] == []
    assert data["latency_ms"] == {"count": 1, "p50": 2.0, "p99": 2.0, "p99.9": 2.0, "max": 2.0}
    assert data["max_latency_ms"] == 200.0
    assert data["lost_by_status"] == {"502": 1}
    assert data["losses"][0]["failure"] == "status"
    assert data["losses"][0]["after_ms"] == 50.0


def test_windows_take_what_was_under_way_in_them() -> None:
    """A request that was due before a window and answered inside or after it belongs to the window."""
    split = windowed(
        [
            sample(1.0, 0.001),
            sample(9.0, 2.0),  # waited through the whole window's start
            sample(10.5, 0.004),
            sample(12.5, 0.003),
            sample(10.2, 0.1, Failure.RESET, 0),
            sample(30, 0.1, Failure.RESET, 0),
        ],
        [(START + 10, START + 12)],
    )
    assert (split.inside.count, split.inside.max) == (2, 2.0)
    assert (split.outside.count, split.outside.max) == (2, 0.003)
    assert (split.lost_inside, split.lost_outside) == (1, 1)


def test_acknowledged_ids_are_those_of_answered_requests() -> None:
    """An id whose request was lost is not acknowledged."""
    answered, lost = (
        replace(sample(0), id="a"),
        replace(sample(1), id="b", failure=Failure.RESET),
    )
    assert result(answered, lost, sample(2)).acknowledged == ["a"]


def test_schedule_is_even_in_order_and_in_proportion() -> None:
    """Requests are due in order, each kind evenly at its share of the rate, and no two kinds start together."""
    due = list(islice(schedule({Kind.GET: 3, Kind.POST: 1, Kind.WS: 0}, rate=100), 400))
    moments = [moment for moment, _ in due]
    assert moments == sorted(moments)
    assert moments[-1] == pytest.approx(4.0, abs=0.1)
    posts = [moment for moment, kind in due if kind is Kind.POST]
    assert len(posts) == pytest.approx(100, abs=1)
    assert {round(later - earlier, 6) for earlier, later in pairwise(posts)} == {0.04}
    assert not any(kind is Kind.WS for _, kind in due)


def test_kinds_are_read_with_weights() -> None:
    """Kinds are read from one word; a weight is 1 unless given."""
    assert parse_kinds("new, get=2,ws=0.5") == {Kind.NEW: 1.0, Kind.GET: 2.0, Kind.WS: 0.5}


@pytest.mark.parametrize(("text", "says"), [("new,fast", "no such kind"), ("new=lots", "'lots' is not a number")])
def test_unreadable_kinds_are_named(text: str, says: str) -> None:
    """Wrong use is named, and its exit status is 2."""
    with pytest.raises(GaplessError, match=says) as raised:
        parse_kinds(text)
    assert raised.value.status == 2


@pytest.mark.parametrize("url", ["", "example.org", "ftp://example.org", "http://", "http://a:99999", "http://a:x"])
def test_bad_urls_are_refused_before_anything_is_sent(url: str) -> None:
    """A URL that cannot be probed is refused when the plan is made."""
    with pytest.raises(GaplessError, match="cannot probe") as raised:
        Workload(url)
    assert raised.value.status == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate": 0},
        {"rate": float("nan")},
        {"duration_seconds": -1},
        {"timeout_seconds": 0},
        {"pause_seconds": -1},
        {"upload_pieces": 1},
        {"lanes": 0},
        {"kinds": {}},
        {"kinds": {Kind.GET: -1, Kind.NEW: 2}},
    ],
)
def test_unusable_numbers_are_refused(wrong: dict[str, float]) -> None:
    """Numbers that make no load are refused, by name."""
    with pytest.raises(GaplessError, match=next(iter(wrong))):
        Workload("http://127.0.0.1", **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://127.0.0.1", "/"),
        ("http://127.0.0.1/health", "/health"),
        ("http://127.0.0.1/health/", "/health/"),
        ("http://127.0.0.1/a?b=c/d#top", "/a?b=c/d"),
        ("http://127.0.0.1?b", "/?b"),
    ],
)
def test_what_a_url_names_is_asked_for_exactly(url: str, target: str) -> None:
    """No slash is added to a page that has none: it would be another page, and its 404 the probe's own."""
    plan = Workload(url)
    assert plan.target(Kind.GET) == plan.target(Kind.POST) == target
    assert plan.asked(Kind.GET) == f"GET http://127.0.0.1{target}"


@pytest.mark.parametrize("url", ["http://127.0.0.1/two words", "http://127.0.0.1/köln"])
def test_what_http_cannot_send_is_refused_before_anything_is_sent(url: str) -> None:
    """Invariant 8: the error says how it is written."""
    with pytest.raises(GaplessError, match="is not a path in a URL") as raised:
        Workload(url)
    assert raised.value.status == 2


def test_targets_keep_the_path_of_the_url() -> None:
    """A path in the URL comes before the kind's own; slow uploads go where posts go."""
    plan = Workload("wss://user@example.org/app/", post_path="/orders", path="/?q=1")
    assert plan.target(Kind.GET) == "/app/?q=1"
    assert plan.target(Kind.SLOW) == plan.target(Kind.POST) == "/app/orders"
    assert plan.target(Kind.LONG) == "/app/slow"
    assert (plan.tls, plan.host, plan.port, plan.authority) == (True, "example.org", 443, "example.org")
