"""Which Host values are accepted, and nginx's ``$host`` of them."""

from __future__ import annotations

import pytest

from synproxy.core.head import host_name
from synproxy.errors import DownstreamError


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        (b"Matrix.Example.ORG:8448", b"matrix.example.org"),
        (b"matrix.example.org.", b"matrix.example.org"),
        (b"my_host", b"my_host"),
        (b"[2001:DB8::1]:8008", b"[2001:db8::1]"),
        (b"192.0.2.1:", b"192.0.2.1"),
    ],
)
def test_the_host_is_lower_case_without_port_and_last_dot(authority: bytes, host: bytes) -> None:
    assert host_name(authority) == host


@pytest.mark.parametrize(
    "authority",
    [b"", b"a b", b"a/b", b"u@a", b"a?b", b"a..b", b"a..", b"[::1", b"a:http", b"m\xc3\xa4trix"],
)
def test_what_is_no_host_is_refused(authority: bytes) -> None:
    with pytest.raises(DownstreamError):
        host_name(authority)
