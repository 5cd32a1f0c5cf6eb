"""One connection of HTTP/2, in front of a client that keeps the rules: bodies, windows, the end."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from synproxy.downstream.http2 import CONNECTION_WINDOW, STREAM_WINDOW
from synproxy.wire import hpack
from tests.protocol.http2_clients import Conversation, FakeHttp2Handler, Wire
from tests.support import http2
from tests.support.http2 import Answer, Http2Client, block, frame, get

NO_ERROR, FLOW_CONTROL_ERROR, REFUSED_STREAM, CANCEL, CALM = 0, 3, 7, 8, 11
LARGE = bytes(range(256)) * 1024
"""256 KiB, which no window takes at once."""


def small(stream: int) -> bytes:
    """A whole request."""
    return frame(http2.HEADERS, http2.END_HEADERS | http2.END_STREAM, stream, block(get()))


# --- requests and answers


def test_requests_are_answered_each_on_its_stream() -> None:
    told = Conversation(FakeHttp2Handler(at_once=False))
    streams = [told.ask((b"x-number", b"%d" % number)) for number in range(3)]
    for exchange in reversed(told.handler.asked):
        exchange.answer(exchange.block.value(b"x-number"))
        told.pass_on()
    for number, stream in enumerate(streams):
        answer = told.client.answers[stream]
        assert (answer.status, answer.body, answer.ended) == (200, b"%d" % number, True)
    assert not told.connection.streams


def test_what_a_request_is_in_the_words_of_http_1() -> None:
    told = Conversation(FakeHttp2Handler(at_once=False))
    told.client.request(
        get(
            b"/a?b=c",
            (b"cookie", b"a=b"),
            (b"x-one", b"1"),
            (b"cookie", b"c=d"),
            (b"x_two", b"2"),
            method=b"PATCH",
        )
    )
    told.pass_on()
    (exchange,) = told.handler.asked
    assert exchange.line[:3] == (b"PATCH", b"/a?b=c", b"")
    block_ = exchange.block
    assert block_.host == b"a.example"
    assert block_.value(b"host") == b"a.example"
    assert block_.value(b"cookie") == b"a=b; c=d"  # RFC 9113 section 8.2.3
    assert block_.value(b"x-one") == b"1"
    assert block_.value(b"x_two") == b""  # nginx underscores_in_headers off
    assert not block_.chunked
    assert block_.content_length is None


@pytest.mark.parametrize(
    ("fields", "chunked", "length"),
    [((), True, None), (((b"content-length", b"5"),), False, 5)],
)
def test_a_body_without_a_length_is_chunked_for_the_server(
    fields: tuple[tuple[bytes, bytes], ...], chunked: bool, length: int | None
) -> None:
    told = Conversation(FakeHttp2Handler(at_once=False))
    told.client.request(get(b"/", *fields, method=b"POST"), b"hello")
    told.pass_on()
    (exchange,) = told.handler.asked
    assert (exchange.block.chunked, exchange.block.content_length) == (chunked, length)
    assert (exchange.body, exchange.complete) == (b"hello", True)


def test_an_answer_may_come_before_the_body() -> None:
    """RFC 9113 section 8.1: what is left of the request is not wanted, and that is no error."""
    told = Conversation(FakeHttp2Handler(at_once=False))
    stream = told.ask(body=b"begin", end=False)
    told.handler.asked[0].answer(b"too large", 413)
    told.pass_on()
    assert told.client.answers[stream] == Answer(
        413, {b"content-length": b"9"}, [], b"too large", True, NO_ERROR
    )
    assert not told.connection.streams
    # What was on its way meanwhile does no harm.
    told.send(frame(http2.DATA, 0, stream, b"x" * 100), small(stream + 2))
    assert told.handler.asked[1].line.target == b"/"
    assert told.client.gone is None


@pytest.mark.parametrize("length", [0, 1, 16384, 16385, 65535, 65536, len(LARGE)])
def test_an_answer_of_any_length_comes_whole(length: int) -> None:
    told = Conversation(FakeHttp2Handler(at_once=False))
    stream = told.ask()
    told.handler.asked[0].answer(LARGE[:length])
    told.pass_on()
    answer = told.client.answers[stream]
    assert answer.body == LARGE[:length]
    assert answer.ended
    assert not told.connection.streams


def test_a_hundred_answers_share_the_connection_fairly() -> None:
    """No stream waits until another has had all."""
    told = Conversation(FakeHttp2Handler(at_once=False), Http2Client(reads=False))
    streams = [told.ask() for _ in range(4)]
    for exchange in told.handler.asked:
        exchange.answer(LARGE[:65535])
    told.pass_on()  # 65535 bytes for all: the window of the connection
    bodies = [len(told.client.answers[stream].body) for stream in streams]
    assert sum(bodies) == 65535
    told.client.h2.increment_flow_control_window(65536)
    told.pass_on()
    bodies = [len(told.client.answers[stream].body) for stream in streams]
    assert min(bodies) >= 16384
    assert sum(bodies) == 2 * 65535 + 1


def test_a_header_block_of_many_frames_is_read() -> None:
    told = Conversation(FakeHttp2Handler(at_once=False))
    fields = [(b"x-%d" % number, b"%d" % number * 260) for number in range(60)]
    told.ask(*fields)
    (exchange,) = told.handler.asked
    assert [exchange.block.value(name) for name, _ in fields] == [value for _, value in fields]


# --- flow control, both ways


def test_a_slow_reader_stops_its_server_and_no_other() -> None:
    told = Conversation(FakeHttp2Handler(at_once=False), Http2Client(window=10_000, reads=False))
    slow, quick = told.ask(), told.ask()
    first, second = told.handler.asked
    first.begin_answer()
    first.stream.send(LARGE, end=False)
    told.pass_on()
    assert told.client.answers[slow].body == LARGE[:10_000]
    assert first.writable == [False]
    second.answer()
    told.pass_on()
    assert told.client.answers[quick].body == b"ok"
    # It reads on, and its server may go on when little is left.
    told.client.h2.increment_flow_control_window(len(LARGE))
    told.client.h2.increment_flow_control_window(len(LARGE), slow)
    told.pass_on()
    assert told.client.answers[slow].body == LARGE
    assert first.writable == [False, True]
    first.stream.send(b"end", end=True)
    first.stream.finish()
    told.pass_on()
    assert told.client.answers[slow].body == LARGE + b"end"
    assert told.client.answers[slow].ended


def test_a_client_that_does_not_read_its_socket_is_not_read_either() -> None:
    """Or its pings would be answered into memory without end (CVE-2019-9512)."""
    told = Conversation(FakeHttp2Handler(at_once=False))
    told.ask()
    told.connection.pause_writing()
    assert not told.transport.reading
    exchange = told.handler.asked[0]
    exchange.begin_answer()
    told.transport.written.clear()
    exchange.stream.send(LARGE, end=False)
    assert not told.transport.written  # nor is anything added to what its socket does not take
    assert exchange.writable == [False]
    told.connection.resume_writing()
    assert told.transport.reading
    assert told.transport.written


def test_a_body_is_taken_no_faster_than_the_server_takes_it() -> None:
    told = Conversation(FakeHttp2Handler(at_once=False))
    stream = told.client.request(get(b"/", method=b"POST"), None, end=False)
    told.pass_on()
    (exchange,) = told.handler.asked
    exchange.stream.pause_reading()
    sent = 0
    while window := min(told.client.h2.local_flow_control_window(stream), 16384):
        told.client.h2.send_data(stream, bytes(window))
        sent += window
        told.pass_on()
    assert sent <= STREAM_WINDOW
    exchange.stream.resume_reading()
    told.pass_on()
    assert told.client.h2.local_flow_control_window(stream) > 0
    assert len(exchange.body) == sent
    told.client.h2.end_stream(stream)
    told.pass_on()
    assert exchange.complete


def test_bodies_that_nobody_takes_are_bounded_for_all_streams_together() -> None:
    told = Conversation(FakeHttp2Handler(at_once=False))
    sent = 0
    for _ in range(20):
        stream = told.client.request(get(b"/", method=b"POST"), None, end=False)
        told.pass_on()
        told.handler.asked[-1].stream.pause_reading()
        while window := min(told.client.h2.local_flow_control_window(stream), 16384):
            told.client.h2.send_data(stream, bytes(window))
            sent += window
            told.pass_on()
    assert sent == CONNECTION_WINDOW
    for exchange in told.handler.asked:  # and nothing of the window is lost for ever
        exchange.stream.resume_reading()
    told.pass_on()
    assert told.client.h2.outbound_flow_control_window >= CONNECTION_WINDOW // 2


def test_bodies_that_are_dropped_give_the_window_of_the_connection_back() -> None:
    told = Conversation(FakeHttp2Handler(at_once=False))
    for _ in range(40):
        stream = told.client.request(get(b"/", method=b"POST"), None, end=False)
        told.pass_on()
        exchange = told.handler.asked[-1]
        exchange.stream.pause_reading()
        while told.client.h2.local_flow_control_window(stream) >= 16384:
            told.client.h2.send_data(stream, bytes(16384))
            if exchange.stream.queued:
                break
            told.pass_on()
            if told.client.h2.local_flow_control_window(stream) < STREAM_WINDOW - 100_000:
                break
        told.client.h2.reset_stream(stream, CANCEL)
        told.pass_on()
        assert exchange.gone == "client_gone"
    assert told.client.h2.outbound_flow_control_window > 0
    assert told.client.gone is None


@pytest.mark.parametrize("stream_only", [True, False], ids=["stream", "connection"])
def test_more_than_a_window_is_an_error(stream_only: bool) -> None:
    wire = Wire(FakeHttp2Handler(at_once=False))
    post = frame(http2.HEADERS, http2.END_HEADERS, 1, block(get(b"/", method=b"POST")))
    wire.send(post)
    streams = [1]
    wire.handler.asked[0].stream.pause_reading()
    if not stream_only:
        for number in range(3, 12, 2):
            wire.send(frame(http2.HEADERS, http2.END_HEADERS, number, post[9:]))
            wire.handler.asked[-1].stream.pause_reading()
            streams.append(number)
    for number in streams:
        for _ in range(STREAM_WINDOW // 16384 + (1 if stream_only else 0)):
            wire.send(frame(http2.DATA, 0, number, bytes(16384)))
    if stream_only:
        assert wire.resets == [(1, FLOW_CONTROL_ERROR)]
        assert wire.gone is None
    else:
        assert wire.gone == FLOW_CONTROL_ERROR


# --- what clients may not do again and again


FLOODS: dict[str, bytes] = {
    "PING": frame(http2.PING, 0, 0, bytes(8)),
    "SETTINGS": http2.settings(),
    "SETTINGS of windows": http2.settings((4, 65535)),
    "PRIORITY": frame(http2.PRIORITY, 0, 1, bytes(4) + b"\x01"),
    "unknown frames": frame(0x42, 0, 0, b"x"),
    "GOAWAY": frame(http2.GOAWAY, 0, 0, bytes(8)),
    "WINDOW_UPDATE": frame(http2.WINDOW_UPDATE, 0, 0, http2.number(1)),
    "WINDOW_UPDATE of a stream that has ended": frame(http2.WINDOW_UPDATE, 0, 1, http2.number(1)),
    "RST_STREAM": frame(http2.RST_STREAM, 0, 1, http2.number(8)),
    "empty DATA": frame(http2.DATA, 0, 3, b""),
    "DATA of padding": frame(http2.DATA, http2.PADDED, 3, b"\x03" + bytes(3)),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_of_frames_that_ask_for_nothing_is_the_end(flood: str) -> None:
    """CVE-2019-9512, 9515, 9518 and the like."""
    wire = Wire()
    wire.send(small(1), frame(http2.HEADERS, http2.END_HEADERS, 3, block(get(method=b"POST"))))
    for _ in range(40):
        wire.send(FLOODS[flood] * 100)
        if wire.over:
            break
    assert wire.gone == CALM
    assert len(wire.transport.written) < 40_000


@pytest.mark.parametrize("flood", FLOODS)
def test_a_few_of_them_are_no_flood(flood: str) -> None:
    wire = Wire()
    wire.send(small(1), frame(http2.HEADERS, http2.END_HEADERS, 3, block(get(method=b"POST"))))
    for _ in range(20):
        wire.send(FLOODS[flood] * 20)
        wire.handler.pass_time(2.0)
    assert wire.gone is None


LATE: dict[str, bytes] = {
    "DATA": frame(http2.DATA, 0, 3, b""),
    "trailers": frame(
        http2.HEADERS, http2.END_HEADERS | http2.END_STREAM, 3, block([(b"x", b"1")])
    ),
    "WINDOW_UPDATE": frame(http2.WINDOW_UPDATE, 0, 3, http2.number(1)),
}


@pytest.mark.parametrize("flood", LATE)
def test_frames_of_a_stream_that_we_have_reset_are_no_way_around(flood: str) -> None:
    wire = Wire(FakeHttp2Handler(at_once=False))
    wire.send(small(1), frame(http2.HEADERS, http2.END_HEADERS, 3, block(get(method=b"POST"))))
    wire.handler.asked[1].answer(b"no", 413)
    wire.send(LATE[flood] * 3)
    assert wire.gone is None
    for _ in range(40):
        wire.send(LATE[flood] * 100)
        if wire.over:
            break
    assert wire.gone == CALM


def test_requests_after_the_goaway_are_no_way_around() -> None:
    wire = Wire(FakeHttp2Handler(at_once=False))
    wire.send(small(1))
    (connection,) = wire.handler.connections
    connection.shut_down_idle()
    for number in range(3, 4001, 2):
        wire.send(small(number))
        if wire.over:
            break
    assert wire.goaways[-1][0] == CALM
    assert [exchange.gone for exchange in wire.handler.asked] == ["client_error"]


def test_a_window_that_opens_by_a_byte_each_time_is_the_end() -> None:
    """Data dribble, CVE-2019-9511: work for a frame, to send a byte."""
    wire = Wire(FakeHttp2Handler(at_once=False))
    wire.send(http2.settings((4, 0)), small(1))
    wire.handler.asked[0].answer(LARGE)
    for _ in range(4000):
        wire.send(frame(http2.WINDOW_UPDATE, 0, 1, http2.number(1)))
        if wire.over:
            break
    assert wire.gone == CALM


def test_requests_that_are_taken_back_at_once_are_the_end() -> None:
    """Rapid reset, CVE-2023-44487."""
    wire = Wire(FakeHttp2Handler(at_once=False))
    cancel = [frame(http2.RST_STREAM, 0, n, http2.number(8)) for n in range(1, 4001, 2)]
    for number, taken_back in zip(range(1, 4001, 2), cancel, strict=True):
        wire.send(small(number) + taken_back)
    assert wire.gone == CALM
    assert len(wire.handler.asked) < 1000
    assert all(exchange.gone for exchange in wire.handler.asked)


def test_a_client_that_often_says_what_it_has_read_is_no_flood() -> None:
    """Two WINDOW_UPDATE for each piece of a long answer whose server is slower than the client."""
    told = Conversation(FakeHttp2Handler(at_once=False))
    stream = told.ask()
    (exchange,) = told.handler.asked
    exchange.begin_answer()
    for _ in range(500):
        exchange.stream.send(LARGE[:512], end=False)
        told.pass_on()
        told.send(
            frame(http2.WINDOW_UPDATE, 0, 0, http2.number(1)),
            frame(http2.WINDOW_UPDATE, 0, stream, http2.number(1)),
        )
    assert told.client.gone is None
    assert len(told.client.answers[stream].body) == 512 * 500


PROVOCATIONS: dict[str, Callable[[int], bytes]] = {
    "a window of 0": lambda stream: frame(http2.WINDOW_UPDATE, 0, stream, http2.number(0)),
    "a window too large": lambda stream: frame(
        http2.WINDOW_UPDATE, 0, stream, http2.number(2**31 - 1)
    ),
    "DATA after the end": lambda stream: frame(http2.DATA, http2.END_STREAM, stream, b"x") * 2,
    "another length than announced": lambda stream: frame(
        http2.DATA, 0, stream, b"more than nothing"
    ),
    "trailers that do not end": lambda stream: frame(
        http2.HEADERS, http2.END_HEADERS, stream, block([(b"x", b"1")])
    ),
}


@pytest.mark.parametrize("provocation", PROVOCATIONS)
def test_resets_that_a_client_provokes_count_as_its_own(provocation: str) -> None:
    """MadeYouReset, CVE-2025-8671."""
    wire = Wire(FakeHttp2Handler(at_once=False))
    post = block(get(b"/", (b"content-length", b"1"), method=b"POST"))
    for number in range(1, 4001, 2):
        wire.send(frame(http2.HEADERS, http2.END_HEADERS, number, post))
        wire.send(PROVOCATIONS[provocation](number))
        if wire.over:
            break
    assert wire.gone == CALM
    assert len(wire.handler.asked) < 1000
    assert all(exchange.over for exchange in wire.handler.asked)


def test_a_client_that_cancels_now_and_then_is_welcome() -> None:
    """A browser that leaves a page cancels all that it has asked for."""
    told = Conversation(FakeHttp2Handler(at_once=False))
    for _ in range(5):
        streams = [told.ask() for _ in range(100)]
        for stream in streams:
            told.client.h2.reset_stream(stream, CANCEL)
        told.pass_on()
        told.handler.pass_time(10.0)
    assert told.client.gone is None
    told.handler.at_once = True
    assert told.client.answers[told.ask()].body == b"ok"


@pytest.mark.parametrize("payload", [b"", b"\x82", block(get())])
def test_a_header_block_that_never_ends_is_the_end(payload: bytes) -> None:
    """CONTINUATION floods, CVE-2024-27316."""
    wire = Wire()
    wire.send(frame(http2.HEADERS, http2.END_STREAM, 1, block(get())))
    for _ in range(40):
        wire.send(frame(http2.CONTINUATION, 0, 1, payload) * 100)
        if wire.over:
            break
    assert wire.gone == CALM


def test_a_header_block_that_does_not_go_on_is_waited_for_as_a_head_is() -> None:
    wire = Wire(FakeHttp2Handler(client_header_timeout="5s"))
    wire.send(frame(http2.HEADERS, http2.END_STREAM, 1, block(get())))
    wire.handler.pass_time(6.0)
    assert wire.over


@pytest.mark.parametrize(("fields", "status"), [(4, None), (5, 431)])
def test_a_head_is_no_longer_than_in_http_1(fields: int, status: int | None) -> None:
    """32 KiB by ``large_client_header_buffers``; twice as much would be the end."""
    told = Conversation(FakeHttp2Handler(at_once=False))
    told.ask(*[(b"x-%d" % number, b"a" * 8000) for number in range(fields)])
    assert [error.status for error in told.handler.refused] == ([status] if status else [])
    assert told.client.gone is None
    assert told.client.answers[told.ask()].reset is None
    assert told.handler.asked


@pytest.mark.parametrize("size", [3000, 4000])
def test_a_block_that_grows_is_bounded(size: int) -> None:
    """HPACK bombs: one long field in the table, and a byte for each time it is meant."""
    wire = Wire()
    long = b"\x40" + b"\x01x" + b"\x7f" + _rest(size, 127) + b"a" * size
    wire.send(frame(http2.HEADERS, 5, 1, block(get()) + long + b"\xbe" * 12_000))
    assert wire.gone == CALM
    assert wire.handler.asked == []


def _rest(value: int, limit: int) -> bytes:
    """The bytes after the prefix of an integer (RFC 7541 section 5.1)."""
    value -= limit
    out = bytearray()
    while value >= 128:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def test_more_streams_than_allowed_are_refused_and_may_come_again() -> None:
    handler = FakeHttp2Handler(at_once=False, http2_max_concurrent_streams=3)
    wire = Wire(handler)
    wire.send(*(small(number) for number in (1, 3, 5, 7)))
    assert wire.resets == [(7, REFUSED_STREAM)]
    assert len(handler.asked) == 3
    handler.asked[0].answer()
    wire.send(small(9))
    assert len(handler.asked) == 4


# --- the end of streams and connections


def test_a_request_that_the_client_takes_back_is_over() -> None:
    told = Conversation(FakeHttp2Handler(at_once=False))
    stream, other = told.ask(), told.ask()
    told.client.h2.reset_stream(stream, CANCEL)
    told.pass_on()
    gone, stays = told.handler.asked
    assert (gone.gone, stays.gone) == ("client_gone", "")
    stays.answer()
    told.pass_on()
    assert told.client.answers[other].ended


def test_with_the_connection_all_requests_are_over() -> None:
    told = Conversation(FakeHttp2Handler(at_once=False))
    told.ask()
    told.ask()
    told.transport.end()
    assert [exchange.gone for exchange in told.handler.asked] == ["client_gone"] * 2
    assert not told.handler.connections
    assert len(told.handler.wheel) == 0


def test_an_answer_that_is_cut_cannot_be_taken_for_a_whole_one() -> None:
    told = Conversation(FakeHttp2Handler(at_once=False))
    stream = told.ask()
    (exchange,) = told.handler.asked
    exchange.begin_answer(200, b"half of")
    exchange.stream.exchange = None
    exchange.stream.close()
    told.pass_on()
    answer = told.client.answers[stream]
    assert (answer.body, answer.ended) == (b"half of", False)
    assert answer.reset == 2  # INTERNAL_ERROR
    assert told.client.gone is None


def test_a_drain_answers_what_is_under_way_and_nothing_more() -> None:
    wire = Wire(FakeHttp2Handler(at_once=False))
    wire.send(small(1))
    wire.handler.draining = True
    (connection,) = wire.handler.connections
    connection.shut_down_idle()
    assert wire.goaways == [(NO_ERROR, 1)]
    assert not wire.over
    wire.send(small(3))  # it was on its way, and the client knows that it may ask again
    assert len(wire.handler.asked) == 1
    wire.handler.asked[0].answer()
    assert (http2.DATA, http2.END_STREAM, 1, b"ok") in wire.frames()
    assert wire.over


def test_what_comes_after_the_last_answer_does_not_cost_the_client_that_answer() -> None:
    """Who closes while the other side still sends resets the connection, and the reset throws away
    what the other side has not read (RFC 9112 section 9.6): our side is closed, theirs is read."""
    wire = Wire(FakeHttp2Handler(keepalive_requests=1, lingering_timeout="5s"))
    wire.send(small(1))
    assert wire.transport.eof_written
    assert not wire.transport.closed
    wire.send(small(3), b"whatever")
    assert not wire.transport.closed
    assert len(wire.handler.asked) == 1
    wire.handler.pass_time(30.0)
    assert wire.transport.closed


def test_the_reason_of_an_end_reaches_a_client_that_still_sends() -> None:
    wire = Wire(FakeHttp2Handler(lingering_timeout="5s"))
    wire.send(frame(http2.HEADERS, 5, 2, block(get())))
    assert wire.gone == 1
    assert wire.transport.eof_written
    assert not wire.transport.closed
    wire.send(small(1))
    assert wire.handler.asked == []
    wire.handler.pass_time(30.0)
    assert wire.transport.closed


def test_a_drain_closes_an_idle_connection_with_a_word() -> None:
    told = Conversation()
    stream = told.ask()
    told.connection.shut_down_idle()
    told.pass_on()
    assert told.client.gone == (NO_ERROR, stream, b"")
    assert told.over


def test_a_connection_carries_only_so_many_requests() -> None:
    wire = Wire(FakeHttp2Handler(keepalive_requests=3))
    wire.send(*(small(number) for number in (1, 3, 5)))
    assert [stream for kind, _, stream, _ in wire.frames() if kind == http2.DATA] == [1, 3, 5]
    assert wire.goaways == [(NO_ERROR, 5)]
    assert wire.over


# --- time


def test_an_idle_connection_is_closed_with_a_word() -> None:
    told = Conversation(FakeHttp2Handler(keepalive_timeout="5s"))
    stream = told.ask()
    told.handler.pass_time(4.0)
    assert not told.over
    told.handler.pass_time(2.0)
    told.pass_on()
    assert told.client.gone == (NO_ERROR, stream, b"")
    assert told.over


def test_pings_do_not_keep_an_idle_connection() -> None:
    told = Conversation(FakeHttp2Handler(keepalive_timeout="5s"))
    told.ask()
    for _ in range(6):
        told.client.h2.ping(bytes(8))
        told.pass_on()
        told.handler.pass_time(1.0)
    assert told.over


def test_a_held_request_may_take_its_time() -> None:
    told = Conversation(FakeHttp2Handler(at_once=False, keepalive_timeout="5s"))
    stream = told.ask()
    told.handler.pass_time(600.0)
    told.handler.asked[0].answer()
    told.pass_on()
    assert told.client.answers[stream].ended


@pytest.mark.parametrize("beginning", [b"", http2.PREFACE[:10], http2.PREFACE])
def test_a_connection_that_does_not_begin_is_closed(beginning: bytes) -> None:
    handler = FakeHttp2Handler(client_header_timeout="5s")
    told = Conversation(handler, None)
    fresh = type(told.transport)(type(told.connection)(handler))
    fresh.receive(*([beginning] if beginning else []))
    handler.pass_time(6.0)
    assert fresh.closed


def test_a_body_that_does_not_come_is_answered_408() -> None:
    told = Conversation(FakeHttp2Handler(at_once=False, client_body_timeout="5s"))
    stream = told.ask(body=b"begin", end=False)
    told.handler.pass_time(6.0)
    told.pass_on()
    (exchange,) = told.handler.asked
    assert exchange.error is not None
    assert exchange.error.status == 408
    assert told.client.answers[stream].status == 408
    assert told.client.gone is None


def test_a_body_that_keeps_coming_has_all_the_time() -> None:
    told = Conversation(FakeHttp2Handler(at_once=False, client_body_timeout="5s"))
    stream = told.ask(body=b"0", end=False)
    for _ in range(5):
        told.handler.pass_time(4.0)
        told.client.h2.send_data(stream, b"1")
        told.pass_on()
    (exchange,) = told.handler.asked
    assert exchange.error is None
    assert exchange.body == b"011111"


def test_a_window_that_stays_shut_costs_the_stream() -> None:
    """Zero windows, CVE-2019-9517 and slow readers."""
    told = Conversation(
        FakeHttp2Handler(at_once=False, send_timeout="5s"), Http2Client(window=100, reads=False)
    )
    stuck, other = told.ask(), told.ask()
    first, second = told.handler.asked
    first.begin_answer(200, LARGE)
    told.pass_on()
    told.handler.pass_time(6.0)
    told.pass_on()
    assert first.gone == "client_timeout"
    assert told.client.answers[stuck].reset is not None
    second.answer()
    told.pass_on()
    assert told.client.answers[other].ended


def test_an_answer_that_waits_for_a_window_is_dropped_in_time() -> None:
    """Also when the exchange is over and only bytes are left."""
    told = Conversation(
        FakeHttp2Handler(at_once=False, send_timeout="5s"), Http2Client(window=100, reads=False)
    )
    stream = told.ask()
    told.handler.asked[0].answer(LARGE)
    told.pass_on()
    assert told.connection.streams
    told.handler.pass_time(6.0)
    told.pass_on()
    assert told.client.answers[stream].reset is not None
    assert not told.connection.streams


def test_an_answer_that_moves_has_all_the_time() -> None:
    told = Conversation(
        FakeHttp2Handler(at_once=False, send_timeout="5s"), Http2Client(window=100, reads=False)
    )
    stream = told.ask()
    told.handler.asked[0].answer(LARGE[:1100])
    for _ in range(10):
        told.pass_on()
        told.handler.pass_time(4.0)
        told.client.h2.increment_flow_control_window(100, stream)
    told.pass_on()
    assert told.client.answers[stream].body == LARGE[:1100]
    assert told.client.answers[stream].ended


# --- what we say


def test_answers_are_packed_as_the_library_reads_them() -> None:
    told = Conversation(FakeHttp2Handler(at_once=False))
    lines = b"Content-Type: application/json\r\nX-Long: " + b"\xffz" * 300 + b"\r\nEmpty:\r\n"
    for _ in range(2):  # the second is remembered
        stream = told.ask()
        exchange = told.handler.asked[-1]
        exchange.stream.answer(hpack.status(200) + hpack.lines(lines), b"", end=True)
        exchange.stream.finish()
        told.pass_on()
        assert told.client.answers[stream].fields == {
            b"content-type": b"application/json",
            b"x-long": b"\xffz" * 300,
            b"empty": b"",
        }


def test_a_head_of_more_than_a_frame_is_continued() -> None:
    told = Conversation(FakeHttp2Handler(at_once=False))
    stream = told.ask()
    (exchange,) = told.handler.asked
    lines = b"".join(b"X-%d: %b\r\n" % (number, b"\xff" * 900) for number in range(40))
    exchange.stream.answer(hpack.status(200) + hpack.lines(lines), b"ok", end=True)
    exchange.stream.finish()
    told.client.h2.decoder.max_header_list_size = 1 << 20
    told.pass_on()
    assert len(told.client.answers[stream].fields) == 40


def test_a_client_without_a_table_for_fields_understands_us() -> None:
    """RFC 7541 section 4.2: an encoder has to say that its table is as small as it was told."""
    client = Http2Client()
    client.h2.update_settings({1: 0})
    told = Conversation(client=client)
    assert told.client.acknowledged
    for _ in range(3):
        assert told.client.answers[told.ask()].body == b"ok"


def test_a_100_continue_is_an_interim_answer() -> None:
    told = Conversation(FakeHttp2Handler(at_once=False))
    stream = told.client.request(
        get(b"/", (b"expect", b"100-continue"), method=b"POST"), None, end=False
    )
    told.pass_on()
    (exchange,) = told.handler.asked
    assert exchange.block.expect_continue
    exchange.stream.send_continue()
    told.pass_on()
    assert told.client.answers[stream].interim == [100]
    told.client.h2.send_data(stream, b"body", end_stream=True)
    told.pass_on()
    exchange.answer()
    told.pass_on()
    assert told.client.answers[stream].status == 200


def test_pings_and_settings_are_answered() -> None:
    told = Conversation()
    told.client.h2.ping(b"12345678")
    told.pass_on()
    assert told.client.pongs == [b"12345678"]
    assert told.client.acknowledged == 1
