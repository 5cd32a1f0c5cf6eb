"""Heads of answers: which are accepted, how the body ends, and what the client sees."""

from __future__ import annotations

import pytest

from synproxy.core.response import ALWAYS_HIDDEN
from synproxy.errors import Failure, UpstreamError
from tests.support.answers import Judged, head_bytes, read, view

CHUNKS = b"Transfer-Encoding: chunked"
FIVE = b"Content-Length: 5"


def judge(
    *fields: bytes,
    status: int = 200,
    minor: int = 1,
    head_request: bool = False,
    hidden: frozenset[bytes] = ALWAYS_HIDDEN,
) -> Judged:
    data = head_bytes(*fields, status=status, minor=minor)
    return view(read(data, head_request=head_request, hidden=hidden))


@pytest.mark.parametrize(
    ("status", "head_request", "fields", "framing", "length"),
    [
        (200, False, [FIVE], "length", 5),
        (200, False, [b"content-length:0"], "none", 0),
        (200, False, [CHUNKS], "chunked", -1),
        (200, False, [b"transfer-encoding: CHUNKED"], "chunked", -1),
        (200, False, [], "close", -1),
        (500, False, [FIVE], "length", 5),
        (599, False, [FIVE], "length", 5),
        # RFC 9112 section 6.3, rule 1: these never have a body, whatever they say.
        (200, True, [FIVE], "none", 5),
        (200, True, [CHUNKS], "none", -1),
        (200, True, [], "none", -1),
        (204, False, [FIVE], "none", 5),
        (304, False, [FIVE], "none", 5),
        (304, False, [CHUNKS], "none", -1),
        (100, False, [], "none", -1),
        (103, False, [FIVE], "none", 5),
    ],
)
def test_the_end_of_a_body_is_found(
    status: int, head_request: bool, fields: list[bytes], framing: str, length: int
) -> None:
    judged = judge(*fields, status=status, head_request=head_request)
    assert (judged.status, judged.framing, judged.length) == (status, framing, length)


@pytest.mark.parametrize("head_request", [False, True])
@pytest.mark.parametrize(
    ("minor", "fields"),
    [
        (1, [FIVE, FIVE]),
        (1, [FIVE, b"content-length: 6"]),
        (1, [CHUNKS, CHUNKS]),
        (1, [CHUNKS, FIVE]),
        (1, [FIVE, CHUNKS]),
        (0, [CHUNKS]),
        (1, [b"Transfer-Encoding: gzip, chunked"]),
        (1, [b"Transfer-Encoding: identity"]),
        (1, [b"Transfer-Encoding:"]),
        (1, [b"Content-Length:"]),
        (1, [b"Content-Length: +5"]),
        (1, [b"Content-Length: -5"]),
        (1, [b"Content-Length: 5,5"]),
        (1, [b"Content-Length: " + b"1" * 19]),
    ],
)
def test_an_answer_that_two_could_end_differently_is_refused(
    minor: int, fields: list[bytes], head_request: bool
) -> None:
    with pytest.raises(UpstreamError) as caught:
        judge(*fields, minor=minor, head_request=head_request)
    assert caught.value.failure is Failure.INVALID


@pytest.mark.parametrize("line", [b"HTTP/1.1 099 x", b"HTTP/1.1 000 x", b"HTTP/1.1 600 x"])
def test_a_number_that_is_no_status_is_refused(line: bytes) -> None:
    with pytest.raises(UpstreamError) as caught:
        read(line + b"\r\nContent-Length: 0\r\n\r\n")
    assert caught.value.failure is Failure.INVALID


@pytest.mark.parametrize(
    ("minor", "fields", "keep_alive"),
    [
        (1, [FIVE], True),
        (1, [CHUNKS], True),
        (1, [FIVE, b"Connection: close"], False),
        (1, [FIVE, b"connection: Close"], False),
        (1, [FIVE, b"Connection: keep-alive", b"Connection: close"], False),
        (1, [FIVE, b"Connection: keep-alive"], True),
        (1, [], False),  # the end of the connection is the end of the body
        (1, [b"Connection: keep-alive"], False),
        (0, [FIVE], False),
        (0, [FIVE, b"Connection: Keep-Alive"], True),
        (0, [FIVE, b"Connection: keep-alive, close"], False),
        (0, [b"Connection: keep-alive"], False),
    ],
)
def test_the_server_keeps_its_connection_or_not(
    minor: int, fields: list[bytes], keep_alive: bool
) -> None:
    assert judge(*fields, minor=minor).keep_alive is keep_alive


@pytest.mark.parametrize(
    ("fields", "lines"),
    [
        ([b"X-B: 1", b"x-a:", b"X-B: 2"], [b"X-B: 1", b"x-a: ", b"X-B: 2"]),
        ([b"Set-Cookie: a", b"Set-Cookie: b"], [b"Set-Cookie: a", b"Set-Cookie: b"]),
        ([FIVE, b'ETag: "1"'], [b'ETag: "1"']),  # the framing is written anew
        ([b"Date: x", b"X: 1"], [b"Date: x", b"X: 1"]),
        ([CHUNKS, b"Trailer: X", b"TE: x", b"Keep-Alive: timeout=5"], []),
        ([b"Proxy-Connection: close", b"HTTP2-Settings: x"], []),
        ([b"X-Hop: 1", b"X-A: 2", b"Connection: close, x-HOP"], [b"X-A: 2"]),
        ([b"Connection: x-hop", b"X-Hop: 1", b"Connection: x-a", b"X-A: 2"], []),
        ([b"Upgrade: h2c", b"Connection: upgrade"], []),
        ([b"X-Accel-Redirect: /x", b"X-Accel-Buffering: no", b"X-Pad: y"], []),
    ],
)
def test_end_to_end_fields_pass_in_their_order_and_case(
    fields: list[bytes], lines: list[bytes]
) -> None:
    assert judge(*fields).lines == lines


def test_hidden_fields_do_not_pass() -> None:
    hidden = frozenset({b"x-secret", b"date"})
    assert judge(b"X-Secret: 1", b"X-A: 2", b"DATE: x", hidden=hidden).lines == [b"X-A: 2"]


@pytest.mark.parametrize(
    ("fields", "upgrade"),
    [
        ([b"Upgrade: websocket", b"Connection: Upgrade"], b"websocket"),
        ([b"Connection: keep-alive, upgrade", b"Upgrade: websocket"], b"websocket"),
        ([b"Upgrade: websocket"], b""),
        ([b"Upgrade: websocket", b"Connection: close"], b""),
        ([b"Connection: Upgrade"], b""),
    ],
)
def test_an_upgrade_is_one_if_connection_says_so(fields: list[bytes], upgrade: bytes) -> None:
    assert judge(*fields).upgrade == upgrade


def test_the_date_is_told_from_the_lines_around_it() -> None:
    judged = read(head_bytes(b"X-A: 1", b"date: today", FIVE, b"X-B: 2", b"Date: later"))
    assert judged.shape.before == b"HTTP/1.1 200 Reason\r\nX-A: 1\r\n"
    assert judged.date == b"date: today\r\n"
    assert judged.shape.after == b"X-B: 2\r\nDate: later\r\n"
    assert judged.shape.fields == ((b"X-A", b"1"), (b"X-B", b"2"))
    assert judged.shape.value(b"x-b") == b"2"
    assert judged.shape.value(b"absent") == b""
