"""One client connection: where requests begin and end, and when it closes."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synproxy.core.limits import DISCARD_BODY, PIPELINED
from synproxy.errors import DownstreamError
from tests.protocol.clients import ANSWER, REFUSAL, FakeHandler, receive

HOST = b"Host: a\r\n"
GET = b"GET /1 HTTP/1.1\r\n" + HOST + b"\r\n"
POST = b"POST /2 HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"PUT /3 HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    b"3;x\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n"
)


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


WHOLE_AND_BYTEWISE = pytest.mark.parametrize(
    "cut", [lambda data: [data], bytewise], ids=["whole", "byte by byte"]
)


def seen(handler: FakeHandler) -> list[tuple[bytes, bytes, bytes, bool]]:
    """Method, target, body and end of every request."""
    return [(e.line.method, e.line.target, e.body, e.complete) for e in handler.exchanges]


LONGER = POST.replace(b"5", b"11").replace(b"hello", b"hello again")
OTHER = POST.replace(b"Host: a", b"Host: b")
"""As ``POST``, but for the length, and but for another field."""


@WHOLE_AND_BYTEWISE
@pytest.mark.parametrize(
    ("data", "requests"),
    [
        (GET, [(b"GET", b"/1", b"")]),
        (POST, [(b"POST", b"/2", b"hello")]),
        (CHUNKED, [(b"PUT", b"/3", b"abcde")]),
        (b"\r\n" + GET, [(b"GET", b"/1", b"")]),  # RFC 9112 section 2.2
        (GET * 3, [(b"GET", b"/1", b"")] * 3),
        (
            POST + CHUNKED + GET + POST,
            [
                (b"POST", b"/2", b"hello"),
                (b"PUT", b"/3", b"abcde"),
                (b"GET", b"/1", b""),
                (b"POST", b"/2", b"hello"),
            ],
        ),
        # A body that looks like a request is a body.
        (POST.replace(b"5", b"%d" % len(GET)).replace(b"hello", GET), [(b"POST", b"/2", GET)]),
    ],
)
async def test_requests_are_told_apart(
    data: bytes, requests: list[tuple[bytes, bytes, bytes]], cut: Any
) -> None:
    handler = FakeHandler()
    transport = handler.connect()
    await receive(transport, *cut(data))
    assert seen(handler) == [(*request, True) for request in requests]
    assert transport.written == ANSWER * len(requests)
    assert not transport.closed


@WHOLE_AND_BYTEWISE
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX y: z\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n X: folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
        (b"GET /\x00 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),  # a TLS hello
        (b"\r\n\r\nGET / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"CONNECT a:443 HTTP/1.1\r\n" + HOST + b"\r\n", 405),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: x\r\n\r\n", 501),
        (b"GET /" + b"a" * 2000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
        (b"GET /" + b"a" * 2000, 414),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 1100 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 500 + b"\r\n" * 1 + b"Y: 1\r\n" * 600, 431),
        (b"GET / HTTP/1.1\r\n" + HOST + b"A: 1\r\n" * 12 + b"\r\n", 431),
    ],
)
async def test_a_head_that_is_none_is_refused_and_nothing_after_it_is_read(
    data: bytes, status: int, cut: Any
) -> None:
    handler = FakeHandler(large_client_header_buffers="4 1k", max_header_count=10)
    transport = handler.connect()
    await receive(transport, *cut(data), GET)
    assert [error.status for error in handler.refused] == [status]
    assert handler.exchanges == []
    assert transport.written == REFUSAL
    assert transport.eof_written
    handler.pass_time(handler.settings.lingering_timeout + 1)
    assert transport.aborted


@WHOLE_AND_BYTEWISE
@pytest.mark.parametrize(
    "body", [b"x\r\n", b"3\r\nabcX\r\n", b"1 \r\na\r\n", b"0\r\nContent-Length: 5\r\n\r\n"]
)
async def test_a_bad_chunk_is_a_bad_request(body: bytes, cut: Any) -> None:
    handler = FakeHandler()
    transport = handler.connect()
    await receive(transport, *cut(CHUNKED.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" + body), GET)
    (exchange,) = handler.exchanges
    assert exchange.error is not None
    assert exchange.error.status == 400
    assert not exchange.complete


# --- answers before and after the request


@WHOLE_AND_BYTEWISE
async def test_fields_that_come_again_belong_to_the_request_they_came_with(cut: Any) -> None:
    """Of the last request, and of the last one with a body, the fields are remembered."""
    handler = FakeHandler(at_once=False)
    transport = handler.connect()
    sent = [POST, LONGER, GET, LONGER, GET, POST, OTHER, GET, OTHER, POST, CHUNKED, POST, GET]
    for request in sent:
        await receive(transport, *cut(request))
        exchange = handler.exchanges[-1]
        _, _, rest = request.partition(b"\r\n")
        head, _, body = rest.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ") for line in head.split(b"\r\n"))
        block = exchange.block
        assert {name: block.value(name) for name in (b"host", *fields)} == fields
        if b"content-length" in fields:
            assert (block.content_length, exchange.body) == (len(body), body)
        else:
            assert block.content_length is None
        exchange.answer()
    assert len(handler.exchanges) == len(sent)
    assert not transport.closed


async def test_what_comes_while_a_request_is_answered_waits() -> None:
    handler = FakeHandler(at_once=False)
    transport = handler.connect()
    await receive(transport, GET + POST, GET)
    assert len(handler.exchanges) == 1
    handler.exchanges[0].answer()
    await receive(transport)
    assert [exchange.line.target for exchange in handler.exchanges] == [b"/1", b"/2"]
    handler.exchanges[1].answer()
    await receive(transport)
    assert [exchange.line.target for exchange in handler.exchanges] == [b"/1", b"/2", b"/1"]


async def test_a_long_pipeline_is_not_read_further() -> None:
    handler = FakeHandler(at_once=False)
    transport = handler.connect()
    await receive(transport, GET, GET * (PIPELINED // len(GET)))
    assert transport.reading
    await receive(transport, GET)
    assert not transport.reading
    handler.exchanges[0].answer()
    await receive(transport)
    assert transport.reading
    assert len(handler.exchanges) == 2


async def test_a_long_pipeline_is_answered_in_order_and_without_a_deep_stack() -> None:
    handler = FakeHandler(keepalive_requests=5000)
    transport = handler.connect()
    await receive(transport, GET * 1500)
    for _ in range(40):
        await receive(transport)
    assert len(handler.exchanges) == 1500
    assert transport.written == ANSWER * 1500


@pytest.mark.parametrize(
    ("head", "reads_on"),
    [
        (b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % DISCARD_BODY, True),
        (b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % (DISCARD_BODY + 1), False),
        (b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n", False),
        (
            b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n",
            False,
        ),
    ],
)
async def test_a_body_that_nobody_wants_is_dropped_if_it_is_small(
    head: bytes, reads_on: bool
) -> None:
    handler = FakeHandler(at_once=False)
    transport = handler.connect()
    await receive(transport, head)
    (exchange,) = handler.exchanges
    assert exchange.client.body_unread
    exchange.answer()
    assert transport.eof_written is not reads_on
    await receive(transport, bytes(DISCARD_BODY) + GET)
    assert (len(handler.exchanges) == 2) is reads_on
    assert exchange.body == b""


# --- when it closes


@pytest.mark.parametrize(
    ("request_is", "keeps"),
    [
        (GET, True),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Connection: keep-alive\r\n\r\n", True),
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", True),
    ],
)
async def test_a_connection_lives_on_if_both_want_it(request_is: bytes, keeps: bool) -> None:
    handler = FakeHandler()
    transport = handler.connect()
    await receive(transport, request_is)
    assert transport.written == ANSWER
    assert transport.closed is not keeps


async def test_keepalive_requests_bounds_the_requests_of_a_connection() -> None:
    handler = FakeHandler(keepalive_requests=2)
    transport = handler.connect()
    await receive(transport, GET * 3)
    assert transport.written == ANSWER * 2
    assert transport.closed


async def test_a_drain_closes_idle_connections_and_lets_requests_end() -> None:
    handler = FakeHandler(at_once=False)
    idle, busy = handler.connect(), handler.connect()
    await receive(busy, GET)
    handler.draining = True
    for connection in list(handler.connections):
        connection.shut_down_idle()
    assert (idle.closed, busy.closed) == (True, False)
    handler.exchanges[0].answer()
    assert (bytes(busy.written), busy.closed) == (ANSWER, True)


async def test_a_drain_answers_what_was_pipelined() -> None:
    handler = FakeHandler(at_once=False)
    transport = handler.connect()
    await receive(transport, GET * 2)
    handler.draining = True
    handler.exchanges[0].answer()
    await receive(transport)
    handler.exchanges[1].answer()
    assert (bytes(transport.written), transport.closed) == (ANSWER * 2, True)


async def test_a_client_that_leaves_is_forgotten() -> None:
    handler = FakeHandler(at_once=False)
    transport = handler.connect()
    await receive(transport, GET)
    assert len(handler.connections) == 1
    transport.end()
    assert handler.exchanges[0].gone == "client_gone"
    assert (len(handler.connections), len(handler.wheel)) == (0, 0)


@pytest.mark.parametrize("kept", [True, False])
async def test_a_client_that_half_closes_is_answered_if_the_exchange_wants_it(kept: bool) -> None:
    handler = FakeHandler(at_once=False)
    transport = handler.connect()
    await receive(transport, GET)
    (exchange,) = handler.exchanges
    exchange.keeps_half_closed = kept
    assert exchange.client.eof_received() is kept
    if kept:
        exchange.answer()
        assert (bytes(transport.written), transport.closed) == (ANSWER, True)


async def test_pipelined_requests_before_a_half_close_are_answered() -> None:
    handler = FakeHandler(at_once=False)
    transport = handler.connect()
    await receive(transport, GET * 2)
    assert handler.exchanges[0].client.eof_received()
    handler.exchanges[0].answer()
    await receive(transport)
    handler.exchanges[1].answer()
    assert (bytes(transport.written), transport.closed) == (ANSWER * 2, True)


async def test_a_refused_client_is_read_on_so_that_it_can_read_the_answer() -> None:
    handler = FakeHandler()
    transport = handler.connect()
    await receive(transport, CHUNKED[:-7])
    (exchange,) = handler.exchanges
    exchange.client.pause_reading()  # the server was slow
    exchange.bad_request(DownstreamError(413, "too large"))
    assert transport.reading
    await receive(transport, b"x" * 1000)
    assert (bytes(transport.written), transport.closed) == (REFUSAL, False)


# --- time


@pytest.mark.parametrize(
    ("received", "setting"),
    [
        (b"", "client_header_timeout"),
        (b"G", "client_header_timeout"),
        (GET[:-1], "client_header_timeout"),
        (GET, "keepalive_timeout"),
        (POST[:-1], "client_body_timeout"),
        (GET + POST[:-1], "client_body_timeout"),
    ],
)
async def test_a_silent_client_is_given_up_in_its_time(received: bytes, setting: str) -> None:
    times = dict.fromkeys(("client_header_timeout", "keepalive_timeout", "client_body_timeout"), 99)
    settings: dict[str, Any] = {**times, setting: 10, "lingering_timeout": 1}
    handler = FakeHandler(**settings)
    transport = handler.connect()
    await receive(transport, received)
    before = bytes(transport.written)
    handler.pass_time(9)
    assert not transport.closed
    handler.pass_time(4)
    assert transport.closed
    refusals = transport.written.removeprefix(before)
    if received in (b"", GET):
        assert refusals == b""
    else:
        assert refusals == REFUSAL
        errors = [*handler.refused, *(e.error for e in handler.exchanges if e.error)]
        assert [error.status for error in errors] == [408]


async def test_a_head_has_its_time_as_a_whole() -> None:
    handler = FakeHandler(client_header_timeout=10)
    transport = handler.connect()
    for byte in bytewise(GET):
        await receive(transport, byte)
        handler.pass_time(2)
    assert [error.status for error in handler.refused] == [408]


async def test_a_body_has_time_as_long_as_it_comes() -> None:
    handler = FakeHandler(client_body_timeout=10)
    transport = handler.connect()
    for byte in bytewise(POST):
        await receive(transport, byte)
        handler.pass_time(1)
    assert transport.written == ANSWER


async def test_a_held_request_has_no_time_limit_here() -> None:
    handler = FakeHandler(at_once=False)
    transport = handler.connect()
    await receive(transport, GET)
    handler.pass_time(3600)
    assert (handler.exchanges[0].gone, transport.closed) == ("", False)


async def test_a_client_that_reads_nothing_is_given_up_after_send_timeout() -> None:
    handler = FakeHandler(at_once=False, send_timeout=10)
    transport = handler.connect()
    await receive(transport, GET)
    (exchange,) = handler.exchanges
    exchange.client.pause_writing()
    handler.pass_time(8)
    exchange.client.resume_writing()
    exchange.client.pause_writing()
    handler.pass_time(8)
    assert exchange.gone == ""
    handler.pass_time(4)
    assert exchange.gone == "client_timeout"
    assert transport.aborted
    assert exchange.writable == [False, True, False]


async def test_a_request_that_comes_while_answers_wait_for_their_reader_is_taken() -> None:
    handler = FakeHandler()
    transport = handler.connect()
    await receive(transport, GET)
    handler.exchanges[0].client.pause_writing()
    await receive(transport, GET)
    assert len(handler.exchanges) == 2


@pytest.mark.parametrize("closing", [False, True])
async def test_a_client_that_reads_on_has_all_the_time(closing: bool) -> None:
    """nginx counts send_timeout from one write to the next, not for all that is buffered."""
    handler = FakeHandler(at_once=False, send_timeout=10)
    transport = handler.connect()
    await receive(transport, GET)
    (exchange,) = handler.exchanges
    transport.unsent = 100
    if closing:
        exchange.client.close()
    else:
        exchange.client.pause_writing()
    for unsent in (90, 50, 10):
        transport.unsent = unsent
        handler.pass_time(11)
        assert not transport.aborted
    handler.pass_time(11)
    assert transport.aborted
    assert exchange.gone == ("" if closing else "client_timeout")


# --- tunnels


async def test_a_tunnel_passes_on_what_comes_early_and_late() -> None:
    handler = FakeHandler(at_once=False)
    transport = handler.connect()
    await receive(transport, GET + b"early")
    (exchange,) = handler.exchanges
    assert exchange.client.start_tunnel() == b"early"
    await receive(transport, b"later", GET)
    assert exchange.tunnel == b"later" + GET
    assert len(handler.exchanges) == 1


# --- a head that is remembered is the head that is computed

HEADS = st.sampled_from(
    [
        GET,
        GET.replace(b"/1", b"/other?x=%2F"),
        GET.replace(b"GET", b"OPTIONS"),
        GET.replace(b"1.1\r\n", b"1.0\r\n"),
        GET.replace(HOST, HOST + b"X: 1\r\n"),
        GET.replace(HOST, HOST + b"X: 2\r\n"),
        GET.replace(HOST, HOST + b"Connection: close\r\n"),
        GET.replace(HOST, b""),
        GET.replace(b"/1 ", b"/1  "),
        GET.replace(b"/1", b"http://b/1"),
        POST,
        POST.replace(b"hello", HOST),
        CHUNKED,
        b"\r\n" + GET,
        # A body that ends as the head before it did.
        POST.replace(b"Content-Length: 5\r\n\r\nhello", b"Content-Length: 11\r\n\r\n")
        + HOST
        + b"\r\n",
        GET.replace(b" HTTP/1.1\r\n" + HOST, b" HTTP/1.1\r\nX: y\r\n\r\n" + HOST),
    ]
)


async def behaviour(pieces: list[bytes]) -> object:
    handler = FakeHandler()
    transport = handler.connect()
    await receive(transport, *pieces)
    return (
        seen(handler),
        [(e.line, e.block.forwarded, e.block.host) for e in handler.exchanges],
        [error.status for error in handler.refused],
        bytes(transport.written),
        transport.closed or transport.eof_written,
    )


@given(st.lists(HEADS, min_size=1, max_size=5), st.lists(st.integers(0, 400), max_size=4))
def test_however_requests_are_cut_they_are_the_same_requests(
    requests: list[bytes], places: list[int]
) -> None:
    data = b"".join(requests)
    edges = sorted({0, *(min(place, len(data)) for place in places), len(data)})
    whole = asyncio.run(behaviour([data]))
    assert asyncio.run(behaviour([data[a:b] for a, b in pairwise(edges)])) == whole
    assert asyncio.run(behaviour(requests)) == whole  # as clients send them
