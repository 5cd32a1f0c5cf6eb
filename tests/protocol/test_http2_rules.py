"""Frames that break the rules, as h2spec sends them: what RFC 9113 demands for each.

The cases are data: frames after the preface and the client's SETTINGS, and where the error is. One
of the connection is a GOAWAY and the end of it, one of a stream leaves all others as they are.
"""

from __future__ import annotations

import struct

import pytest

from tests.protocol.http2_clients import FakeHttp2Handler, Wire
from tests.support.http2 import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITISED,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    block,
    frame,
    get,
    number,
    settings,
)

PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED = 1, 3, 5
FRAME_SIZE_ERROR, COMPRESSION_ERROR = 6, 9
WHOLE = END_HEADERS | END_STREAM
GET = block(get())
POST = block(get(method=b"POST"))


def ask(stream: int = 1, fields: bytes = GET, flags: int = WHOLE) -> bytes:
    return frame(HEADERS, flags, stream, fields)


def post(stream: int = 1, *more: tuple[bytes, bytes]) -> bytes:
    return ask(stream, block(get(b"/", *more, method=b"POST")), END_HEADERS)


CONNECTION_ERRORS: dict[str, tuple[bytes, set[int]]] = {
    "4.2 a frame above the limit": (
        post() + frame(DATA, END_STREAM, 1, bytes(16385)),
        {FRAME_SIZE_ERROR},
    ),
    "4.2 HEADERS above the limit": (ask(1, bytes(16385)), {FRAME_SIZE_ERROR}),
    "4.3 a block that is not HPACK": (ask(1, b"\xff\xff\xff\xff\xff\xff"), {COMPRESSION_ERROR}),
    "4.3 an index beyond the tables": (ask(1, b"\xbf\x80"), {COMPRESSION_ERROR}),
    "4.3 index 0": (ask(1, GET + b"\x80"), {COMPRESSION_ERROR}),
    "4.3 a string that ends too late": (ask(1, GET + b"\x00\x01a\x7f\x10b"), {COMPRESSION_ERROR}),
    "4.3 Huffman code with EOS": (
        ask(1, GET + b"\x00\x01a\x84\xff\xff\xff\xff"),
        {COMPRESSION_ERROR},
    ),
    "4.3 a table larger than allowed": (ask(1, b"\x3f\xe2\x1f" + GET), {COMPRESSION_ERROR}),
    "4.3 a new size of the table behind a field": (ask(1, GET + b"\x20"), {COMPRESSION_ERROR}),
    "4.3 another frame within a block": (
        ask(1, GET, END_STREAM) + frame(PRIORITY, 0, 1, bytes(5)),
        {PROTOCOL_ERROR},
    ),
    "4.3 a block of another stream within a block": (
        ask(1, GET, END_STREAM) + ask(3),
        {PROTOCOL_ERROR},
    ),
    "4.3 an unknown frame within a block": (
        ask(1, GET, END_STREAM) + frame(0x16, 0, 0, bytes(8)),
        {PROTOCOL_ERROR},
    ),
    "5.1 DATA on an idle stream": (frame(DATA, END_STREAM, 1, b"x"), {PROTOCOL_ERROR}),
    "5.1 RST_STREAM on an idle stream": (frame(RST_STREAM, 0, 1, number(8)), {PROTOCOL_ERROR}),
    "5.1 WINDOW_UPDATE on an idle stream": (
        frame(WINDOW_UPDATE, 0, 1, number(100)),
        {PROTOCOL_ERROR},
    ),
    "5.1 CONTINUATION on an idle stream": (
        frame(CONTINUATION, END_HEADERS, 1, GET),
        {PROTOCOL_ERROR},
    ),
    "5.1 HEADERS of a stream that has ended": (ask() + ask(), {STREAM_CLOSED, PROTOCOL_ERROR}),
    "5.1 CONTINUATION of a stream that has ended": (
        ask() + frame(CONTINUATION, END_HEADERS, 1, GET),
        {STREAM_CLOSED, PROTOCOL_ERROR},
    ),
    "5.1.1 an even stream": (ask(2), {PROTOCOL_ERROR}),
    "5.1.1 a number below the last": (ask(5) + ask(3), {PROTOCOL_ERROR, STREAM_CLOSED}),
    "6.1 DATA on stream 0": (frame(DATA, 0, 0, b"x"), {PROTOCOL_ERROR}),
    "6.1 more padding than DATA": (
        post() + frame(DATA, END_STREAM | PADDED, 1, b"\x05test"),
        {PROTOCOL_ERROR},
    ),
    "6.1 padded DATA without a length": (
        post() + frame(DATA, END_STREAM | PADDED, 1),
        {PROTOCOL_ERROR, FRAME_SIZE_ERROR},
    ),
    "6.2 HEADERS on stream 0": (ask(0), {PROTOCOL_ERROR}),
    "6.2 more padding than HEADERS": (
        ask(1, bytes([len(GET) + 1]) + GET, WHOLE | PADDED),
        {PROTOCOL_ERROR},
    ),
    "6.2 HEADERS too short for a priority": (
        ask(1, b"abcd", WHOLE | PRIORITISED),
        {PROTOCOL_ERROR, FRAME_SIZE_ERROR},
    ),
    "6.3 PRIORITY on stream 0": (frame(PRIORITY, 0, 0, bytes(5)), {PROTOCOL_ERROR}),
    "6.4 RST_STREAM on stream 0": (frame(RST_STREAM, 0, 0, number(8)), {PROTOCOL_ERROR}),
    "6.4 a short RST_STREAM": (
        post() + frame(RST_STREAM, 0, 1, bytes(3)),
        {FRAME_SIZE_ERROR},
    ),
    "6.5 an ACK with a payload": (settings((3, 1), flags=ACK), {FRAME_SIZE_ERROR}),
    "6.5 SETTINGS of a stream": (
        frame(SETTINGS, 0, 1, struct.pack(">HI", 3, 100)),
        {PROTOCOL_ERROR},
    ),
    "6.5 SETTINGS of a wrong size": (frame(SETTINGS, 0, 0, bytes(3)), {FRAME_SIZE_ERROR}),
    "6.5.2 ENABLE_PUSH of 2": (settings((2, 2)), {PROTOCOL_ERROR}),
    "6.5.2 INITIAL_WINDOW_SIZE above the limit": (settings((4, 2**31)), {FLOW_CONTROL_ERROR}),
    "6.5.2 MAX_FRAME_SIZE below the least": (settings((5, 16383)), {PROTOCOL_ERROR}),
    "6.5.2 MAX_FRAME_SIZE above the largest": (settings((5, 2**24)), {PROTOCOL_ERROR}),
    "6.6 PUSH_PROMISE": (
        frame(PUSH_PROMISE, END_HEADERS, 1, number(2) + GET),
        {PROTOCOL_ERROR},
    ),
    "6.7 PING of a stream": (frame(PING, 0, 1, bytes(8)), {PROTOCOL_ERROR}),
    "6.7 a short PING": (frame(PING, 0, 0, bytes(6)), {FRAME_SIZE_ERROR}),
    "6.8 GOAWAY of a stream": (frame(GOAWAY, 0, 1, bytes(8)), {PROTOCOL_ERROR}),
    "6.8 a short GOAWAY": (frame(GOAWAY, 0, 0, bytes(7)), {FRAME_SIZE_ERROR}),
    "6.9 WINDOW_UPDATE of 0 for the connection": (
        frame(WINDOW_UPDATE, 0, 0, number(0)),
        {PROTOCOL_ERROR},
    ),
    "6.9 a short WINDOW_UPDATE": (frame(WINDOW_UPDATE, 0, 0, bytes(3)), {FRAME_SIZE_ERROR}),
    "6.9.1 a window of the connection above the limit": (
        frame(WINDOW_UPDATE, 0, 0, number(2**31 - 1)),
        {FLOW_CONTROL_ERROR},
    ),
    "6.10 CONTINUATION on stream 0": (
        ask(1, GET, END_STREAM) + frame(CONTINUATION, END_HEADERS, 0, GET),
        {PROTOCOL_ERROR},
    ),
    "6.10 CONTINUATION after a whole block": (
        post() + frame(CONTINUATION, END_HEADERS, 1, GET),
        {PROTOCOL_ERROR},
    ),
    "6.10 CONTINUATION behind DATA": (
        post() + frame(DATA, 0, 1, b"x") + frame(CONTINUATION, END_HEADERS, 1, GET),
        {PROTOCOL_ERROR},
    ),
}

STREAM_ERRORS: dict[str, tuple[bytes, set[int]]] = {
    "5.1 DATA after the end of the request": (
        ask() + frame(DATA, END_STREAM, 1, b"x"),
        {STREAM_CLOSED},
    ),
    "5.1 HEADERS after the end of the request": (ask() + ask(), {STREAM_CLOSED}),
    "6.9 WINDOW_UPDATE of 0": (
        post() + frame(WINDOW_UPDATE, 0, 1, number(0)),
        {PROTOCOL_ERROR},
    ),
    "6.9.1 a window above the limit": (
        post() + frame(WINDOW_UPDATE, 0, 1, number(2**31 - 1)),
        {FLOW_CONTROL_ERROR},
    ),
    "8.1 trailers that do not end the request": (
        post() + ask(1, block([(b"x-sum", b"5")]), END_HEADERS),
        {PROTOCOL_ERROR},
    ),
    "8.1 trailers with a pseudo-header field": (
        post() + ask(1, block([(b":method", b"GET")])),
        {PROTOCOL_ERROR},
    ),
    "8.1.1 less than the length": (
        post(1, (b"content-length", b"4")) + frame(DATA, END_STREAM, 1, b"abc"),
        {PROTOCOL_ERROR},
    ),
    "8.1.1 more than the length": (
        post(1, (b"content-length", b"1")) + frame(DATA, END_STREAM, 1, b"ab"),
        {PROTOCOL_ERROR},
    ),
    "8.1.1 a length of two frames": (
        post(1, (b"content-length", b"1"))
        + frame(DATA, 0, 1, b"a")
        + frame(DATA, END_STREAM, 1, b"b"),
        {PROTOCOL_ERROR},
    ),
    "8.1.1 a length without a body": (
        ask(1, block(get(b"/", (b"content-length", b"3"), method=b"POST"))),
        {PROTOCOL_ERROR},
    ),
    "8.1.1 less than the length, and trailers": (
        post(1, (b"content-length", b"4"))
        + frame(DATA, 0, 1, b"abc")
        + ask(1, block([(b"x-sum", b"5")])),
        {PROTOCOL_ERROR},
    ),
    "8.2 a name in capitals": (ask(1, block(get(b"/", (b"X-TEST", b"1")))), {PROTOCOL_ERROR}),
    "8.2 a name with a blank": (ask(1, block(get(b"/", (b"x test", b"1")))), {PROTOCOL_ERROR}),
    "8.2 a name with a colon": (ask(1, block(get(b"/", (b"x:test", b"1")))), {PROTOCOL_ERROR}),
    "8.2 an empty name": (ask(1, block(get(b"/", (b"", b"1")))), {PROTOCOL_ERROR}),
    "8.2 a name with CRLF": (
        ask(1, block(get(b"/", (b"x\r\nx-forwarded-for", b"1")))),
        {PROTOCOL_ERROR},
    ),
    "8.2 a value with LF": (ask(1, block(get(b"/", (b"x", b"1\ny: 2")))), {PROTOCOL_ERROR}),
    "8.2 a value with CR": (ask(1, block(get(b"/", (b"x", b"1\r")))), {PROTOCOL_ERROR}),
    "8.2 a value with NUL": (ask(1, block(get(b"/", (b"x", b"1\0")))), {PROTOCOL_ERROR}),
    "8.2 a value with a blank in front": (
        ask(1, block(get(b"/", (b"x", b" 1")))),
        {PROTOCOL_ERROR},
    ),
    "8.2 a value with a tab behind": (ask(1, block(get(b"/", (b"x", b"1\t")))), {PROTOCOL_ERROR}),
    **{
        f"8.2.2 {name.decode()}": (ask(1, block(get(b"/", (name, value)))), {PROTOCOL_ERROR})
        for name, value in (
            (b"connection", b"keep-alive"),
            (b"connection", b"close"),
            (b"proxy-connection", b"keep-alive"),
            (b"keep-alive", b"timeout=5"),
            (b"transfer-encoding", b"chunked"),
            (b"upgrade", b"h2c"),
            (b"upgrade", b"websocket"),
            (b"te", b"gzip"),
            (b"te", b"trailers, deflate;q=0.5"),
        )
    },
    "8.3 an unknown pseudo-header field": (
        ask(1, block([*get(), (b":test", b"1")])),
        {PROTOCOL_ERROR},
    ),
    "8.3 that of an answer": (ask(1, block([*get(), (b":status", b"200")])), {PROTOCOL_ERROR}),
    "8.3 one behind a field": (
        ask(1, block([*get()[:3], (b"x", b"1"), get()[3]])),
        {PROTOCOL_ERROR},
    ),
    "8.3 :protocol (RFC 8441), which we do not offer": (
        ask(1, block([*get(method=b"CONNECT"), (b":protocol", b"websocket")])),
        {PROTOCOL_ERROR},
    ),
    "8.3.1 an empty :path": (ask(1, block(get(b""))), {PROTOCOL_ERROR}),
    **{
        f"8.3.1 without {name.decode()}": (
            ask(1, block([field for field in get() if field[0] != name])),
            {PROTOCOL_ERROR},
        )
        for name in (b":method", b":scheme", b":path")
    },
    **{
        f"8.3.1 {field[0].decode()} twice": (ask(1, block([field, *get()])), {PROTOCOL_ERROR})
        for field in get()
    },
    "8.3.1 Host and :authority differ": (
        ask(1, block(get(b"/", (b"host", b"b.example")))),
        {PROTOCOL_ERROR},
    ),
}


WITHIN_THE_RULES: dict[str, tuple[bytes, int]] = {
    "4.1 an unknown kind of the connection": (frame(0x42, 0xFF, 0, b"whatever") + ask(1), 1),
    "4.1 an unknown kind of a stream": (frame(0x42, 0xFF, 1, b"whatever") + ask(1), 1),
    "5.1 PRIORITY of an idle stream": (frame(PRIORITY, 0, 3, number(1) + b"\x10") + ask(5), 5),
    "5.1 PRIORITY of a stream that has ended": (
        ask() + frame(PRIORITY, 0, 1, number(0) + b"\x10") + ask(3),
        3,
    ),
    "5.1 WINDOW_UPDATE of a stream that has ended": (
        ask() + frame(WINDOW_UPDATE, 0, 1, number(9)) + ask(3),
        3,
    ),
    "5.1 RST_STREAM of a stream that has ended": (
        ask() + frame(RST_STREAM, 0, 1, number(8)) + ask(3),
        3,
    ),
    "6.1 DATA with padding": (
        post() + frame(DATA, END_STREAM | PADDED, 1, b"\x02ab\0\0"),
        1,
    ),
    "6.1 an empty body": (post() + frame(DATA, END_STREAM, 1), 1),
    "6.2 HEADERS with padding": (ask(1, b"\x03" + GET + bytes(3), WHOLE | PADDED), 1),
    "6.2 HEADERS with a priority": (ask(1, number(0) + b"\x10" + GET, WHOLE | PRIORITISED), 1),
    "6.2 HEADERS with both": (
        ask(1, b"\x02" + number(0) + b"\x10" + GET + bytes(2), WHOLE | PADDED | PRIORITISED),
        1,
    ),
    "6.5 an ACK that answers nothing": (settings(flags=ACK) + ask(1), 1),
    "6.5.2 an unknown setting": (settings((0x99, 5)) + ask(1), 1),
    "6.7 a PING that answers nothing": (frame(PING, ACK, 0, bytes(8)) + ask(1), 1),
    "6.8 GOAWAY, of a client that wants no pushes": (frame(GOAWAY, 0, 0, bytes(8)) + ask(1), 1),
    "6.10 one CONTINUATION": (
        ask(1, GET[:3], END_STREAM) + frame(CONTINUATION, END_HEADERS, 1, GET[3:]),
        1,
    ),
    "6.10 two CONTINUATION": (
        ask(1, GET[:3], END_STREAM)
        + frame(CONTINUATION, 0, 1, GET[3:5])
        + frame(CONTINUATION, END_HEADERS, 1, GET[5:]),
        1,
    ),
    "8.1 trailers": (
        post() + frame(DATA, 0, 1, b"a") + ask(1, block([(b"x-sum", b"1")])),
        1,
    ),
    "8.1.1 a length of 0 without a body": (ask(1, block(get(b"/", (b"content-length", b"0")))), 1),
    "8.2.2 TE: trailers": (ask(1, block(get(b"/", (b"te", b"trailers")))), 1),
    "8.3.1 a Host like the :authority": (ask(1, block(get(b"/", (b"host", b"A.example")))), 1),
    "8.3.1 a Host instead of it": (
        ask(1, block([one for one in get() if one[0] != b":authority"] + [(b"host", b"a")])),
        1,
    ),
}
"""Frames, and a stream that is answered after them."""


@pytest.mark.parametrize("case", CONNECTION_ERRORS)
def test_an_error_of_the_connection_ends_it(case: str) -> None:
    frames, codes = CONNECTION_ERRORS[case]
    wire = Wire()
    wire.send(frames)
    assert wire.gone in codes
    assert wire.over


@pytest.mark.parametrize("case", STREAM_ERRORS)
def test_an_error_of_a_stream_leaves_the_others_alone(case: str) -> None:
    frames, codes = STREAM_ERRORS[case]
    wire = Wire(FakeHttp2Handler(at_once=False))
    wire.send(frames)
    assert wire.gone is None
    assert [stream for stream, code in wire.resets if code in codes] == [1]
    wire.send(ask(3))
    assert wire.handler.asked[-1].line.target == b"/"
    wire.handler.asked[-1].answer()
    assert (DATA, END_STREAM, 3, b"ok") in wire.frames()


@pytest.mark.parametrize("case", STREAM_ERRORS)
def test_no_server_takes_a_malformed_request_for_a_whole_one(case: str) -> None:
    """RFC 9113 section 8.1.1: an intermediary must not forward one."""
    wire = Wire(FakeHttp2Handler(at_once=False))
    wire.send(STREAM_ERRORS[case][0])
    for exchange in wire.handler.asked:
        assert exchange.over
        assert exchange.gone or exchange.error is not None


@pytest.mark.parametrize("case", [*CONNECTION_ERRORS, *STREAM_ERRORS])
def test_errors_are_the_same_byte_by_byte(case: str) -> None:
    frames, _ = (CONNECTION_ERRORS | STREAM_ERRORS)[case]
    whole, bytewise = (Wire(FakeHttp2Handler(at_once=False)) for _ in range(2))
    whole.send(frames)
    bytewise.send(*(frames[at : at + 1] for at in range(len(frames))))
    assert bytewise.gone == whole.gone
    assert bytewise.resets == whole.resets


@pytest.mark.parametrize("case", WITHIN_THE_RULES)
def test_what_is_within_the_rules_is_answered(case: str) -> None:
    frames, answered = WITHIN_THE_RULES[case]
    for pieces in ([frames], [frames[at : at + 1] for at in range(len(frames))]):
        wire = Wire()
        wire.send(*pieces)
        assert wire.gone is None
        assert wire.resets == []
        assert (DATA, END_STREAM, answered, b"ok") in wire.frames()
