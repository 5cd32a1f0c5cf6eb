"""Who waits at a pool is let in as servers come back and places get free, and never all at once."""

from __future__ import annotations

import pytest

from synproxy.config.model import Pool
from synproxy.core.balance import ANY
from synproxy.core.health import Status
from synproxy.core.limits import ADMITTED_AT_ONCE
from synproxy.core.waiting import Ticket
from synproxy.core.wheel import TimerWheel
from synproxy.upstream.pool import ServerPool

UP, RESTARTING, DOWN = Status.UP, Status.RESTARTING, Status.DOWN


class Guest:
    """Notes what it is told, and takes a place when it is let in."""

    def __init__(self, pool: ServerPool, server: int = 0) -> None:
        self.pool = pool
        self.server = server
        self.told: list[str] = []

    def admitted(self) -> None:
        self.told.append("admitted")
        if self.pool.balancer.health(self.server) == UP:
            self.pool.balancer.acquired(self.server)

    def wait_over(self) -> None:
        self.told.append("over")


def make(*servers: dict[str, object], **settings: object) -> ServerPool:
    named = [{"address": f"unix:/run/{number}", **each} for number, each in enumerate(servers)]
    pool = Pool.model_validate({"servers": named, **settings})
    return ServerPool("pool", pool, TimerWheel(0.0))


def wait(pool: ServerPool, count: int, home: int, *, queue: bool = False) -> list[Guest]:
    guests = [Guest(pool, max(home, 0)) for _ in range(count)]
    for number, guest in enumerate(guests):
        ticket = Ticket(guest, b"%d" % number, home, deadline=10.0)
        assert (pool.queue if queue else pool.hold)(ticket)
    return guests


def admitted(guests: list[Guest]) -> int:
    return sum(guest.told == ["admitted"] for guest in guests)


def test_a_server_that_is_back_gets_the_waiting_ones_tick_by_tick() -> None:
    pool = make({}, {})
    pool.server_changed(0, RESTARTING)
    guests = wait(pool, 2 * ADMITTED_AT_ONCE + 20, 0)
    pool.server_changed(0, UP)
    for expected in (ADMITTED_AT_ONCE, 2 * ADMITTED_AT_ONCE, len(guests)):
        assert admitted(guests) == expected
        pool.wheel.advance(pool.wheel.now + 0.05)
    assert pool.lobby is None
    assert len(pool.wheel) == 0


def test_a_server_that_goes_again_gets_no_more() -> None:
    pool = make({}, {})
    pool.server_changed(0, RESTARTING)
    guests = wait(pool, ADMITTED_AT_ONCE + 20, 0)
    pool.server_changed(0, UP)
    pool.server_changed(0, RESTARTING)
    pool.wheel.advance(1.0)
    assert admitted(guests) == ADMITTED_AT_ONCE
    pool.server_changed(0, UP)
    assert admitted(guests) == len(guests)


def test_who_waits_for_a_server_that_is_down_goes_on_tick_by_tick_too() -> None:
    pool = make({}, {})
    pool.server_changed(0, RESTARTING)
    guests = wait(pool, ADMITTED_AT_ONCE + 20, 0)
    pool.server_changed(0, DOWN)
    assert admitted(guests) == ADMITTED_AT_ONCE
    pool.wheel.advance(0.05)
    assert admitted(guests) == len(guests)
    assert pool.lobby is None


def test_who_waits_for_any_server_stays_while_one_may_be_back() -> None:
    pool = make({}, {})
    for index in (0, 1):
        pool.server_changed(index, RESTARTING)
    (guest,) = wait(pool, 1, ANY)
    pool.server_changed(0, DOWN)
    assert guest.told == []
    pool.server_changed(1, DOWN)
    assert guest.told == ["admitted"]


def test_who_waits_for_any_server_takes_the_first_that_is_back() -> None:
    pool = make({}, {})
    for index in (0, 1):
        pool.server_changed(index, RESTARTING)
    (guest,) = wait(pool, 1, ANY)
    pool.server_changed(1, UP)
    assert guest.told == ["admitted"]


def full(pool: ServerPool) -> ServerPool:
    for index, server in enumerate(pool.settings.servers):
        for _ in range(server.max_conns):
            pool.balancer.acquired(index)
    return pool


def test_a_place_that_gets_free_goes_to_the_next() -> None:
    pool = full(make({"max_conns": 2}, queue=10))
    guests = wait(pool, 3, ANY, queue=True)
    for expected in (1, 2, 3):
        pool.balancer.released(0, False, 0.0)
        assert pool.lobby is not None
        pool.lobby.place_free(0)
        assert admitted(guests) == expected
    assert pool.lobby is None


def test_a_server_that_is_back_gets_no_more_than_it_has_places() -> None:
    pool = make({"max_conns": 2}, queue=10)
    pool.server_changed(0, RESTARTING)
    guests = wait(pool, 3, ANY)
    pool.server_changed(0, UP)
    assert admitted(guests) == 2
    pool.wheel.advance(1.0)
    assert admitted(guests) == 2
    pool.balancer.released(0, False, 0.0)
    assert pool.lobby is not None
    pool.lobby.place_free(0)
    assert admitted(guests) == 3


def test_who_queues_for_a_server_that_restarts_decides_anew_and_who_is_held_stays() -> None:
    pool = full(make({"max_conns": 1}, {"max_conns": 1}, queue=10))
    (queued,) = wait(pool, 1, 0, queue=True)
    pool.server_changed(0, RESTARTING)
    assert queued.told == ["admitted"]
    (held,) = wait(pool, 1, 0)
    pool.server_changed(1, RESTARTING)
    assert held.told == []


@pytest.mark.parametrize(("second", "told"), [(UP, []), (RESTARTING, ["admitted"])])
def test_who_queues_for_any_server_decides_anew_when_all_are_away(
    second: int, told: list[str]
) -> None:
    pool = full(make({"max_conns": 1}, {"max_conns": 1}, queue=10))
    (queued,) = wait(pool, 1, ANY, queue=True)
    if second != UP:
        pool.server_changed(1, second)
        assert queued.told == []
    pool.server_changed(0, DOWN)
    assert queued.told == told


def test_who_leaves_is_forgotten_and_the_last_one_closes_the_lobby() -> None:
    pool = make({"max_conns": 1}, queue=10)
    tickets = [Ticket(Guest(pool), b"a", ANY, deadline=10.0) for _ in range(2)]
    for ticket in tickets:
        assert pool.queue(ticket)
    for ticket in tickets:
        assert pool.lobby is not None
        pool.leave(ticket)
        pool.leave(ticket)
    assert pool.lobby is None
    assert len(pool.wheel) == 0


def test_who_has_to_make_room_is_told() -> None:
    pool = make({"max_conns": 1}, queue=2)
    first, second = (Guest(pool) for _ in range(2))
    for guest in (first, second):
        assert pool.queue(Ticket(guest, b"greedy", ANY))
    assert not pool.queue(Ticket(Guest(pool), b"greedy", ANY))
    assert pool.queue(Ticket(Guest(pool), b"modest", ANY))
    assert (first.told, second.told) == ([], ["over"])
    assert len(pool.wheel) == 2


def test_who_waits_too_long_is_told() -> None:
    pool = make({"max_conns": 1}, queue=2)
    (guest,) = wait(pool, 1, ANY, queue=True)
    pool.wheel.advance(9.0)
    assert guest.told == []
    pool.wheel.advance(11.0)
    assert guest.told == ["over"]
