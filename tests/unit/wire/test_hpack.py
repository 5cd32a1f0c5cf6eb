"""Header blocks of HTTP/2: what we pack is what the library reads."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synproxy.wire.hpack import (
    NO_TABLE,
    FieldDecoder,
    content_length,
    date,
    field,
    lines,
    status,
)
from synproxy.wire.http2 import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, Http2Error

NAMES = st.sampled_from([b"server", b"content-type", b"x-own", b"vary", b"a"]) | st.binary(
    min_size=1, max_size=300
)


def unpacked(block: bytes) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in hpack.Decoder(1 << 20).decode(block, raw=True)]


@given(fields=st.lists(st.tuples(NAMES, st.binary(max_size=300))))
def test_a_packed_field_is_the_same_unpacked(fields: list[tuple[bytes, bytes]]) -> None:
    assert unpacked(b"".join(field(*one) for one in fields)) == fields


@given(code=st.integers(100, 999), length=st.integers(0, 10**18))
def test_status_and_length_are_packed(code: int, length: int) -> None:
    assert unpacked(NO_TABLE + status(code) + content_length(length)) == [
        (b":status", b"%d" % code),
        (b"content-length", b"%d" % length),
    ]


def test_lines_are_packed_without_the_status_line() -> None:
    text = b"HTTP/1.1 500 Not: a field\r\nServer: nginx\r\nX-Empty: \r\nX-A:  b:c \r\n"
    wanted = [(b"server", b"nginx"), (b"x-empty", b""), (b"x-a", b"b:c")]
    assert unpacked(lines(text)) == wanted
    assert unpacked(date(b"Date: now\r\n")) == [(b"date", b"now")]
    assert lines(b"") == b""


@given(
    blocks=st.lists(
        st.lists(st.tuples(NAMES, st.binary(max_size=50)), max_size=8), min_size=1, max_size=5
    ),
    huffman=st.booleans(),
)
def test_blocks_are_read_as_the_library_reads_them(
    blocks: list[list[tuple[bytes, bytes]]], huffman: bool
) -> None:
    encoder, decoder = hpack.Encoder(), FieldDecoder(1 << 20)
    for fields in blocks:
        assert decoder.decode(encoder.encode(fields, huffman=huffman)) == fields


@pytest.mark.parametrize(
    "block",
    [b"\x80", b"\xff\xff\xff\xff\xff\x0f", b"\xbf", b"\x40\x05ab", b"\x00\x81\xff\x00", b"\x3f"],
)
def test_a_block_that_cannot_be_read_is_an_error_of_the_connection(block: bytes) -> None:
    with pytest.raises(Http2Error) as error:
        FieldDecoder(1000).decode(block)
    assert error.value.code == COMPRESSION_ERROR


def test_a_bomb_is_not_unpacked() -> None:
    """One field in the table, and a byte for each time it comes again."""
    bomb = hpack.Encoder().encode([(b"a", b"x" * 3000)]) + b"\xbe" * 16000
    with pytest.raises(Http2Error) as error:
        FieldDecoder(128 * 1024).decode(bomb)
    assert error.value.code == ENHANCE_YOUR_CALM


@given(data=st.data())
def test_any_block_is_read_or_refused_as_the_library_does(data: st.DataObject) -> None:
    """Bytes at random, in the middle of good blocks: both give the same fields, or both refuse."""
    encoder, ours, theirs = hpack.Encoder(), FieldDecoder(1 << 20), hpack.Decoder(1 << 20)
    for _ in range(data.draw(st.integers(1, 4))):
        fields = data.draw(st.lists(st.tuples(NAMES, st.binary(max_size=50)), max_size=5))
        good = encoder.encode(fields, huffman=data.draw(st.booleans()))
        at = data.draw(st.integers(0, len(good)))
        block = good[:at] + data.draw(st.binary(max_size=6)) + good[at:]
        try:
            wanted = [(name, value) for name, value in theirs.decode(block, raw=True)]
        except (hpack.HPACKError, IndexError, ValueError):
            with pytest.raises(Http2Error):
                ours.decode(block)
            return
        assert ours.decode(block) == wanted
