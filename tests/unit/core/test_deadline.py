"""The wait that a request asks for itself."""

from __future__ import annotations

import pytest

from synproxy.config.units import MAX_DURATION
from synproxy.core.deadline import asked_wait


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
