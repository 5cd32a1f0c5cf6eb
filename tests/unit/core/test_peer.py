"""The books of one server, kept as nginx keeps them (ngx_http_upstream_round_robin.c)."""

from __future__ import annotations

from typing import Any

import pytest

from synproxy.config.model import Server
from synproxy.core.peer import Peer, least_conn, round_robin


def peer(index: int = 0, **settings: Any) -> Peer:
    return Peer(index, Server.model_validate({"address": "unix:/a", **settings}))


@pytest.mark.parametrize(
    ("settings", "conns", "usable"),
    [
        ({}, 10_000, True),
        ({"down": True}, 0, False),
        ({"max_conns": 2}, 1, True),
        ({"max_conns": 2}, 2, False),
        ({"max_conns": 2}, 3, False),
        ({"max_conns": 2, "down": True}, 0, False),
        ({"max_fails": 1}, 10_000, True),
    ],
)
def test_a_server_is_usable_unless_it_is_down_or_full(
    settings: dict[str, Any], conns: int, usable: bool
) -> None:
    judged = peer(**settings)
    judged.conns = conns
    assert judged.usable(0.0) is usable


@pytest.mark.parametrize(
    ("max_fails", "failures", "seconds_later", "usable"),
    [
        (0, 100, 0.0, True),  # never out
        (1, 1, 0.0, False),
        (2, 1, 0.0, True),
        (2, 2, 10.0, False),  # up to and with fail_timeout
        (2, 2, 10.1, True),
        (2, 5, 9.9, False),
    ],
)
def test_max_fails_within_fail_timeout_take_it_out_for_as_long(
    max_fails: int, failures: int, seconds_later: float, usable: bool
) -> None:
    judged = peer(max_fails=max_fails, fail_timeout=10)
    for _ in range(failures):
        judged.ended(True, 100.0)
    assert judged.usable(100.0 + seconds_later) is usable


def test_a_success_after_the_check_forgives() -> None:
    judged = peer(max_fails=1, fail_timeout=10)
    judged.ended(True, 100.0)
    assert judged.chosen(111.0) == 0  # this request checks the server
    assert not judged.usable(111.0)  # so others wait for it
    judged.ended(False, 112.0)
    assert judged.usable(112.0)


def test_a_success_of_a_request_from_before_the_failure_does_not_forgive() -> None:
    judged = peer(max_fails=1, fail_timeout=10)
    judged.ended(True, 100.0)
    judged.ended(False, 100.5)
    assert not judged.usable(100.5)


@pytest.mark.parametrize(
    ("weight", "max_fails", "failures", "effective"),
    [(10, 2, 1, 5), (10, 2, 2, 0), (10, 2, 5, 0), (3, 10, 3, 3), (10, 0, 5, 10)],
)
def test_failures_lower_the_weight(
    weight: int, max_fails: int, failures: int, effective: int
) -> None:
    judged = peer(weight=weight, max_fails=max_fails)
    for _ in range(failures):
        judged.ended(True, 1.0)
    assert judged.effective_weight == effective


def test_a_lowered_weight_grows_back_by_one_a_turn() -> None:
    first, second = peer(0, weight=4, max_fails=2), peer(1, weight=1)
    first.ended(True, 0.0)
    assert first.effective_weight == 2
    weights = []
    for _ in range(4):
        round_robin([first, second], (), 0.0)
        weights.append(first.effective_weight)
    assert weights == [3, 4, 4, 4]


@pytest.mark.parametrize(
    ("conns", "weights", "tried", "chosen"),
    [
        ((2, 1, 3), (1, 1, 1), (), 1),
        ((2, 1, 3), (1, 1, 1), (1,), 0),
        ((4, 1), (5, 1), (), 0),  # 4/5 < 1/1
        ((5, 1), (5, 1), (), 0),  # equal shares: round robin prefers the heavier
        ((6, 1), (5, 1), (), 1),
        ((0, 0), (1, 1), (0, 1), None),
        ((), (), (), None),
    ],
)
def test_least_conn_takes_the_one_with_the_least_for_its_weight(
    conns: tuple[int, ...], weights: tuple[int, ...], tried: tuple[int, ...], chosen: int | None
) -> None:
    peers = []
    for index, (busy, weight) in enumerate(zip(conns, weights, strict=True)):
        peers.append(peer(index, weight=weight))
        peers[-1].conns = busy
    assert least_conn(peers, tried, 0.0) == chosen


def test_equals_take_turns() -> None:
    peers = [peer(index) for index in range(3)]
    peers[2].conns = 1
    assert [least_conn(peers, (), 0.0) for _ in range(4)] == [0, 1, 0, 1]


def test_a_server_that_is_out_has_no_turn() -> None:
    peers = [peer(0), peer(1, max_fails=1), peer(2, down=True)]
    peers[1].ended(True, 5.0)
    assert [round_robin(peers, (), 5.0) for _ in range(3)] == [0, 0, 0]
    assert [least_conn(peers, (), 5.0) for _ in range(3)] == [0, 0, 0]
    assert round_robin(peers, {0}, 5.0) is None
