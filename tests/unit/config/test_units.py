"""Durations and sizes mean what they mean in nginx."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synproxy.config.units import MAX_DURATION, MAX_SIZE, parse_duration, parse_size


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("2s", 2.0),
        ("120s", 120.0),
        ("500ms", 0.5),
        ("1ms", 0.001),
        ("1s500ms", 1.5),
        ("1m1ms", 60.001),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("1h 30m", 5400.0),
        ("1h30", 3630.0),
        ("1d", 86_400.0),
        ("1w", 604_800.0),
        ("1M", 2_592_000.0),
        ("1y", 31_536_000.0),
        ("65", 65.0),
        (65, 65.0),
        (0.25, 0.25),
        (0, 0.0),
        ("0", 0.0),
    ],
)
def test_a_duration_is_read_as_nginx_reads_it(written: object, seconds: float) -> None:
    assert parse_duration(written) == seconds


@pytest.mark.parametrize(
    "written",
    [
        *("", " ", "s", "ms", "2 s", "-1", "1.5s", "1s1h", "1s1s", "1ms1s", "1m30 5", "2S", "1s\n"),
        *(True, None, -1, -0.5, float("nan"), float("inf"), 10**400, 2**31, b"2s", ["2s"]),
        *("9" * 40, "٣s"),
    ],
)
def test_what_is_no_duration_is_refused_with_an_example(written: object) -> None:
    with pytest.raises(ValueError, match="expected a duration such as 2s, 500ms or 1h30m"):
        parse_duration(written)


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("16k", 16_384),
        ("16K", 16_384),
        ("32m", 33_554_432),
        ("50M", 52_428_800),
        ("1g", 1_073_741_824),
        ("1G", 1_073_741_824),
        ("1000", 1000),
        (1024, 1024),
        (0, 0),
    ],
)
def test_a_size_is_read_as_nginx_reads_it(written: object, size: int) -> None:
    assert parse_size(written) == size


@pytest.mark.parametrize(
    "written",
    [
        *("", "k", "1kb", "1.5m", "1 k", "-1", "0x10", "16k\n", "1t", "٣k"),
        *(True, None, -1, 1.0, 2**63, "9" * 40, "9999999999g", b"1k"),
    ],
)
def test_what_is_no_size_is_refused_with_an_example(written: object) -> None:
    with pytest.raises(ValueError, match="expected a size such as 16k, 50M or 1g"):
        parse_size(written)


@given(st.integers(0, int(MAX_DURATION)))
def test_seconds_mean_the_same_with_and_without_a_unit(seconds: int) -> None:
    assert parse_duration(f"{seconds}s") == parse_duration(f"{seconds}") == parse_duration(seconds)


@given(st.text(alphabet="0123456789yMwdhms ", max_size=20))
def test_a_duration_is_finite_or_refused(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except ValueError:
        return
    assert 0 <= seconds <= MAX_DURATION


@given(st.text(alphabet="0123456789kKmMgG", max_size=25))
def test_a_size_is_bounded_or_refused(text: str) -> None:
    try:
        size = parse_size(text)
    except ValueError:
        return
    assert 0 <= size <= MAX_SIZE
