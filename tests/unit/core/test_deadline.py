"""The wait that a request asks for itself."""

from __future__ import annotations

import pytest

from synproxy.config.units import MAX_DURATION
from synproxy.core.deadline import asked_wait, read_timeout


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/sync?timeout=30000", 30.0),
        (b"/sync?since=s1&timeout=30000&filter=0", 30.0),
        (b"/sync?timeout=0", 0.0),
        (b"/sync?timeout=1500", 1.5),
        (b"/sync?timeout=1&timeout=60000", 0.001),
        (b"/sync?timeout=999999999999999", MAX_DURATION),
        (b"/sync", None),
        (b"/sync?", None),
        (b"/sync?timeout", None),
        (b"/sync?timeout=", None),
        (b"/sync?timeout=x&timeout=5", None),
        (b"/sync?timeout=-5", None),
        (b"/sync?timeout=+5", None),
        (b"/sync?timeout=5.5", None),
        (b"/sync?timeout=9999999999999999", None),
        (b"/sync?TIMEOUT=5", None),
        (b"/sync?xtimeout=5", None),
        (b"/a&timeout=5", None),
        (b"/a&timeout=5?x=1", None),
        (b"*", None),
    ],
)
def test_the_wait_is_read_from_the_query(target: bytes, expected: float | None) -> None:
    assert asked_wait(target) == expected


@pytest.mark.parametrize(
    ("method", "target", "margin", "expected"),
    [
        (b"GET", b"/sync?timeout=30000", 10.0, 40.0),
        (b"GET", b"/sync?timeout=0", 10.0, 10.0),
        (b"GET", b"/sync?timeout=7200000", 10.0, 7210.0),
        (b"GET", b"/sync", 10.0, 3600.0),
        (b"GET", b"/sync?timeout=soon", 10.0, 3600.0),
        (b"GET", b"/sync?timeout=30000", 0.0, 3600.0),
        (b"POST", b"/sync?timeout=30000", 10.0, 3600.0),
    ],
)
def test_a_server_has_as_long_as_the_client_waits_and_a_margin(
    method: bytes, target: bytes, margin: float, expected: float
) -> None:
    assert read_timeout(method, target, 3600.0, margin) == expected
