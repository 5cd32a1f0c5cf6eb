"""Which requests of HTTP/2 are well-formed, and what they are in HTTP/1.1 (RFC 9113 section 8)."""

from __future__ import annotations

import pytest

from synproxy.core.head import HeaderBlock, RequestLine
from synproxy.core.http2 import Fields, MalformedError, check_trailers, judge_fields
from synproxy.errors import DownstreamError

Pair = tuple[bytes, bytes]

GET: tuple[Pair, ...] = (
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"Example.org:8448"),
    (b":path", b"/_matrix/client/versions?x=1"),
)


def replaced(name: bytes, value: bytes | None) -> list[Pair]:
    """A good request with another value for one field, or without it."""
    pairs = [(known, value if known == name else old) for known, old in GET]
    return [(known, other) for known, other in pairs if other is not None]


def judge(fields: list[Pair], body: bool = False) -> tuple[RequestLine, HeaderBlock]:
    asked = Fields(fields, max_line=200, max_count=5, max_size=800)
    return asked.line, judge_fields(asked.regular, asked.authority, body=body, max_count=5)


def test_a_request_is_what_http1_would_have() -> None:
    line, block = judge([*GET, (b"accept", b"*/*"), (b"cookie", b"a=1"), (b"cookie", b"b=2")])
    assert line == (b"GET", b"/_matrix/client/versions?x=1", b"", 1)
    assert block.host == b"example.org"
    assert block.forwarded == [
        (b"host", b"host: Example.org:8448\r\n"),
        (b"accept", b"accept: */*\r\n"),
        (b"cookie", b"cookie: a=1; b=2\r\n"),
    ]


@pytest.mark.parametrize(
    ("body", "fields", "chunked", "length"),
    [
        (False, [], False, None),
        (True, [], True, None),
        (True, [(b"content-length", b"7")], False, 7),
        (False, [(b"content-length", b"0")], False, 0),
    ],
)
def test_a_body_without_a_length_is_chunked(
    body: bool, fields: list[Pair], chunked: bool, length: int | None
) -> None:
    _, block = judge([*GET, *fields], body)
    assert (block.chunked, block.content_length) == (chunked, length)


@pytest.mark.parametrize(
    ("fields", "host"),
    [
        ([*replaced(b":authority", None), (b"host", b"a.example")], b"a.example"),
        ([*GET, (b"host", b"example.ORG:8448")], b"example.org"),
    ],
    ids=["Host alone", "both the same"],
)
def test_host_may_stand_beside_or_for_authority(fields: list[Pair], host: bytes) -> None:
    assert judge(fields)[1].host == host


MALFORMED: dict[str, list[Pair]] = {
    "no method": replaced(b":method", None),
    "no scheme": replaced(b":scheme", None),
    "no path": replaced(b":path", None),
    "empty path": replaced(b":path", b""),
    "a path without a slash": replaced(b":path", b"x"),
    "an absolute path": replaced(b":path", b"https://example.org/"),
    "another scheme": replaced(b":scheme", b"ftp"),
    "no host at all": replaced(b":authority", None),
    "Host and :authority differ": [*GET, (b"host", b"other.example")],
    "a repeated pseudo-header field": [*GET, (b":path", b"/")],
    "an unknown pseudo-header field": [(b":protocol", b"websocket"), *GET],
    "of an answer": [(b":status", b"200"), *GET],
    "a pseudo-header field at the end": [*GET[:3], (b"accept", b"*/*"), GET[3]],
    "upper case": [*GET, (b"Accept", b"*/*")],
    "an empty name": [*GET, (b"", b"x")],
    "a name with a space": [*GET, (b"a b", b"x")],
    "a name with a colon": [*GET, (b"a:b", b"x")],
    "CR in a value": [*GET, (b"a", b"x\ry: z")],
    "LF in a value": [*GET, (b"a", b"x\ny: z")],
    "NUL in a value": [*GET, (b"a", b"x\0")],
    "white space before a value": [*GET, (b"a", b" x")],
    "white space behind a value": [*GET, (b"a", b"x\t")],
    "Connection": [*GET, (b"connection", b"close")],
    "Proxy-Connection": [*GET, (b"proxy-connection", b"close")],
    "Keep-Alive": [*GET, (b"keep-alive", b"1")],
    "Transfer-Encoding": [*GET, (b"transfer-encoding", b"chunked")],
    "Upgrade": [*GET, (b"upgrade", b"h2c")],
    "TE other than trailers": [*GET, (b"te", b"trailers, deflate")],
    "a length without a body": [*GET, (b"content-length", b"1")],
}


@pytest.mark.parametrize("fields", MALFORMED.values(), ids=MALFORMED)
def test_what_is_malformed_is_no_request(fields: list[Pair]) -> None:
    with pytest.raises(MalformedError):
        judge(fields)


REFUSED: dict[str, tuple[list[Pair], int]] = {
    "CONNECT": ([(b":method", b"CONNECT"), (b":authority", b"a:1")], 405),
    "TRACE": (replaced(b":method", b"TRACE"), 405),
    "a method with a space": (replaced(b":method", b"GET /"), 400),
    "a space in the path": (replaced(b":path", b"/a b"), 400),
    "a fragment": (replaced(b":path", b"/a#b"), 400),
    "a byte that is not ASCII": (replaced(b":path", b"/\xc3\xa4"), 400),
    "* with GET": (replaced(b":path", b"*"), 400),
    "a long path": (replaced(b":path", b"/" + b"x" * 200), 414),
    "a long field": ([*GET, (b"a", b"x" * 200)], 431),
    "many fields": ([*GET, *[(b"a", b"x")] * 6], 431),
    "an odd host": (replaced(b":authority", b"a b"), 400),
    "user information": (replaced(b":authority", b"a@b"), 400),
    "an odd length": ([*GET, (b"content-length", b"+1")], 400),
    "two lengths": ([*GET, (b"content-length", b"0"), (b"content-length", b"0")], 400),
    "an unknown expectation": ([*GET, (b"expect", b"miracles")], 417),
}


@pytest.mark.parametrize(("fields", "status"), REFUSED.values(), ids=REFUSED)
def test_what_http1_refuses_is_refused(fields: list[Pair], status: int) -> None:
    with pytest.raises(DownstreamError) as refused:
        judge(fields)
    assert refused.value.status == status


def test_trailers_have_no_pseudo_header_fields() -> None:
    check_trailers([(b"x-sum", b"5")])
    for field in ((b":path", b"/"), (b"X-Sum", b"5"), (b"x-sum", b"5\n")):
        with pytest.raises(MalformedError):
            check_trailers([field])
