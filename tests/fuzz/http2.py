"""What `make fuzz` throws at HTTP/2: frames, header blocks, and whole connections.

The libraries hyperframe, hpack and h2 are what our reading is compared with.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import hpack
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    HeadersFrame,
    PushPromiseFrame,
    WindowUpdateFrame,
)
from hyperframe.frame import Frame as TheirFrame

from synproxy.downstream.http2 import Http2Connection
from synproxy.wire import http2 as wire
from synproxy.wire.hpack import FieldDecoder
from synproxy.wire.http2 import Frame, FrameReader, Http2Error
from tests.protocol.http2_clients import FakeHttp2Handler, Wire
from tests.support import http2

_LONGEST: Final = 4096
_LIST: Final = 1 << 20
"""Bytes of fields that both decoders take: more than an input can say within its length."""
_SETTINGS: Final = http2.PREFACE + http2.settings()


# --- frames


def check_frames(data: bytes) -> None:
    """Whole and byte by byte the same frames, and hyperframe reads the same in each."""
    data = data[:_LONGEST]
    whole, error = _frames([data])
    pieces, late = _frames([data[at : at + 1] for at in range(len(data))])
    assert error == late, (error, late)
    if error is None:
        assert whole == pieces, (whole, pieces)
    at = 0
    for frame in pieces:
        _compare(frame, data[at : at + 9 + frame.length])
        at += 9 + frame.length
    if error is None:
        left = data[at:]
        assert len(left) < 9 or len(left) < 9 + int.from_bytes(left[:3], "big")


def _frames(pieces: list[bytes]) -> tuple[list[Frame], int | None]:
    reader = FrameReader()
    found: list[Frame] = []
    for piece in pieces:
        try:
            found += reader.feed(piece)
        except Http2Error as error:
            return found, error.code
    return found, None


def _compare(ours: Frame, raw: bytes) -> None:
    """That a frame that we take is the same one to hyperframe, which knows kinds that we ignore."""
    if ours.kind > wire.CONTINUATION:
        assert ours.payload == raw[9:]
        return
    try:
        theirs, length = TheirFrame.parse_frame_header(memoryview(raw[:9]))
        theirs.parse_body(memoryview(raw[9:]))
    except HyperframeError:
        # It refuses HEADERS that are nothing but padding, which RFC 9113 section 6.2 allows; what
        # a WINDOW_UPDATE of 0 and a PUSH_PROMISE mean is for the connection.
        empty = ours.kind == wire.HEADERS and not ours.payload
        assert empty or ours.kind in (wire.WINDOW_UPDATE, wire.PUSH_PROMISE), (ours, raw)
        return
    assert (theirs.stream_id, length) == (ours.stream, ours.length)
    if isinstance(theirs, DataFrame | HeadersFrame | ContinuationFrame):
        assert (theirs.type, theirs.data) == (ours.kind, ours.payload), (theirs, ours)
    elif isinstance(theirs, WindowUpdateFrame):
        increment = wire.number(ours.payload) & wire.WINDOW_LIMIT
        assert theirs.window_increment in (increment, increment | 1 << 31)
    elif not isinstance(theirs, PushPromiseFrame):
        assert theirs.type == ours.kind


# --- header blocks


def check_hpack(data: bytes) -> None:
    """Blocks on one connection, each with its length in a byte before it: the fields and the table
    are those of hpack, or both refuse."""
    ours, theirs = FieldDecoder(_LIST), hpack.Decoder(_LIST)
    data = data[:_LONGEST]
    while data:
        block, data = data[1 : 1 + data[0]], data[1 + data[0] :]
        wanted = _by_hpack(theirs, block)
        found = _by_us(ours, block)
        if isinstance(found, Http2Error):
            # hpack takes integers of any length, also those that only begin with zeros.
            assert wanted is None or "too long" in found.reason, (block, wanted, found.reason)
            return
        assert found == wanted, (block, found, wanted)
        assert ours._table[::-1] == list(theirs.header_table.dynamic_entries), block
        assert ours._size <= ours._bound


def _by_us(decoder: FieldDecoder, block: bytes) -> list[tuple[bytes, bytes]] | Http2Error:
    try:
        return decoder.decode(block)
    except Http2Error as error:
        return error


def _by_hpack(decoder: hpack.Decoder, block: bytes) -> list[tuple[bytes, bytes]] | None:
    try:
        return [(bytes(name), bytes(value)) for name, value in decoder.decode(block, raw=True)]
    except (hpack.HPACKError, IndexError, ValueError):
        return None


def hpack_blocks() -> list[bytes]:
    """Heads that come again, with and without Huffman's code, and what tables are told."""
    fields = http2.get(b"/_matrix/client/v3/sync?since=s1", (b"authorization", b"Bearer x"))
    seeds = []
    for huffman in (True, False):
        encoder = hpack.Encoder()
        blocks = [encoder.encode(list(fields), huffman=huffman) for _ in range(3)]
        encoder.header_table_size = 100
        blocks.append(encoder.encode([(b"x-long", b"v" * 90), (b"x-new", b"1")], huffman=huffman))
        blocks.append(encoder.encode([(b"x-new", b"1")], huffman=huffman))
        seeds.append(b"".join(bytes([len(block)]) + block for block in blocks))
    return [
        *seeds,
        b"\x01\x20\x05\x3f\xe1\x1f\x82\x84",
        b"\x04\xff\x80\x80\x00",
        b"\x03\x00\x81\xff",
    ]


# --- connections


class _Seen(NamedTuple):
    """What a connection has made of its bytes."""

    requests: list[tuple[int, bytes, bytes, tuple[object, ...], bytes, bool]]
    refused: list[int]
    resets: list[tuple[int, int]]
    gone: int | None


def check_connection(data: bytes) -> None:
    """Whole and byte by byte the same requests, which are those of h2, and nothing is left."""
    data = data[:_LONGEST]
    whole = _connection([data])
    pieces = _connection([data[at : at + 1] for at in range(len(data))])
    if whole.gone in (None, wire.NO_ERROR):
        assert whole == pieces, (whole, pieces)
    else:  # frames that come together with a broken one are not looked at, and so say less
        assert pieces.gone not in (None, wire.NO_ERROR), (whole, pieces)
        assert whole.requests == pieces.requests[: len(whole.requests)], (whole, pieces)
    others = _by_h2(data)
    for number, method, target, *_ in pieces.requests:
        assert others.get(number, (method, target)) == (method, target), (others, pieces)


def _connection(pieces: list[bytes]) -> _Seen:
    handler = FakeHttp2Handler()
    client = Wire(handler)
    for piece in pieces:
        if client.over:
            break
        client.send(piece)
    seen = _Seen(
        [
            (
                one.stream.number,
                one.line.method,
                one.line.target,
                tuple(one.block.forwarded),
                one.body,
                one.complete,
            )
            for one in handler.asked
        ],
        [error.status for error in handler.refused],
        client.resets,
        client.gone,
    )
    connection = client.transport.protocol
    assert isinstance(connection, Http2Connection)
    if not client.transport.closed:
        connection.connection_lost(None)
    assert not connection.streams
    assert not handler.connections
    assert all(one.over for one in handler.asked), "an exchange that was told of no end"
    return seen


def _by_h2(data: bytes) -> dict[int, tuple[bytes, bytes]]:
    """Method and path by stream, of what h2 takes."""
    server = h2.connection.H2Connection(
        h2.config.H2Configuration(client_side=False, header_encoding=None)
    )
    server.initiate_connection()
    found: dict[int, tuple[bytes, bytes]] = {}
    server.receive_data(_SETTINGS)
    for at in range(len(data)):
        try:
            events = server.receive_data(data[at : at + 1])
        except (h2.exceptions.H2Error, HyperframeError, hpack.HPACKError, ValueError):
            break
        for event in events:
            if isinstance(event, h2.events.RequestReceived):
                fields = {bytes(name): bytes(value) for name, value in event.headers or ()}
                method, path = fields.get(b":method", b""), fields.get(b":path", b"")
                found[event.stream_id or 0] = method, path
    return found


def frames() -> list[bytes]:
    """What clients send behind their first SETTINGS, and what none would."""
    ask = http2.block(http2.get(b"/a?b"))
    post = http2.block(http2.get(b"/c", (b"content-length", b"5"), method=b"POST"))
    whole, open_, end = http2.END_HEADERS | http2.END_STREAM, http2.END_HEADERS, http2.END_STREAM
    plain = http2.frame(http2.HEADERS, whole, 1, ask)
    body = http2.frame(http2.HEADERS, open_, 1, post)
    return [
        plain + http2.frame(http2.HEADERS, whole, 3, ask),
        body + http2.frame(http2.DATA, end, 1, b"12345"),
        body + http2.frame(http2.DATA, end | http2.PADDED, 1, b"\x0312345\0\0\0"),
        body
        + http2.frame(http2.DATA, 0, 1, b"123")
        + http2.frame(http2.RST_STREAM, 0, 1, bytes(4)),
        body + http2.frame(http2.DATA, 0, 1, b"12345") + http2.frame(http2.HEADERS, whole, 1, b""),
        http2.frame(http2.HEADERS, http2.END_STREAM, 1, ask[:4])
        + http2.frame(http2.CONTINUATION, http2.END_HEADERS, 1, ask[4:]),
        http2.frame(http2.HEADERS, whole | http2.PADDED, 1, b"\x02" + ask + b"\0\0"),
        http2.frame(http2.HEADERS, whole | http2.PRIORITISED, 1, b"\0\0\0\0\x10" + ask),
        http2.frame(http2.HEADERS, whole | http2.PADDED, 1, b"\0"),
        http2.settings((4, 1)) + plain + http2.frame(http2.WINDOW_UPDATE, 0, 1, http2.number(9)),
        http2.settings(flags=http2.ACK) + http2.frame(http2.PING, 0, 0, b"12345678") + plain,
        plain + http2.frame(http2.GOAWAY, 0, 0, bytes(8)),
        http2.frame(http2.PRIORITY, 0, 1, bytes(5)) + http2.frame(99, 7, 5, b"unknown") + plain,
        http2.frame(http2.WINDOW_UPDATE, 0, 0, http2.number(0)),
        http2.frame(http2.PUSH_PROMISE, 4, 1, bytes(8)),
        http2.frame(http2.DATA, 0, 3, b"idle"),
    ]
