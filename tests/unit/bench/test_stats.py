"""Medians, spreads, percentiles."""

from __future__ import annotations

import pytest

from bench.lib import stats


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([3.0, 1.0, 2.0], "2.0 (1.0-3.0)"),
        ([1.0, 2.0], "1.5 (1.0-2.0)"),
        ([4.2], "4.2"),
        ([4.2, 4.2, 4.2], "4.2"),
    ],
)
def test_a_spread_is_the_median_with_the_least_and_the_greatest(
    values: list[float], text: str
) -> None:
    assert stats.spread(values).text(1) == text


def test_there_is_no_spread_of_nothing() -> None:
    with pytest.raises(ValueError, match="no rounds"):
        stats.spread([])


@pytest.mark.parametrize(
    ("percent", "value"),
    [(0, 1.0), (1, 1.0), (20, 1.0), (21, 2.0), (50, 3.0), (99, 5.0), (100, 5.0)],
)
def test_a_percentile_is_a_value_that_occurred(percent: float, value: float) -> None:
    assert stats.percentile([5.0, 1.0, 4.0, 2.0, 3.0], percent) == value


def test_there_is_no_percentile_of_nothing() -> None:
    with pytest.raises(ValueError, match="no values"):
        stats.percentile([], 50)


@pytest.mark.parametrize(
    ("value", "digits"),
    [(0, 0), (1234, 0), (123, 0), (12.3, 1), (1.23, 2), (0.123, 3), (-12.3, 1), (0.000001, 4)],
)
def test_three_digits_are_shown(value: float, digits: int) -> None:
    assert stats.digits(value) == digits
