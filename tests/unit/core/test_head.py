"""Request heads: which are accepted, what is known of them, and what goes on to a server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synproxy.core.fields import HOP_BY_HOP, NEVER_STRIPPED
from synproxy.core.head import HeaderBlock, RequestLine, parse_request_line
from synproxy.errors import DownstreamError

Fields = list[tuple[bytes, bytes]]

HOST = (b"Host", b"matrix.example.org")


def block(*fields: tuple[bytes, bytes], max_count: int = 100) -> HeaderBlock:
    return HeaderBlock([HOST, *fields], max_count)


def refused(*fields: tuple[bytes, bytes]) -> int:
    with pytest.raises(DownstreamError) as caught:
        block(*fields)
    return caught.value.status


def forwarded(*fields: tuple[bytes, bytes]) -> bytes:
    return b"".join(line for _, line in block(*fields).forwarded)


# --- the request line


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"GET / HTTP/1.1", (b"GET", b"/", b"", 1)),
        (b"GET /a?b=c HTTP/1.0", (b"GET", b"/a?b=c", b"", 0)),
        (b"GET /a HTTP/1.9", (b"GET", b"/a", b"", 1)),  # RFC 9110 section 2.5
        (b"get /a HTTP/1.1", (b"get", b"/a", b"", 1)),
        (b"M-SEARCH /a HTTP/1.1", (b"M-SEARCH", b"/a", b"", 1)),
        (b"x" * 32 + b" / HTTP/1.1", (b"x" * 32, b"/", b"", 1)),
        (b"OPTIONS * HTTP/1.1", (b"OPTIONS", b"*", b"", 1)),
        (b"GET //a/../%2F;x?? HTTP/1.1", (b"GET", b"//a/../%2F;x??", b"", 1)),
        (b"GET http://a.b:80/c?d HTTP/1.1", (b"GET", b"/c?d", b"a.b:80", 1)),
        (b"GET HTTPS://a.b HTTP/1.1", (b"GET", b"/", b"a.b", 1)),
        (b"GET http://a.b?d HTTP/1.1", (b"GET", b"/?d", b"a.b", 1)),
        (b"GET http://[::1]:8/ HTTP/1.1", (b"GET", b"/", b"[::1]:8", 1)),
    ],
)
def test_a_request_line_is_taken_apart(
    line: bytes, expected: tuple[bytes, bytes, bytes, int]
) -> None:
    assert parse_request_line(line) == expected


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"", 400),
        (b"GET", 400),
        (b"GET /", 400),  # HTTP/0.9
        (b"GET / HTTP/1.1 ", 400),
        (b" GET / HTTP/1.1", 400),
        (b"GET  / HTTP/1.1", 400),
        (b"GET /  HTTP/1.1", 400),
        (b"GET\t/\tHTTP/1.1", 400),
        (b"GET / a HTTP/1.1", 400),
        (b"GET / HTTP/1.01", 400),
        (b"GET / http/1.1", 400),
        (b"GET / HTTP/1", 400),
        (b"GET / HTTP/1.1\r", 400),
        (b"GET / HTTP/0.9", 505),
        (b"GET / HTTP/2.0", 505),
        (b"PRI * HTTP/2.0", 505),
        (b"G\x00T / HTTP/1.1", 400),
        (b"G,T / HTTP/1.1", 400),
        (b"G\xc3\x89T / HTTP/1.1", 400),
        (b"x" * 33 + b" / HTTP/1.1", 400),
        (b" / HTTP/1.1", 400),
        (b"CONNECT a:443 HTTP/1.1", 405),
        (b"TRACE / HTTP/1.1", 405),
        (b"GET * HTTP/1.1", 400),
        (b"GET a HTTP/1.1", 400),
        (b"GET ?a HTTP/1.1", 400),
        (b"GET ftp://a/ HTTP/1.1", 400),
        (b"GET http:///a HTTP/1.1", 400),
        (b"GET http://u@a/ HTTP/1.1", 400),
        (b"GET http://a..b/ HTTP/1.1", 400),
        (b"GET http://a/#b HTTP/1.1", 400),
        (b"GET /a#b HTTP/1.1", 400),
        (b"GET /\xff HTTP/1.1", 400),
        (b"GET /\x7f HTTP/1.1", 400),
        (b"GET /\n HTTP/1.1", 400),
    ],
)
def test_a_request_line_that_two_could_read_differently_is_refused(
    line: bytes, status: int
) -> None:
    with pytest.raises(DownstreamError) as caught:
        parse_request_line(line)
    assert caught.value.status == status


@given(st.binary(max_size=40))
def test_a_request_line_is_judged_and_never_breaks_the_parser(line: bytes) -> None:
    try:
        parsed = parse_request_line(line)
    except DownstreamError:
        return
    assert parsed.target[:1] in (b"/", b"*")
    assert parsed.target in line or parsed.authority


def test_an_absolute_target_names_the_host() -> None:
    line = parse_request_line(b"GET http://Other.Example:80/ HTTP/1.1")
    assert line.authority_host() == b"other.example"


# --- framing


@pytest.mark.parametrize(
    ("fields", "length", "chunked"),
    [
        ([], None, False),
        ([(b"Content-Length", b"0")], 0, False),
        ([(b"content-length", b"0012")], 12, False),
        ([(b"Content-Length", b"9" * 18)], int("9" * 18), False),
        ([(b"Transfer-Encoding", b"chunked")], None, True),
        ([(b"TRANSFER-ENCODING", b"Chunked")], None, True),
    ],
)
def test_a_body_has_one_framing(fields: Fields, length: int | None, chunked: bool) -> None:
    judged = block(*fields)
    assert (judged.content_length, judged.chunked) == (length, chunked)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([(b"Content-Length", b"")], 400),
        ([(b"Content-Length", b"+1")], 400),
        ([(b"Content-Length", b"-1")], 400),
        ([(b"Content-Length", b"1 ")], 400),
        ([(b"Content-Length", b"0x1")], 400),
        ([(b"Content-Length", b"1,1")], 400),
        ([(b"Content-Length", b"\xb2")], 400),
        ([(b"Content-Length", b"1" * 19)], 400),
        ([(b"Content-Length", b"1"), (b"Content-Length", b"1")], 400),
        ([(b"Content-Length", b"1"), (b"content-length", b"2")], 400),
        ([(b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"1")], 400),
        ([(b"Content-Length", b"1"), (b"Transfer-Encoding", b"chunked")], 400),
        ([(b"Transfer-Encoding", b"chunked"), (b"Transfer-Encoding", b"chunked")], 400),
        ([(b"Transfer-Encoding", b"")], 501),
        ([(b"Transfer-Encoding", b"xchunked")], 501),
        ([(b"Transfer-Encoding", b"identity")], 501),
        ([(b"Transfer-Encoding", b"gzip, chunked")], 501),
        ([(b"Transfer-Encoding", b"chunked, chunked")], 501),
        ([(b"Transfer-Encoding", b"chunked;a")], 501),
    ],
)
def test_an_ambiguous_framing_is_refused(fields: Fields, status: int) -> None:
    assert refused(*fields) == status


@pytest.mark.parametrize("name", [b"Host", b"Expect", b"Upgrade", b"Authorization"])
def test_fields_of_which_two_readers_could_take_different_ones_come_once(name: bytes) -> None:
    value = b"100-continue" if name == b"Expect" else b"a"
    assert refused((name, value), (name.lower(), value)) == 400


@pytest.mark.parametrize(
    ("fields", "minor", "accepted"),
    [
        ([HOST], 1, True),
        ([HOST], 0, True),
        ([], 0, True),
        ([], 1, False),  # RFC 9112 section 3.2
        ([HOST, (b"Transfer-Encoding", b"chunked")], 1, True),
        ([HOST, (b"Transfer-Encoding", b"chunked")], 0, False),  # RFC 9112 section 6.1
    ],
)
def test_some_rules_depend_on_the_version(fields: Fields, minor: int, accepted: bool) -> None:
    judged = HeaderBlock(fields, 10)
    line = RequestLine(b"GET", b"/", b"", minor)
    if accepted:
        judged.check_version(line)
        return
    with pytest.raises(DownstreamError) as caught:
        judged.check_version(line)
    assert caught.value.status == 400


def test_the_number_of_fields_has_a_bound() -> None:
    many = [(b"X-%d" % number, b"") for number in range(9)]
    assert block(*many, max_count=10).value(b"x-8") == b""
    with pytest.raises(DownstreamError) as caught:
        block(*many, (b"X", b""), max_count=10)
    assert caught.value.status == 431
    assert "11 header fields, at most 10" in caught.value.reason


# --- what is known of the fields


def test_a_value_is_found_by_its_lower_case_name() -> None:
    judged = block((b"X-A", b"1"), (b"x-a", b"2"), (b"Cookie", b"a=1"), (b"cookie", b"b=2"))
    assert judged.value(b"x-a") == b"1"  # nginx's $http_x_a of a repeated field
    assert judged.value(b"cookie") == b"a=1; b=2"
    assert judged.value(b"absent") == b""
    assert judged.host == b"matrix.example.org"


@pytest.mark.parametrize(
    ("fields", "close", "keep_alive"),
    [
        ([], False, False),
        ([b"close"], True, False),
        ([b"Keep-Alive"], False, True),
        ([b"keep-alive", b"x , Close"], True, True),
        ([b"upgrade,,close"], True, False),
        ([b"closed"], False, False),
    ],
)
def test_connection_options_are_read_over_all_fields(
    fields: list[bytes], close: bool, keep_alive: bool
) -> None:
    judged = block(*((b"Connection", value) for value in fields))
    assert (judged.connection_close, judged.connection_keep_alive) == (close, keep_alive)


@pytest.mark.parametrize("value", [b"100-continue", b"100-Continue"])
def test_an_expectation_of_100_is_known(value: bytes) -> None:
    assert block((b"Expect", value)).expect_continue


@pytest.mark.parametrize("value", [b"", b"200-ok", b"100-continue, x"])
def test_other_expectations_are_refused(value: bytes) -> None:
    assert refused((b"Expect", value)) == 417


@pytest.mark.parametrize(
    ("fields", "upgrade"),
    [
        ([(b"Upgrade", b"websocket"), (b"Connection", b"Upgrade")], b"websocket"),
        ([(b"Upgrade", b"websocket"), (b"Connection", b"keep-alive, upgrade")], b"websocket"),
        ([(b"Upgrade", b"websocket")], b""),
        ([(b"Connection", b"upgrade")], b""),
        ([(b"Upgrade", b""), (b"Connection", b"upgrade")], b""),
        ([(b"Upgrade", b"h2c"), (b"Connection", b"upgrade")], b""),
        ([(b"Upgrade", b"websocket, H2C"), (b"Connection", b"upgrade")], b""),
        (
            [(b"Upgrade", b"a"), (b"Connection", b"upgrade"), (b"Content-Length", b"1")],
            b"",
        ),
        (
            [(b"Upgrade", b"a"), (b"Connection", b"upgrade"), (b"Content-Length", b"0")],
            b"a",
        ),
        (
            [(b"Upgrade", b"a"), (b"Connection", b"upgrade"), (b"Transfer-Encoding", b"chunked")],
            b"",
        ),
    ],
)
def test_an_upgrade_is_honoured_when_asked_for_properly(fields: Fields, upgrade: bytes) -> None:
    judged = block(*fields)
    assert judged.upgrade == upgrade
    assert judged.value(b"upgrade") == upgrade  # $http_upgrade says the same


# --- what goes on to a server


def test_end_to_end_fields_go_on_in_their_order_and_case() -> None:
    assert forwarded((b"X-B", b"1"), (b"x-A", b""), (b"X-B", b"2")) == (
        b"Host: matrix.example.org\r\nX-B: 1\r\nx-A: \r\nX-B: 2\r\n"
    )


@pytest.mark.parametrize(
    "name", sorted(HOP_BY_HOP - {b"transfer-encoding"} | {b"content-length", b"expect"})
)
def test_fields_that_end_here_do_not_go_on(name: bytes) -> None:
    value = {b"content-length": b"1", b"expect": b"100-continue"}.get(name, b"x")
    assert name not in forwarded((name.title(), value)).lower()


def test_fields_that_connection_names_do_not_go_on() -> None:
    fields = [(b"X-Hop", b"1"), (b"X-Kept", b"2"), (b"Connection", b"close, X-HOP")]
    assert forwarded(*fields) == b"Host: matrix.example.org\r\nX-Kept: 2\r\n"


@pytest.mark.parametrize("name", sorted(NEVER_STRIPPED - {b"content-length"}))
def test_a_client_cannot_have_fields_removed_that_servers_judge_by(name: bytes) -> None:
    own = [] if name == b"host" else [(name, b"1")]
    assert b"%b: " % name in forwarded(*own, (b"Connection", name)).lower()


@pytest.mark.parametrize(
    "name", [b"X_Forwarded_For", b"Content_Length", b"Transfer_Encoding", b"_", b"Host_"]
)
def test_names_with_underscores_are_no_fields(name: bytes) -> None:
    judged = block((name, b"1"), (name, b"1"))
    assert forwarded((name, b"1")) == b"Host: matrix.example.org\r\n"
    assert judged.value(name.lower()) == b""
    assert (judged.content_length, judged.chunked) == (None, False)


@pytest.mark.parametrize(
    ("name", "shared"),
    [
        (b"User-Agent", True),
        (b"Authorization", False),
        (b"cookie", False),
        (b"Proxy-Authorization", False),
    ],
)
def test_fields_are_shared_between_clients_but_credentials_never(name: bytes, shared: bool) -> None:
    def line() -> bytes:
        value = b"".join([b"never", b" seen before"])  # a new object each time
        return block((name, value)).forwarded[-1][1]

    assert (line() is line()) is shared


NAMES = st.sampled_from(
    [
        b"Host",
        b"Connection",
        b"Cookie",
        b"X-A",
        b"x-a",
        b"TE",
        b"Upgrade",
        b"Content-Length",
        b"A_B",
    ]
)
VALUES = st.sampled_from([b"", b"a", b"close", b"X-A, close", b"upgrade", b"5", b"a.b", b"x" * 300])


@given(st.lists(st.tuples(NAMES, VALUES), max_size=8))
def test_a_block_seen_before_is_judged_as_before(fields: Fields) -> None:
    """Fields are remembered over all connections; what is remembered must not change."""

    def judge() -> object:
        try:
            judged = HeaderBlock(fields, 8)
        except DownstreamError as error:
            return error.status
        return (
            *(judged.forwarded, judged.host, judged.upgrade, judged.content_length),
            *(judged.connection_close, judged.connection_keep_alive),
            *(judged.value(name.lower()) for name, _ in fields),
        )

    assert judge() == judge()


@given(st.lists(st.tuples(NAMES, VALUES), max_size=8))
def test_no_field_goes_on_that_was_not_sent(fields: Fields) -> None:
    try:
        judged = HeaderBlock(fields, 8)
    except DownstreamError:
        return
    sent = [b"%b: %b\r\n" % field for field in fields]
    for lower, line in judged.forwarded:
        sent.remove(line)
        assert line.lower().startswith(lower + b": ")
        assert lower not in HOP_BY_HOP
