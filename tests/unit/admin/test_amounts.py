"""Numbers as people read them."""

from __future__ import annotations

import pytest

from synproxy.admin.amounts import ago, amount, duration, each_second, percent, span


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "\N{EN DASH}"),
        (0.00042, "0.4 ms"),
        (0.0099, "9.9 ms"),
        (0.0349, "35 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (9.94, "9.9 s"),
        (30.2, "30 s"),
    ],
)
def test_a_duration_has_the_unit_that_fits(seconds: float | None, text: str) -> None:
    assert duration(seconds).replace("\N{NO-BREAK SPACE}", " ") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.9, "59 s"), (61, "1 min 1 s"), (7205, "2 h 0 min"), (273_600, "3 d 4 h")],
)
def test_a_span_has_two_units_at_most(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_rates_counts_and_shares() -> None:
    assert [each_second(rate) for rate in (0, 0.04, 0.12, 99.94, 412.3)] == [
        *("0", "0", "0.1", "99.9", "412"),
    ]
    assert amount(12345.0) == "12,345"
    assert percent(0.334) == "33\N{NO-BREAK SPACE}%"
    assert ago(75) == "1 min ago"
    assert ago(-3) == "0 s ago"  # clocks of two processes differ by a moment
