"""PROXY protocol headers are read as the specification has them, and bounded."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synproxy.wire.proxy_protocol import (
    LIMIT,
    LOCAL_HEADER,
    SIGNATURE,
    Endpoints,
    Header,
    ProxyProtocolError,
    crc32c,
    header_v2,
    read_header,
)

FOUR = Endpoints("192.0.2.1", 40000, "198.51.100.2", 443)
SIX = Endpoints("2001:db8::1", 40000, "2001:db8::2", 443)
FOUR_BLOCK = bytes([192, 0, 2, 1, 198, 51, 100, 2]) + struct.pack(">HH", 40000, 443)


def v2(block: bytes, command: int = 0x21, family: int = 0x11) -> bytes:
    return SIGNATURE + bytes([command, family]) + len(block).to_bytes(2, "big") + block


def tlv(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + len(value).to_bytes(2, "big") + value


def with_checksum(before: bytes = b"", after: bytes = b"") -> bytes:
    """A header with a checksum TLV between others."""
    blank = v2(FOUR_BLOCK + before + tlv(3, bytes(4)) + after)
    told = crc32c(blank).to_bytes(4, "big")
    return v2(FOUR_BLOCK + before + tlv(3, told) + after)


GOOD = [
    (b"PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\r\n", FOUR),
    (b"PROXY TCP6 2001:DB8:0::1 2001:db8::2 40000 443\r\n", SIX),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", None),
    (v2(FOUR_BLOCK), FOUR),
    (header_v2(FOUR), FOUR),
    (header_v2(SIX), SIX),
    (LOCAL_HEADER, None),
    (v2(b"anything", command=0x20), None),
    (v2(b"", family=0x00), None),
    (v2(FOUR_BLOCK, family=0x12), None),  # UDP
    (v2(FOUR_BLOCK, family=0x41), None),  # a family of the future
    (v2(bytes(216), family=0x31), Endpoints("unix:", 0, "unix:", 0)),
    (v2(FOUR_BLOCK + tlv(2, b"example.org") + tlv(4, b"\0" * 30)), FOUR),
    (with_checksum(), FOUR),
    (with_checksum(tlv(2, b"example.org"), tlv(5, b"id")), FOUR),
    (v2(FOUR_BLOCK + tlv(4, bytes(LIMIT - 16 - 12 - 3))), FOUR),
]

BAD = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\0",
    b"\r\n\r\n\0\r\nQUIT\r",
    b"PROXY\tTCP4",
    b"proxy TCP4 192.0.2.1 198.51.100.2 40000 443\r\n",
    b"PROXY  TCP4 192.0.2.1 198.51.100.2 40000 443\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 40000\r\n",
    b"PROXY TCP4 192.0.2.256 198.51.100.2 40000 443\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 040 443\r\n",
    b"PROXY TCP4 2001:db8::1 2001:db8::2 40000 443\r\n",
    b"PROXY TCP6 192.0.2.1 198.51.100.2 40000 443\r\n",
    b"PROXY UDP4 192.0.2.1 198.51.100.2 40000 443\r\n",
    b"PROXY UNKNOWNX\r\n",
    b"PROXY TCP4 " + b"1" * 100,
    v2(FOUR_BLOCK, command=0x11),
    v2(FOUR_BLOCK, command=0x22),
    v2(FOUR_BLOCK[:11]),
    v2(FOUR_BLOCK, family=0x21),
    v2(FOUR_BLOCK + b"\x04\0"),
    v2(FOUR_BLOCK + b"\x04\0\x05abcd"),
    v2(FOUR_BLOCK + tlv(3, b"abc")),
    v2(FOUR_BLOCK + tlv(3, b"abcd")),
    with_checksum()[:-1] + b"\0",
    SIGNATURE + b"\x21\x11" + (LIMIT - 15).to_bytes(2, "big"),
]


@pytest.mark.parametrize(("data", "endpoints"), GOOD)
def test_a_header_says_whose_the_connection_is(data: bytes, endpoints: Endpoints | None) -> None:
    assert read_header(data + b"GET /") == Header(len(data), endpoints)


@pytest.mark.parametrize(("data", "endpoints"), GOOD)
def test_a_header_that_comes_byte_by_byte_is_the_same(
    data: bytes, endpoints: Endpoints | None
) -> None:
    assert [read_header(data[:end]) for end in range(len(data))] == [None] * len(data)
    assert read_header(data) == Header(len(data), endpoints)


@pytest.mark.parametrize("data", BAD)
def test_what_is_no_header_is_refused(data: bytes) -> None:
    with pytest.raises(ProxyProtocolError):
        read_header(data)


@pytest.mark.parametrize("data", BAD)
def test_it_is_refused_whatever_the_pieces(data: bytes) -> None:
    def read_all() -> None:
        for end in range(1, len(data) + 1):
            assert read_header(data[:end]) is None

    with pytest.raises(ProxyProtocolError):
        read_all()


@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_do_anything_else(data: bytes, version_2: bool) -> None:
    start = SIGNATURE + b"\x21\x11" if version_2 else b"PROXY "
    try:
        header = read_header(start + data)
    except ProxyProtocolError:
        return
    assert header is None or header.size <= len(start + data)


def test_the_checksum_is_castagnoli_s() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720 appendix B.4


@pytest.mark.parametrize(
    ("told", "read"),
    [
        (Endpoints("192.0.2.1", 1, "::1", 2), Endpoints("::ffff:192.0.2.1", 1, "::1", 2)),
        (Endpoints("unix:", 0, "unix:", 0), None),
    ],
)
def test_addresses_of_different_kinds_are_written_all_the_same(
    told: Endpoints, read: Endpoints | None
) -> None:
    header = read_header(header_v2(told))
    assert header is not None
    assert header.endpoints == read
