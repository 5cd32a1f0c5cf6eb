"""Idle connections: which are kept, for how long, and who gets them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synproxy.upstream.connection import ServerConnection
from synproxy.upstream.pool import ServerPool
from tests.protocol.fakes import FakeTransport, ask, connect, make_pool, pass_time

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def served(pool: ServerPool, index: int = 0) -> tuple[ServerConnection, FakeTransport]:
    """A connection that has carried one request and was given back."""
    connection, transport = connect(pool, index)
    serve(connection, transport)
    return connection, transport


def serve(connection: ServerConnection, transport: FakeTransport) -> None:
    ask(connection)
    transport.receive(ANSWER)
    connection.finish()


def test_an_empty_pool_has_nothing_to_give() -> None:
    assert make_pool(2).take(1) is None


def test_a_connection_is_given_to_its_server_only_and_only_once() -> None:
    pool = make_pool(2)
    connection, _ = served(pool, 1)
    assert pool.take(0) is None
    assert pool.take(1) is connection
    assert pool.take(1) is None


def test_the_connection_that_was_used_last_goes_first() -> None:
    pool = make_pool()
    first, second = served(pool)[0], served(pool)[0]
    assert [pool.take(0), pool.take(0)] == [second, first]


def test_keepalive_bounds_the_idle_connections_of_all_servers_together() -> None:
    pool = make_pool(3, keepalive=2)
    transports = [served(pool, index)[1] for index in range(3)]
    assert pool.idle_connections == 2
    assert [transport.aborted for transport in transports] == [True, False, False]


def test_the_connection_that_was_used_longest_ago_has_to_go() -> None:
    pool = make_pool(2, keepalive=2)
    (first, first_transport), (_, second_transport) = served(pool, 0), served(pool, 1)
    assert pool.take(0) is first
    serve(first, first_transport)
    served(pool, 0)
    assert (first_transport.aborted, second_transport.aborted) == (False, True)


@pytest.mark.parametrize(
    ("settings", "requests", "age", "kept"),
    [
        ({}, 1, 0, True),
        ({"keepalive": 0}, 1, 0, False),
        ({"keepalive_requests": 1}, 1, 0, False),
        ({"keepalive_requests": 3}, 2, 0, True),
        ({"keepalive_requests": 3}, 3, 0, False),
        ({"keepalive_time": 60}, 1, 60, True),
        ({"keepalive_time": 60}, 1, 61, False),
    ],
)
def test_a_connection_is_kept_within_its_bounds(
    settings: dict[str, Any], requests: int, age: float, kept: bool
) -> None:
    pool = make_pool(**settings)
    connection, transport = connect(pool)
    for _ in range(requests - 1):
        serve(connection, transport)
        assert pool.take(0) is connection
    pass_time(pool, age)
    serve(connection, transport)
    assert (pool.idle_connections == 1, transport.aborted) == (kept, not kept)


def test_an_idle_connection_is_closed_after_keepalive_timeout() -> None:
    pool = make_pool(keepalive_timeout=50)
    _, transport = served(pool)
    pass_time(pool, 49)
    assert (pool.idle_connections, transport.aborted) == (1, False)
    pass_time(pool, 2)
    assert (pool.idle_connections, transport.aborted) == (0, True)


def test_a_connection_in_use_has_no_keepalive_timeout() -> None:
    pool = make_pool(keepalive_timeout=5)
    connection, transport = served(pool)
    assert pool.take(0) is connection
    sink = ask(connection)
    pass_time(pool, 20)
    assert (sink.errors, transport.aborted) == ([], False)


def test_a_connection_that_the_server_closed_is_not_given() -> None:
    pool = make_pool()
    _, transport = served(pool)
    transport.end()
    assert (pool.idle_connections, pool.take(0)) == (0, None)


def test_a_connection_that_is_about_to_close_is_passed_over() -> None:
    pool = make_pool()
    kept, _ = served(pool)
    _, transport = served(pool)
    transport.closed = True  # its end has not been told yet
    assert pool.take(0) is kept
    assert pool.idle_connections == 0
    transport.end()
    assert pool.idle_connections == 0


def test_a_connection_that_closes_at_the_end_of_its_answer_is_not_kept() -> None:
    pool = make_pool()
    connection, transport = connect(pool)
    ask(connection)
    transport.receive(ANSWER)
    transport.closed = True
    connection.finish()
    assert pool.idle_connections == 0


def test_a_pool_that_was_replaced_keeps_nothing() -> None:
    pool = make_pool()
    busy, busy_transport = connect(pool)
    ask(busy)
    _, idle_transport = served(pool)
    pool.retire()
    assert (pool.idle_connections, idle_transport.aborted) == (0, True)
    assert not busy_transport.aborted  # its exchange goes on
    busy_transport.receive(ANSWER)
    busy.finish()
    assert (pool.idle_connections, busy_transport.aborted) == (0, True)


def test_what_has_ended_leaves_nothing_behind() -> None:
    pool = make_pool(2)
    for index in (0, 1, 0):
        served(pool, index)[1].end()
    assert len(pool.wheel) == 0


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["open", "take", "finish", "end", "bytes", "time"]), st.integers(0, 3)
    ),
    max_size=40,
)


@given(STEPS, st.integers(0, 3))
def test_whatever_happens_no_connection_is_given_twice_or_dead(
    steps: list[tuple[str, int]], keepalive: int
) -> None:
    pool = make_pool(2, keepalive=keepalive, keepalive_timeout=1)
    busy: list[tuple[ServerConnection, FakeTransport]] = []
    transports: dict[ServerConnection, FakeTransport] = {}
    for step, number in steps:
        if step == "open":
            connection, transport = connect(pool, number % 2)
            transports[connection] = transport
            ask(connection)
            busy.append((connection, transport))
        elif step == "take":
            taken = pool.take(number % 2)
            if taken is not None:
                assert taken.index == number % 2
                assert not transports[taken].closed
                assert taken not in [each for each, _ in busy]
                ask(taken)
                busy.append((taken, transports[taken]))
        elif step == "time":
            pass_time(pool, number)
        elif busy:
            connection, transport = busy.pop(number % len(busy))
            if step == "finish":
                transport.receive(ANSWER)
                connection.finish()
            elif step == "end":
                transport.end()
            else:
                transport.receive(ANSWER + b"x")
                connection.finish()
        assert pool.idle_connections <= keepalive


@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [
        (None, None, 1),
        ({"ca": "/ca.pem"}, {"ca": "/ca.pem"}, 1),
        (None, {}, 0),
        ({}, None, 0),
        ({"verify": "off"}, {"verify": "on"}, 0),
        ({"ca": "/ca.pem"}, {"ca": "/other.pem"}, 0),
        ({"server_name": "a"}, {"server_name": "b"}, 0),
    ],
)
def test_a_reload_keeps_idle_connections_only_if_tls_was_spoken_as_it_is_now(
    before: dict[str, str] | None, after: dict[str, str] | None, kept: int
) -> None:
    servers = ["worker.example:8443"]
    old, new = make_pool(servers=servers, tls=before), make_pool(servers=servers, tls=after)
    served(old)
    new.take_over(old)
    assert new.idle_connections == kept
