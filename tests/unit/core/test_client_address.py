"""Whose request it is: the word of trusted proxies, and of nobody else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synproxy.config.model import TrustedProxies
from synproxy.core.client_address import ClientAddresses, Origin, parse_address
from synproxy.core.head import HeaderBlock

PROXY = b"10.0.0.1"
"""Trusted, as its whole network is."""
STRANGER = b"203.0.113.9"


def origin(*fields: tuple[str, str], peer: bytes = PROXY, **settings: Any) -> Origin:
    model = TrustedProxies.model_validate({"networks": ["10.0.0.0/8", "unix:"], **settings})
    block = HeaderBlock([(name.encode(), value.encode()) for name, value in fields], 100)
    return ClientAddresses(model).origin(peer, b"50000", block)


def address(*lines: str, name: str = "X-Forwarded-For", **settings: Any) -> str:
    return origin(*((name, line) for line in lines), **settings).address.decode()


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((), "10.0.0.1"),
        (("192.0.2.1",), "192.0.2.1"),
        (("192.0.2.1:8080",), "192.0.2.1"),
        (("2001:DB8:0::1",), "2001:db8::1"),
        (("[2001:db8::1]:80",), "2001:db8::1"),
        (("192.0.2.1, 10.0.0.2",), "192.0.2.1"),
        (("192.0.2.1", "10.0.0.2"), "192.0.2.1"),
        (("198.51.100.1, 192.0.2.1, 10.0.0.3, 10.0.0.2",), "192.0.2.1"),
        (("10.0.0.4, 10.0.0.3",), "10.0.0.4"),
        (("127.0.0.1, 192.0.2.1",), "192.0.2.1"),
        (("evil, 192.0.2.1",), "192.0.2.1"),
        (("192.0.2.1, unknown, 10.0.0.2",), "10.0.0.2"),
        (("evil",), "10.0.0.1"),
        (("192.0.2.1,",), "192.0.2.1"),
        (("192.0.2.1  10.0.0.2",), "192.0.2.1"),
        (("unix:, 10.0.0.2",), "10.0.0.2"),
        (("192.0.2.1, ::ffff:10.0.0.2",), "192.0.2.1"),
    ],
)
def test_the_walk_goes_from_the_right_over_trusted_addresses(
    lines: tuple[str, ...], expected: str
) -> None:
    assert address(*lines) == expected


def test_a_stranger_is_never_believed() -> None:
    told = ("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-Proto", "https")
    assert origin(*told, peer=STRANGER) == Origin(STRANGER, b"50000", b"")


def test_a_unix_socket_can_be_trusted() -> None:
    assert origin(("X-Forwarded-For", "192.0.2.1"), peer=b"unix:").address == b"192.0.2.1"


def test_without_recursion_only_the_last_entry_counts() -> None:
    assert address("192.0.2.1, 10.0.0.2", recursive=False) == "10.0.0.2"


def test_the_port_is_known_only_if_it_is_told() -> None:
    assert origin(("X-Forwarded-For", "192.0.2.1:8080")).port == b"8080"
    assert origin(("X-Forwarded-For", "192.0.2.1")).port == b""


def test_another_field_can_be_the_one() -> None:
    assert address("192.0.2.1", name="X-Real-IP", header="X-Real-IP") == "192.0.2.1"
    assert address("192.0.2.1", header="X-Real-IP") == "10.0.0.1"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("for=192.0.2.1", "192.0.2.1"),
        ("For=192.0.2.1;Proto=https;by=10.0.0.1", "192.0.2.1"),
        ('for="[2001:db8:cafe::17]:4711"', "2001:db8:cafe::17"),
        ("for=192.0.2.43, for=10.0.0.2", "192.0.2.43"),
        ('for=192.0.2.43, proto=https;for="10.0.0.2:80" ; host="a,b"', "192.0.2.43"),
        ("for=unknown, for=10.0.0.2", "10.0.0.2"),
        ("for=_hidden, for=10.0.0.2", "10.0.0.2"),
        ("proto=https", "10.0.0.1"),
        ('for="192.0.2.1', "10.0.0.1"),
        # What a client left open on the left does not swallow what a proxy put behind it.
        ('for="evil, for=192.0.2.1', "192.0.2.1"),
        ('for=127.0.0.1;x=", for="[2001:db8::1]"', "2001:db8::1"),
        ("=, for=192.0.2.1;proto=https", "192.0.2.1"),
        ('for="192.0.2.\\1"', "192.0.2.1"),
    ],
)
def test_forwarded_is_walked_over_the_same_way(line: str, expected: str) -> None:
    assert address(line, name="Forwarded", header="Forwarded") == expected


@pytest.mark.parametrize(
    ("fields", "settings", "scheme"),
    [
        ([("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Proto", "https")], {}, b"https"),
        ([("X-Forwarded-Proto", "HTTPS")], {}, b"https"),
        ([("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Proto", "http")], {}, b"http"),
        ([("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Proto", "gopher")], {}, b""),
        ([("X-Forwarded-For", "192.0.2.1")], {}, b""),
        ([("X-Forwarded-Proto", "https")], {"proto": False}, b""),
        # Two proxies: the scheme in which the client spoke to the first.
        (
            [("X-Forwarded-For", "192.0.2.1, 10.0.0.2"), ("X-Forwarded-Proto", "https, http")],
            {},
            b"https",
        ),
        # The client's own word stands further left.
        (
            [("X-Forwarded-For", "127.0.0.1, 192.0.2.1"), ("X-Forwarded-Proto", "https, http")],
            {},
            b"http",
        ),
        (
            [("Forwarded", "for=192.0.2.1;proto=https, for=10.0.0.2;proto=http")],
            {"header": "Forwarded"},
            b"https",
        ),
        (
            [("Forwarded", "for=192.0.2.1"), ("X-Forwarded-Proto", "https")],
            {"header": "Forwarded"},
            b"",
        ),
    ],
)
def test_the_scheme_is_the_one_in_which_the_client_spoke(
    fields: list[tuple[str, str]], settings: dict[str, Any], scheme: bytes
) -> None:
    assert origin(*fields, **settings).scheme == scheme


@given(st.binary(max_size=60))
def test_an_address_is_one_or_nothing(text: bytes) -> None:
    found = parse_address(text)
    if found is not None:
        assert parse_address(found[0]) == (found[0], b"")


@given(st.text('for="\\;, proto10.2[]:_', max_size=60))
def test_what_the_nearest_proxy_says_is_never_hidden(line: str) -> None:
    assert address(f"{line}, for=192.0.2.1", name="Forwarded", header="Forwarded") == "192.0.2.1"
    told = f'{line}, for="[2001:db8::1]:80";proto=https'
    assert address(told, name="Forwarded", header="Forwarded") == "2001:db8::1"
