"""What a child counts of the requests that end as they should, and of the others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synproxy.observe.metrics import BOUNDS, RECEIVED, SENT, SUM, Metrics


class Pool:
    name = "syncs"
    settings = SimpleNamespace(servers=[SimpleNamespace(address="unix:/a")])


class Route:
    name = "sync"


POOL, ROUTE = Pool(), Route()


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def request(status: int = 200, sent: int = 0, received: int = 0) -> Any:
    return SimpleNamespace(
        route=ROUTE,
        pool=POOL,
        index=0,
        status=status,
        bytes_sent=sent,
        bytes_received=received,
        method=b"GET",
        target=b"/",
    )


def answered(metrics: Metrics, wanted: Any, seconds: float, method: bytes = b"GET") -> None:
    metrics.answered(wanted, method, cast(Clock, metrics._time).now - seconds)


@given(st.lists(st.sampled_from([*BOUNDS, 0.0, 0.0017, 34.0, 61.0]) | st.floats(0, 99)))
def test_usual_requests_are_counted_as_if_each_were_added_by_itself(durations: list[float]) -> None:
    at_once, one_by_one = Metrics(Clock()), Metrics(Clock())
    for number, seconds in enumerate(durations):
        wanted = request(sent=number, received=number % 2)
        answered(at_once, wanted, seconds)
        one_by_one.ended(wanted, b"GET", "ok", 100.0 - seconds, 0.0)
        if number == 3:
            at_once.settle()
    at_once.fold()
    assert at_once.totals.keys() == one_by_one.totals.keys()
    for key, cell in one_by_one.totals.items():
        assert at_once.totals[key] == pytest.approx(cell)
        assert at_once.totals[key][:SUM] == cell[:SUM]


def test_a_kind_is_counted_on_after_its_pool_was_let_go() -> None:
    metrics = Metrics(Clock())
    for _ in range(2):
        answered(metrics, request(sent=10, received=3), 0.02)
        metrics.fold()
    (cell,) = metrics.totals.values()
    assert (sum(cell[:SUM]), cell[SENT], cell[RECEIVED]) == (2, 20, 6)
    assert cell[SUM] == pytest.approx(0.04)


@pytest.mark.parametrize(
    ("status", "method", "label"),
    [
        pytest.param(200, b"BREW", ("other", "200"), id="a method that a client made up"),
        pytest.param(799, b"GET", ("GET", "7xx"), id="a status that a server made up"),
        pytest.param(500, b"GET", ("GET", "500"), id="an error"),
    ],
)
def test_unusual_requests_get_labels_that_are_few(
    status: int, method: bytes, label: tuple[str, str]
) -> None:
    metrics = Metrics(Clock())
    answered(metrics, request(status), 0.02, method)
    assert list(metrics.totals) == [("sync", "syncs", "unix:/a", *label)]
    assert len(metrics.errors["server"]) == (status >= 500)
