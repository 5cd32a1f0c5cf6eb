"""Heads as llhttp reads them, where its reading needs our help."""

from __future__ import annotations

import pytest

from synproxy.errors import DownstreamError
from synproxy.wire.http1 import parse_header_block, parse_response_head


@pytest.mark.parametrize("spaces", [b" ", b"\t", b"  \t "])
def test_white_space_around_a_request_value_is_no_part_of_it(spaces: bytes) -> None:
    block = b"Host:%bmatrix.org%b\r\nX-Y:%ba b%b\r\n\r\n" % ((spaces,) * 4)
    judged = parse_header_block(block, max_line=1000, max_count=10)
    assert judged.host == b"matrix.org"
    assert judged.value(b"x-y") == b"a b"
    assert b"X-Y: a b\r\n" in dict(judged.forwarded)[b"x-y"]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (b"Transfer-Encoding: xchunked\r\n", 501),
        (b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n", 501),
        (b"Transfer-Encoding: gzip, chunked\r\n", 501),
        (b"X: y\r\nTransfer-Encoding: gzip\r\nX: y\r\n", 501),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", 400),
        (b"Content-Length: 5\r\nContent-Length: 5\r\n", 400),
        (b"Content-Length: x\r\n", 400),
        (b"Content-Length: 5\r\nTransfer-Encoding: identity\r\n", 400),
        (b"no colon\r\nTransfer-Encoding: xchunked\r\n", 400),
        (b"no colon\r\n", 400),
        (b"X: a\x00b\r\n", 400),
        (b"X y: z\r\n", 400),
    ],
)
def test_fields_that_llhttp_refuses_are_refused_for_what_is_wrong_with_them(
    fields: bytes, status: int
) -> None:
    with pytest.raises(DownstreamError) as caught:
        parse_header_block(b"Host: a\r\n" + fields + b"\r\n", max_line=1000, max_count=10)
    assert caught.value.status == status


def test_white_space_around_a_response_value_is_no_part_of_it() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 2 \r\nX-Y:\t1\t\r\n\r\n"
    judged = parse_response_head(head, head_request=False)
    assert judged.content_length == 2
    assert judged.shape.before == b"HTTP/1.1 200 OK\r\nX-Y: 1\r\n"


def test_a_date_of_the_server_is_noticed_and_passed_on() -> None:
    date = b"Date: Mon, 01 Jan 2024 00:00:00 GMT\r\n"
    judged = parse_response_head(b"HTTP/1.1 200 OK\r\n%b\r\n" % date, head_request=False)
    assert judged.date == date


def test_a_hidden_date_counts_as_none() -> None:
    judged = parse_response_head(
        b"HTTP/1.1 200 OK\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n\r\n",
        head_request=False,
        hidden=frozenset({b"date"}),
    )
    assert judged.date == b""
    assert judged.shape.before == b"HTTP/1.1 200 OK\r\n"
