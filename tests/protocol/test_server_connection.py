"""One connection to a server: where answers end, and what the connection is good for then."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synproxy.core.limits import INTERIM_RESPONSES, RESPONSE_HEAD
from synproxy.errors import Failure
from tests.protocol.fakes import (
    GET,
    READ_TIMEOUT,
    SEND_TIMEOUT,
    FakeSink,
    ask,
    connect,
    make_pool,
    pass_time,
)

OK = b"HTTP/1.1 200 OK\r\n"
FIVE = OK + b"Content-Length: 5\r\n\r\nhello"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"

# Name, what the request was, the bytes, status and body, and whether the connection is kept.
ANSWERS: list[tuple[str, dict[str, Any], bytes, int, bytes, bool]] = [
    ("length", {}, FIVE, 200, b"hello", True),
    ("empty", {}, OK + b"Content-Length: 0\r\n\r\n", 200, b"", True),
    ("chunked", {}, CHUNKED + b"3\r\nabc\r\n2;x\r\nde\r\n0\r\nX: y\r\n\r\n", 200, b"abcde", True),
    ("chunked, empty", {}, CHUNKED + b"0\r\n\r\n", 200, b"", True),
    ("204", {}, b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    ("304", {}, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, b"", True),
    ("HEAD", {"head_request": True}, OK + b"Content-Length: 9\r\n\r\n", 200, b"", True),
    ("HEAD, chunked", {"head_request": True}, CHUNKED, 200, b"", True),
    ("after 100", {}, b"HTTP/1.1 100 Continue\r\n\r\n" + FIVE, 200, b"hello", True),
    ("after 103", {}, EARLY_HINTS * 2 + FIVE, 200, b"hello", True),
    ("error", {}, b"HTTP/1.1 500 Oh\r\nContent-Length: 1\r\n\r\nx", 500, b"x", True),
    ("no reason", {}, b"HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n", 404, b"", True),
    ("closes", {}, OK + b"Connection: close\r\nContent-Length: 1\r\n\r\nx", 200, b"x", False),
    ("HTTP/1.0", {}, b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, b"x", False),
    ("told to close", {"close": True}, FIVE, 200, b"hello", False),
    # Bytes after the end are an answer to nothing: what comes next on it cannot be trusted.
    ("more than its length", {}, FIVE + b"!", 200, b"hello", False),
    ("two answers", {}, FIVE + FIVE, 200, b"hello", False),
    ("more than its chunks", {}, CHUNKED + b"0\r\n\r\n0", 200, b"", False),
    ("a body after 204", {}, b"HTTP/1.1 204 No\r\n\r\nx", 204, b"", False),
    ("a body after HEAD", {"head_request": True}, FIVE, 200, b"", False),
    ("a body after 304", {}, b"HTTP/1.1 304 No\r\nContent-Length: 1\r\n\r\nx", 304, b"", False),
]
BY_NAME = pytest.mark.parametrize(
    ("request_is", "data", "status", "body", "kept"),
    [case[1:] for case in ANSWERS],
    ids=[case[0] for case in ANSWERS],
)


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


@pytest.mark.parametrize("cut", [lambda data: [data], bytewise], ids=["whole", "byte by byte"])
@BY_NAME
def test_an_answer_ends_where_it_says(
    request_is: dict[str, Any], data: bytes, status: int, body: bytes, kept: bool, cut: Any
) -> None:
    pool = make_pool()
    connection, transport = connect(pool)
    sink = ask(connection, **request_is)
    transport.receive(*cut(data))
    assert [head.status for head in sink.heads] == [status]
    assert (sink.body, sink.done, sink.errors) == (body, 1, [])
    connection.finish()
    assert (pool.idle_connections == 1) is kept
    assert transport.aborted is not kept
    assert transport.written == GET


@given(st.sampled_from(ANSWERS), st.lists(st.integers(0, 200), max_size=5))
def test_any_cut_of_an_answer_is_the_same_answer(
    case: tuple[str, dict[str, Any], bytes, int, bytes, bool], places: list[int]
) -> None:
    _, request_is, data, status, body, kept = case
    edges = sorted({0, *(min(place, len(data)) for place in places), len(data)})
    pool = make_pool()
    connection, transport = connect(pool)
    sink = ask(connection, **request_is)
    transport.receive(*(data[a:b] for a, b in pairwise(edges)))
    assert ([head.status for head in sink.heads], sink.body, sink.done) == ([status], body, 1)
    connection.finish()
    assert (pool.idle_connections == 1) is kept


@pytest.mark.parametrize("head", [OK + b"\r\n", OK + b"Connection: keep-alive\r\n\r\n"])
def test_an_answer_without_a_length_ends_with_its_connection(head: bytes) -> None:
    pool = make_pool()
    connection, transport = connect(pool)
    sink = ask(connection)
    transport.receive(head, b"to the ", b"end")
    assert (sink.body, sink.done) == (b"to the end", 0)
    transport.end()
    assert (sink.done, sink.errors) == (1, [])
    connection.finish()
    assert pool.idle_connections == 0


# --- answers that are none


@pytest.mark.parametrize("cut", [lambda data: [data], bytewise], ids=["whole", "byte by byte"])
@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 99 Low\r\n\r\n",
        b"HTTP/1.1 600 High\r\n\r\n",
        b"HTTP/1.1 2000 Long\r\n\r\n",
        OK + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
        OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        OK + b"Transfer-Encoding: gzip\r\n\r\n",
        OK + b"no colon\r\n\r\n",
        OK + b" folded: 1\r\n\r\n",
        OK + b"X: a\x00b\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        OK + b"X: 1\nY: 2\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * (INTERIM_RESPONSES + 1),
    ],
)
def test_what_is_no_answer_fails_before_the_client_has_anything(data: bytes, cut: Any) -> None:
    pool = make_pool()
    connection, transport = connect(pool)
    sink = ask(connection)
    transport.receive(*cut(data))
    assert [error.failure for error in sink.errors] == [Failure.INVALID]
    assert (sink.heads, sink.done) == ([], 0)
    assert transport.aborted
    transport.end()  # nothing is told twice
    assert len(sink.errors) == 1


def test_a_head_has_a_bound() -> None:
    field = b"X: %b\r\n" % (b"a" * 1000)
    fits = RESPONSE_HEAD // len(field) - 1
    connection, transport = connect(make_pool())
    sink = ask(connection)
    transport.receive(OK + field * fits + b"Content-Length: 0\r\n\r\n")
    assert (sink.done, sink.errors) == (1, [])
    for end in (b"\r\n\r\n", b""):
        connection, transport = connect(make_pool())
        sink = ask(connection)
        transport.receive(OK + field * (fits + 2) + end)
        assert [error.failure for error in sink.errors] == [Failure.INVALID]


def test_a_bad_chunk_after_good_ones_cuts_the_answer() -> None:
    connection, transport = connect(make_pool())
    sink = ask(connection)
    transport.receive(CHUNKED + b"1\r\na\r\nxyz\r\n")
    assert (sink.body, sink.done) == (b"a", 0)
    assert [error.failure for error in sink.errors] == [Failure.TRUNCATED]


# --- connections that end


@pytest.mark.parametrize("error", [None, ConnectionResetError("reset")])
@pytest.mark.parametrize(
    ("received", "failure"),
    [
        (b"", Failure.CLOSED),
        (b"HTTP", Failure.TRUNCATED),
        (OK, Failure.TRUNCATED),
        (OK + b"Content-Length: 5\r\n\r\nhell", Failure.TRUNCATED),
        (CHUNKED, Failure.TRUNCATED),
        (CHUNKED + b"1\r\na\r\n", Failure.TRUNCATED),
        (CHUNKED + b"0\r\n", Failure.TRUNCATED),
    ],
)
def test_an_answer_that_is_cut_is_never_completed(
    received: bytes, failure: Failure, error: Exception | None
) -> None:
    connection, transport = connect(make_pool())
    sink = ask(connection)
    transport.receive(received)
    transport.end(error)
    assert [each.failure for each in sink.errors] == [failure]
    assert sink.done == 0


def test_a_reset_is_no_end_of_a_body_without_a_length() -> None:
    connection, transport = connect(make_pool())
    sink = ask(connection)
    transport.receive(OK + b"\r\nhell")
    transport.end(ConnectionResetError())
    assert [error.failure for error in sink.errors] == [Failure.TRUNCATED]
    assert sink.done == 0


def test_a_reused_connection_that_ends_without_a_byte_was_stale() -> None:
    pool = make_pool()
    connection, transport = connect(pool)
    ask(connection)
    transport.receive(FIVE)
    connection.finish()
    again = pool.take(0)
    assert again is connection
    sink = ask(connection)
    transport.end()
    assert [error.failure for error in sink.errors] == [Failure.STALE]


def test_nobody_is_told_of_an_end_after_the_answer() -> None:
    connection, transport = connect(make_pool())
    sink = ask(connection)
    transport.receive(FIVE)
    transport.end()
    assert (sink.done, sink.errors) == (1, [])
    connection.finish()


# --- when it goes back to the pool


def test_a_request_that_was_not_sent_whole_costs_the_connection() -> None:
    pool = make_pool()
    connection, transport = connect(pool)
    sink = ask(connection, sent=False)
    transport.receive(FIVE)
    assert sink.done == 1
    connection.finish()
    assert (pool.idle_connections, transport.aborted) == (0, True)


def test_a_request_that_was_sent_meanwhile_does_not() -> None:
    pool = make_pool()
    connection, transport = connect(pool)
    ask(connection, b"PUT / HTTP/1.1\r\n\r\n", sent=False)
    connection.write(b"body")
    connection.request_sent()
    transport.receive(FIVE)
    connection.finish()
    assert pool.idle_connections == 1
    assert transport.written.endswith(b"\r\n\r\nbody")


def test_a_connection_that_is_given_up_inside_an_answer_is_dropped() -> None:
    pool = make_pool()
    connection, transport = connect(pool)
    sink = ask(connection)
    transport.receive(FIVE[:-1])
    connection.finish()
    assert (pool.idle_connections, transport.aborted) == (0, True)
    transport.end()
    assert sink.errors == []


def test_bytes_after_the_answer_and_before_its_end_is_told_cost_the_connection() -> None:
    pool = make_pool()
    connection, transport = connect(pool)
    sink = ask(connection)
    transport.receive(FIVE)
    transport.receive(b"HTTP/1.1 200 OK\r\n")  # CVE-2026-1642: not an answer to the next request
    assert sink.done == 1
    connection.finish()
    assert (pool.idle_connections, transport.aborted) == (0, True)


def test_bytes_on_an_idle_connection_are_its_end() -> None:
    pool = make_pool()
    connection, transport = connect(pool)
    ask(connection)
    transport.receive(FIVE)
    connection.finish()
    transport.receive(b"H")
    assert (pool.idle_connections, transport.aborted) == (0, True)
    assert pool.take(0) is None


# --- time


def quiet(seconds: float, received: bytes = b"", **request_is: Any) -> FakeSink:
    pool = make_pool()
    connection, transport = connect(pool)
    sink = ask(connection, **request_is)
    if received:
        transport.receive(received)
    pass_time(pool, seconds)
    return sink


@pytest.mark.parametrize(
    "received", [b"", b"HTTP/1.1", EARLY_HINTS, OK + b"Content-Length: 5\r\n\r\n", CHUNKED]
)
def test_a_silent_server_is_given_up_after_the_read_timeout(received: bytes) -> None:
    assert quiet(READ_TIMEOUT - 1, received).errors == []
    (error,) = quiet(READ_TIMEOUT + 1, received).errors
    assert error.failure is Failure.READ_TIMEOUT


def test_a_server_that_sends_now_and_then_is_not_given_up() -> None:
    pool = make_pool()
    connection, transport = connect(pool)
    sink = ask(connection)
    for byte in bytewise(FIVE):
        pass_time(pool, READ_TIMEOUT - 1)
        transport.receive(byte)
    assert (sink.body, sink.errors) == (b"hello", [])


def test_the_servers_time_runs_once_the_request_was_sent() -> None:
    pool = make_pool()
    connection, _ = connect(pool)
    sink = ask(connection, sent=False)
    pass_time(pool, 10 * READ_TIMEOUT)  # the client is slow, and has a timeout of its own
    assert sink.errors == []
    connection.request_sent()
    pass_time(pool, READ_TIMEOUT + 1)
    assert [error.failure for error in sink.errors] == [Failure.READ_TIMEOUT]


def test_a_server_that_reads_nothing_is_given_up_after_the_send_timeout() -> None:
    pool = make_pool()
    connection, _ = connect(pool)
    sink = ask(connection, sent=False)
    connection.pause_writing()
    pass_time(pool, SEND_TIMEOUT - 1)
    assert (sink.errors, sink.writable) == ([], [False])
    connection.resume_writing()
    connection.pause_writing()
    pass_time(pool, SEND_TIMEOUT + 1)
    assert [error.failure for error in sink.errors] == [Failure.SEND_TIMEOUT]
    assert sink.writable == [False, True, False]


def test_a_slow_client_is_no_fault_of_the_server() -> None:
    pool = make_pool()
    connection, transport = connect(pool)
    sink = ask(connection)
    transport.receive(OK + b"Content-Length: 5\r\n\r\nhe")
    connection.pause_reading()
    connection.pause_reading()
    assert not transport.reading
    pass_time(pool, 10 * READ_TIMEOUT)
    assert sink.errors == []
    connection.resume_reading()
    assert transport.reading
    transport.receive(b"llo")
    connection.finish()
    assert pool.idle_connections == 1


def test_a_connection_that_is_given_back_reads_again() -> None:
    pool = make_pool()
    connection, transport = connect(pool)
    ask(connection)
    connection.pause_reading()
    transport.receive(FIVE)  # was under way already
    connection.finish()
    assert transport.reading
    assert pool.idle_connections == 1


# --- tunnels

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


@pytest.mark.parametrize("cut", [lambda data: [data], bytewise], ids=["whole", "byte by byte"])
def test_101_opens_a_tunnel_for_who_asked(cut: Any) -> None:
    pool = make_pool()
    connection, transport = connect(pool)
    sink = ask(connection, upgrade=True)
    transport.receive(*cut(SWITCH + b"early"))
    transport.receive(b"later")
    assert sink.switched_to is not None
    assert sink.switched_to.upgrade == b"websocket"
    assert b"".join(sink.tunnel) == b"earlylater"
    connection.write(b"sent")
    assert transport.written.endswith(b"sent")
    pass_time(pool, READ_TIMEOUT + 1)
    assert [error.failure for error in sink.errors] == [Failure.READ_TIMEOUT]


@pytest.mark.parametrize(
    "answer",
    [SWITCH.replace(b"Upgrade: websocket\r\n", b""), SWITCH.replace(b"Upgrade\r\nU", b"x\r\nU")],
)
def test_101_without_an_upgrade_is_no_answer(answer: bytes) -> None:
    connection, transport = connect(make_pool())
    sink = ask(connection, upgrade=True)
    transport.receive(answer)
    assert [error.failure for error in sink.errors] == [Failure.INVALID]


@pytest.mark.parametrize("keeps", [True, False])
def test_a_server_may_close_one_side_of_a_tunnel(keeps: bool) -> None:
    connection, transport = connect(make_pool())
    sink = ask(connection, upgrade=True)
    transport.receive(SWITCH)
    sink.keeps_half_closed = keeps
    assert connection.eof_received() is keeps
    connection.write_eof()
    assert transport.eof_written
    transport.end()
    assert [error.failure for error in sink.errors] == [Failure.CLOSED]


def test_a_tunnel_that_is_closed_has_time_to_send_what_was_written() -> None:
    pool = make_pool()
    connection, transport = connect(pool)
    sink = ask(connection, upgrade=True)
    transport.receive(SWITCH)
    connection.write(b"last words")
    connection.close()
    assert (transport.closed, transport.aborted) == (True, False)
    pass_time(pool, SEND_TIMEOUT - 1)
    assert not transport.aborted
    pass_time(pool, 2)
    assert transport.aborted
    assert sink.errors == []
    transport.end()
    assert len(pool.wheel) == 0


def test_the_end_of_a_server_is_the_end_of_its_connection() -> None:
    connection, _ = connect(make_pool())
    ask(connection)
    assert connection.eof_received() is False
