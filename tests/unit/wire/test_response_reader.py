"""The remembered reading of an answer's head equals the plain one."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from synproxy.core.response import ALWAYS_HIDDEN, ResponseHead
from synproxy.errors import UpstreamError
from synproxy.wire.http1 import parse_response_head
from synproxy.wire.response_reader import MEMO_ENTRIES, ResponseReader

HIDDEN = ALWAYS_HIDDEN | {b"server", b"x-secret"}

NAMES = st.sampled_from(
    [
        *(b"Server", b"Date", b"date", b"Content-Type", b"ETag", b"X-Secret", b"X-Hop", b"Vary"),
        *(b"Content-Length", b"content-length", b"Transfer-Encoding", b"Connection"),
        *(b"Upgrade", b"Keep-Alive", b"X-Accel-Redirect", b"Bad Name", b"", b" X"),
    ]
)
VALUES = st.one_of(
    st.sampled_from(
        [b"chunked", b"5", b"0", b"+5", b"close", b"keep-alive, X-Hop", b"upgrade", b"gzip", b""]
    ),
    st.binary(max_size=8),
    st.text("ab ,;=\t", max_size=8).map(str.encode),
)
LINES = st.one_of(
    st.builds(lambda name, colon, value: name + colon + value, NAMES, st.just(b": "), VALUES),
    st.sampled_from(
        [
            *(b"Date: Sun, 06 Nov 1994 08:49:37 GMT", b"Date: Mon, 07 Nov 1994 08:49:38 GMT"),
            *(b"date: Sun, 06 Nov 1994 08:49:37 GMT", b"Date: Sun, 06 Nov 1994 08:49:37 GMTX"),
            *(b"Content-Length: 5", b"Content-Length: 17", b"Content-Length: 0"),
            *(b"Connection: date", b"Connection: content-length", b"Content-Length:  5"),
        ]
    ),
    st.binary(max_size=12),
)
STATUS_LINES = st.sampled_from(
    [
        *(b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK", b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 "),
        *(b"HTTP/1.1 404", b"HTTP/1.1 99 Low", b"HTTP/2.0 200 OK", b"HTTP/1.1 200 a\0b", b"x"),
    ]
)


def outcome(head: ResponseHead) -> tuple[object, ...]:
    shape = head.shape
    return (
        *(shape.status, shape.reason, head.framing, shape.framing, shape.keep_alive),
        *(head.content_length, shape.upgrade, shape.before, head.date, shape.after),
        shape.fields,
    )


def plain(head: bytes, head_request: bool) -> tuple[object, ...] | None:
    try:
        return outcome(parse_response_head(head, head_request=head_request, hidden=HIDDEN))
    except UpstreamError:
        return None


def remembered(
    reader: ResponseReader, head: bytes, head_request: bool
) -> tuple[object, ...] | None:
    try:
        return outcome(reader.read(head, head_request=head_request))
    except UpstreamError:
        return None


SHARED_READER = ResponseReader(HIDDEN)


@example(b"HTTP/1.1 200 OK", [b"Date: Sun, 06 Nov 1994 08:49:37 GMT", b"X: 1"], False)
@example(b"HTTP/1.1 200 OK", [b"X: 1", b"Date: Sun, 06 Nov 1994 08:49:37 GMT"], False)
@example(b"HTTP/1.1 200 OK", [b"Content-Length: 5"], False)
@example(b"HTTP/1.1 200 OK", [b"Content-Length: 0"], False)
@given(STATUS_LINES, st.lists(LINES, max_size=6), st.booleans())
def test_a_remembered_head_equals_a_computed_one(
    status_line: bytes, lines: list[bytes], head_request: bool
) -> None:
    head = b"\r\n".join([status_line, *lines]) + b"\r\n\r\n"
    head = head[: head.find(b"\r\n\r\n") + 4]
    expected = plain(head, head_request)
    assert remembered(ResponseReader(HIDDEN), head, head_request) == expected
    assert remembered(SHARED_READER, head, head_request) == expected
    assert remembered(SHARED_READER, head, head_request) == expected


@pytest.mark.parametrize("line", [b"X: a\nY: b", b"X: a\rb", b" X: folded", b"\tX: folded"])
def test_a_line_that_could_be_read_as_two_is_refused(line: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nA: b\r\n" + line + b"\r\n\r\n"
    with pytest.raises(UpstreamError):
        ResponseReader(HIDDEN).read(head, head_request=False)


def test_a_flood_of_new_heads_is_forgotten_again() -> None:
    reader = ResponseReader(HIDDEN)
    for number in range(3 * MEMO_ENTRIES):
        reader.read(b"HTTP/1.1 200 OK\r\nX-%d: 1\r\n\r\n" % number, head_request=False)
    assert len(reader._shapes) <= MEMO_ENTRIES
