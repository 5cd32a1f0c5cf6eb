"""Heads as llhttp reads them, where its reading needs our help."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synproxy.core.forward import HeadPlan, with_length
from synproxy.core.head import HeaderBlock
from synproxy.core.variables import Variables
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


LENGTHS = st.sampled_from(["0", "5", "12", "007", "00", "999999999999999999", "1" * 19, "", "5 "])
LINES = st.sampled_from(
    [
        "Host: a",
        "Host:\tb.example",
        "X-A: content-length: 7",
        "X-Content-Length: 3",
        "Content_Length: 9",
        "Upgrade: websocket\r\nConnection: upgrade, x-a",
        "Expect: 100-continue",
        "Authorization: Bearer x-a",
        "authorization:\ta",
        "Cookie: x-a",
        "Transfer-Encoding: chunked",
        "x: " + "y" * 300,
    ]
)


@st.composite
def shapes(draw: st.DrawFn) -> str:
    """A block with a place for a length, or without one."""
    lines = draw(st.lists(LINES, max_size=4))
    name = draw(st.sampled_from(["Content-Length: ", "content-length:", "CONTENT-LENGTH:\t ", ""]))
    if name:
        lines.insert(draw(st.integers(0, len(lines))), f"{name}LENGTH")
    return "".join(f"{line}\r\n" for line in lines) + "\r\n"


def facts(block: HeaderBlock) -> object:
    names = [lower for lower, _ in block.forwarded] + [b"content-length", b"upgrade", b"host"]
    before, after, close = HeadPlan({"X-Real": "1"}, Variables({})).render(None, block)  # type: ignore[arg-type]
    return (
        *(block.host, block.upgrade, block.content_length, block.chunked, block.expect_continue),
        *(block.connection_close, block.connection_keep_alive, block.forwarded, close),
        *(with_length(before, after, block.content_length), [block.value(n) for n in names]),
    )


@given(shapes(), LENGTHS, shapes(), LENGTHS)
def test_a_block_that_is_known_again_is_what_it_would_be_if_it_were_read(
    first: str, length: str, second: str, other: str
) -> None:
    """What is remembered of a connection's last request must not change what the next one is."""
    known = first.replace("LENGTH", length).encode()
    try:
        block = parse_header_block(known, max_line=1000, max_count=10)
    except DownstreamError:
        return
    for shape in (first, second):
        again = b"GET / HTTP/1.1\r\n" + shape.replace("LENGTH", other).encode() + b"body"
        end = block.same(again, 16)
        if end >= 0:
            assert end == len(again) - 4
            read = parse_header_block(again[16:end], max_line=1000, max_count=10)
            assert facts(block) == facts(read)
        elif again[16:-4] == known:
            raise AssertionError("the same bytes were not known again")
        block.same(b"GET / HTTP/1.1\r\n" + known, 16)


def test_whether_an_upgrade_is_honoured_is_judged_with_the_length_it_came_with() -> None:
    fields = "Host: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\nContent-Length: {}\r\n\r\n"
    block = parse_header_block(fields.format(0).encode(), max_line=1000, max_count=10)
    assert block.upgrade == b"websocket"
    assert block.same(fields.format(5).encode(), 0) == -1


def test_a_block_is_known_again_with_another_length() -> None:
    block = parse_header_block(
        b"Host: a\r\nContent-Length: 5\r\nX: 5\r\n\r\n", max_line=1000, max_count=10
    )
    assert block.same(b"Host: a\r\nContent-Length: 1234\r\nX: 5\r\n\r\nab", 0) == 39
    assert (block.content_length, block.value(b"content-length")) == (1234, b"1234")
    assert block.same(b"Host: a\r\nContent-Length: 12\r\nX: 6\r\n\r\n", 0) == -1


AUTHORIZED = b"Host: a\r\nAccept: */*\r\nAuthorization: Bearer %b\r\nX: 5\r\n%b\r\n"


def read(block: bytes) -> HeaderBlock:
    return parse_header_block(block, max_line=1000, max_count=10)


def test_blocks_share_what_is_before_and_behind_the_credentials() -> None:
    one, other = read(AUTHORIZED % (b"syt_one", b"")), read(AUTHORIZED % (b"syt_two", b""))
    assert one.raw is other.raw
    assert one.end is other.end
    assert (one.own, other.own) == (b"Bearer syt_one", b"Bearer syt_two")
    assert one.same(b"GET / HTTP/1.1\r\n" + AUTHORIZED % (b"syt_one", b""), 16) > 0
    assert one.same(b"GET / HTTP/1.1\r\n" + AUTHORIZED % (b"syt_two", b""), 16) == -1


@pytest.mark.parametrize(
    "more", [b"Cookie: a=secret\r\n", b"Proxy-Authorization: a\r\n", b"Y: Bearer syt_one\r\n"]
)
def test_what_may_hold_credentials_twice_is_not_shared(more: bytes) -> None:
    one, other = (read(AUTHORIZED % (b"syt_one", more)) for _ in range(2))
    assert one.raw == other.raw == AUTHORIZED % (b"syt_one", more)
    assert one.raw is not other.raw
    assert one.own == one.end == b""


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
