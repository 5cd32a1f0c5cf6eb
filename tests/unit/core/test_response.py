"""Heads of answers: which are accepted, how the body ends, and what the client sees."""

from __future__ import annotations

import pytest

from synproxy.core.response import ALWAYS_HIDDEN, BodyFraming, ResponseHead
from synproxy.errors import Failure, UpstreamError

Fields = list[tuple[bytes, bytes]]
NONE, LENGTH, CHUNKED, CLOSE = (
    BodyFraming.NONE,
    BodyFraming.LENGTH,
    BodyFraming.CHUNKED,
    BodyFraming.CLOSE,
)
CHUNKS = (b"Transfer-Encoding", b"chunked")
FIVE = (b"Content-Length", b"5")


def head(
    *fields: tuple[bytes, bytes],
    status: int = 200,
    minor: int = 1,
    head_request: bool = False,
    hidden: frozenset[bytes] = ALWAYS_HIDDEN,
) -> ResponseHead:
    return ResponseHead(status, b"", minor, fields, head_request=head_request, hidden=hidden)


@pytest.mark.parametrize(
    ("status", "head_request", "fields", "framing", "length"),
    [
        (200, False, [FIVE], LENGTH, 5),
        (200, False, [(b"content-length", b"0")], NONE, 0),
        (200, False, [CHUNKS], CHUNKED, -1),
        (200, False, [(b"transfer-encoding", b"CHUNKED")], CHUNKED, -1),
        (200, False, [], CLOSE, -1),
        (500, False, [FIVE], LENGTH, 5),
        (599, False, [FIVE], LENGTH, 5),
        # RFC 9112 section 6.3, rule 1: these never have a body, whatever they say.
        (200, True, [FIVE], NONE, 5),
        (200, True, [CHUNKS], NONE, -1),
        (200, True, [], NONE, -1),
        (204, False, [FIVE], NONE, 5),
        (304, False, [FIVE], NONE, 5),
        (304, False, [CHUNKS], NONE, -1),
        (100, False, [], NONE, -1),
        (103, False, [FIVE], NONE, 5),
    ],
)
def test_the_end_of_a_body_is_found(
    status: int, head_request: bool, fields: Fields, framing: int, length: int
) -> None:
    judged = head(*fields, status=status, head_request=head_request)
    assert (judged.framing, judged.content_length) == (framing, length)


@pytest.mark.parametrize("head_request", [False, True])
@pytest.mark.parametrize(
    ("minor", "fields"),
    [
        (1, [FIVE, FIVE]),
        (1, [FIVE, (b"content-length", b"6")]),
        (1, [CHUNKS, CHUNKS]),
        (1, [CHUNKS, FIVE]),
        (1, [FIVE, CHUNKS]),
        (0, [CHUNKS]),
        (1, [(b"Transfer-Encoding", b"gzip, chunked")]),
        (1, [(b"Transfer-Encoding", b"identity")]),
        (1, [(b"Transfer-Encoding", b"")]),
        (1, [(b"Content-Length", b"")]),
        (1, [(b"Content-Length", b"+5")]),
        (1, [(b"Content-Length", b"-5")]),
        (1, [(b"Content-Length", b"5,5")]),
        (1, [(b"Content-Length", b"1" * 19)]),
    ],
)
def test_an_answer_that_two_could_end_differently_is_refused(
    minor: int, fields: Fields, head_request: bool
) -> None:
    with pytest.raises(UpstreamError) as caught:
        head(*fields, minor=minor, head_request=head_request)
    assert caught.value.failure is Failure.INVALID


@pytest.mark.parametrize("status", [0, 99, 600, 999])
def test_a_number_that_is_no_status_is_refused(status: int) -> None:
    with pytest.raises(UpstreamError) as caught:
        head(status=status)
    assert caught.value.failure is Failure.INVALID


@pytest.mark.parametrize(
    ("minor", "fields", "keep_alive"),
    [
        (1, [FIVE], True),
        (1, [CHUNKS], True),
        (1, [FIVE, (b"Connection", b"close")], False),
        (1, [FIVE, (b"connection", b"Close")], False),
        (1, [FIVE, (b"Connection", b"keep-alive"), (b"Connection", b"close")], False),
        (1, [FIVE, (b"Connection", b"keep-alive")], True),
        (1, [], False),  # the end of the connection is the end of the body
        (1, [(b"Connection", b"keep-alive")], False),
        (0, [FIVE], False),
        (0, [FIVE, (b"Connection", b"Keep-Alive")], True),
        (0, [FIVE, (b"Connection", b"keep-alive, close")], False),
        (0, [(b"Connection", b"keep-alive")], False),
    ],
)
def test_the_server_keeps_its_connection_or_not(
    minor: int, fields: Fields, keep_alive: bool
) -> None:
    assert head(*fields, minor=minor).keep_alive is keep_alive


@pytest.mark.parametrize(
    ("fields", "lines"),
    [
        ([(b"X-B", b"1"), (b"x-a", b""), (b"X-B", b"2")], [b"X-B: 1", b"x-a: ", b"X-B: 2"]),
        ([(b"Set-Cookie", b"a"), (b"Set-Cookie", b"b")], [b"Set-Cookie: a", b"Set-Cookie: b"]),
        ([FIVE, (b"ETag", b'"1"')], [b'ETag: "1"']),  # the framing is written anew
        ([CHUNKS, (b"Trailer", b"X"), (b"TE", b"x"), (b"Keep-Alive", b"timeout=5")], []),
        ([(b"Proxy-Connection", b"close"), (b"HTTP2-Settings", b"x")], []),
        ([(b"X-Hop", b"1"), (b"X-A", b"2"), (b"Connection", b"close, x-HOP")], [b"X-A: 2"]),
        ([(b"Upgrade", b"h2c"), (b"Connection", b"upgrade")], []),
        ([(b"X-Accel-Redirect", b"/x"), (b"X-Accel-Buffering", b"no"), (b"X-Pad", b"")], []),
    ],
)
def test_end_to_end_fields_pass_in_their_order_and_case(fields: Fields, lines: list[bytes]) -> None:
    assert [line for line in head(*fields).passed if line] == [line + b"\r\n" for line in lines]


def test_hidden_fields_do_not_pass_and_can_be_read() -> None:
    judged = head((b"X-Secret", b"1"), (b"X-A", b"2"), hidden=frozenset({b"x-secret"}))
    assert judged.passed == [b"X-A: 2\r\n"]
    assert judged.value(b"x-secret") == b"1"
    assert judged.value(b"absent") == b""
    assert list(judged.fields) == [(b"X-Secret", b"1"), (b"X-A", b"2")]


@pytest.mark.parametrize(
    ("fields", "upgrade"),
    [
        ([(b"Upgrade", b"websocket"), (b"Connection", b"Upgrade")], b"websocket"),
        ([(b"Upgrade", b"websocket")], b""),
        ([(b"Connection", b"Upgrade")], b""),
    ],
)
def test_an_upgrade_is_one_if_connection_says_so(fields: Fields, upgrade: bytes) -> None:
    assert head(*fields, status=101).upgrade == upgrade
