"""The wait that a request asks for itself."""

from __future__ import annotations

import pytest

from synproxy.config.units import MAX_DURATION
from synproxy.core.deadline import read_timeout, wait_parameter


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/sync?timeout=30000", b"30000"),
        (b"/sync?since=s1&timeout=30000&filter=0", b"30000"),
        (b"/sync?timeout=0", b"0"),
        (b"/sync?timeout=1&timeout=60000", b"1"),
        (b"/sync?xtimeout=1&timeout=60000", b"60000"),
        (b"/sync?a=?timeout=5", b""),
        (b"/sync?timeout=999999999999999", b"999999999999999"),
        (b"/sync", b""),
        (b"/sync?", b""),
        (b"/sync?timeout", b""),
        (b"/sync?timeout=", b""),
        (b"/sync?timeout=x&timeout=5", b""),
        (b"/sync?timeout=-5", b""),
        (b"/sync?timeout=+5", b""),
        (b"/sync?timeout=5.5", b""),
        (b"/sync?timeout=5%30", b""),
        (b"/sync?timeout=9999999999999999", b""),
        (b"/sync?TIMEOUT=5", b""),
        (b"/sync?xtimeout=5", b""),
        (b"/a&timeout=5", b""),
        (b"/a&timeout=5?x=1", b""),
        (b"*", b""),
        (b"", b""),
    ],
)
def test_the_wait_is_read_from_the_query(target: bytes, expected: bytes) -> None:
    assert wait_parameter(b"GET", target) == expected


@pytest.mark.parametrize(
    ("method", "target", "margin", "expected"),
    [
        (b"GET", b"/sync?timeout=30000", 10.0, 40.0),
        (b"GET", b"/sync?timeout=0", 10.0, 10.0),
        (b"GET", b"/sync?timeout=7200000", 10.0, 7210.0),
        (b"GET", b"/sync?timeout=1500", 10.0, 11.5),
        (b"GET", b"/sync?timeout=999999999999999", 10.0, MAX_DURATION + 10.0),
        (b"GET", b"/sync", 10.0, 3600.0),
        (b"GET", b"/sync?timeout=soon", 10.0, 3600.0),
        (b"GET", b"/sync?timeout=30000", 0.0, 3600.0),
        (b"POST", b"/unstable/org.matrix.simplified_msc3575/sync?timeout=30000", 10.0, 40.0),
        (b"POST", b"/sync?timeout=30000", 0.0, 3600.0),
        (b"POST", b"/sync/x?timeout=30000", 10.0, 3600.0),
        (b"POST", b"/x?timeout=30000&a=/sync", 10.0, 3600.0),
        (b"PUT", b"/sync?timeout=30000", 10.0, 3600.0),
    ],
)
def test_a_server_has_as_long_as_the_client_waits_and_a_margin(
    method: bytes, target: bytes, margin: float, expected: float
) -> None:
    assert read_timeout(method, target, 3600.0, margin) == expected
