"""Rates, quantiles and trends of the last minute."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synproxy.admin.history import INTERVAL, NOTHING, History, Sample, Tally, total
from synproxy.admin.totals import Cells, Labels
from synproxy.observe.metrics import BOUNDS, SUM

KEY = "sync", "normal"


def tally(good: float = 0, bad: float = 0, at: float = 0.0) -> Tally:
    durations = [0.0] * SUM
    durations[sum(bound < at for bound in BOUNDS)] = good + bad
    return Tally(good=good, bad=bad, durations=tuple(durations))


def sample(time: float, good: float, bad: float = 0) -> Sample:
    return Sample(time, {KEY: tally(good, bad)}, {})


def test_a_span_tells_what_happened_in_it_and_not_before() -> None:
    history = History(sample(0, 1000))
    for step in range(1, 13):
        history.add(sample(step * INTERVAL, 1000 + step * 50))
    assert history.span(60).flows[KEY].requests == 300
    assert history.span(60).seconds == 60
    assert history.span(10).per_second(history.span(10).flows[KEY].requests) == 5


def test_before_a_minute_has_passed_a_span_is_as_long_as_there_are_samples() -> None:
    history = History(sample(100, 0))
    history.add(sample(104, 8))
    span = history.span(60)
    assert (span.seconds, span.per_second(span.flows[KEY].requests)) == (4, 2)


def test_looks_between_two_samples_count_but_are_not_kept() -> None:
    history = History(sample(0, 0))
    for moment in range(1, 10):
        history.add(sample(moment, moment))
    assert list(history.trend) == []
    assert history.span(60).flows[KEY].requests == 9
    history.add(sample(10, 20, bad=5))
    assert list(history.trend) == [(2.5, 0.5)]


def test_without_time_there_is_no_rate() -> None:
    span = History(sample(5, 3)).span(10)
    assert span.per_second(3) == 0


@pytest.mark.parametrize(
    ("tallies", "share", "seconds"),
    [
        ([tally(10, at=0.02)], 0.5, 0.0175),  # the middle of 0.01 to 0.025
        ([tally(90, at=0.02), tally(10, at=30)], 0.99, 32.5),
        ([tally(5, at=90)], 0.5, 60.0),  # longer than the last bound: at least that
        ([], 0.5, None),
    ],
)
def test_quantiles_lie_within_their_bucket(
    tallies: list[Tally], share: float, seconds: float | None
) -> None:
    assert total(tallies).quantile(share) == (None if seconds is None else pytest.approx(seconds))


@given(st.lists(st.sampled_from(BOUNDS), min_size=1), st.floats(0.01, 1))
def test_a_quantile_is_not_above_the_bound_of_the_slowest(times: list[float], share: float) -> None:
    found = total(tally(1, at=time) for time in times).quantile(share)
    assert found is not None
    assert 0 < found <= max(times) * 1.000001


def test_a_sample_counts_answers_by_route_and_by_server() -> None:
    cell = [0.0] * (SUM + 3)
    cell[2] = 4
    cells: dict[str, Cells] = {
        "totals": {
            ("sync", "normal", "unix:/a", "GET", "200"): cell,
            ("sync", "normal", "", "GET", "502"): cell,
            ("sync", "normal", "", "GET", "499"): cell,
            ("gone", "", "", "GET", "404"): cell,
        },
        "late": {("normal", "unix:/b", "200"): cell},
    }
    failures: dict[Labels, float] = {
        ("normal", "unix:/a", "refused"): 3.0,
        ("normal", "unix:/a", "stale"): 9.0,
    }
    taken = Sample.taken(1.0, cells, failures)
    sync = taken.flows["sync", "normal"]
    assert (sync.good, sync.refused, sync.bad, sync.requests) == (4, 4, 4, 12)
    assert taken.flows["gone", ""].refused == 4
    a, b = taken.servers["normal", "unix:/a"], taken.servers["normal", "unix:/b"]
    assert (a.good, a.bad, b.good) == (4, 3, 4)
    assert taken.total.requests == 16
    assert NOTHING.requests == 0
