"""Who waits, whose turn it is, and who has to go when there is no room."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synproxy.core.balance import ANY
from synproxy.core.waiting import Ticket, WaitingRoom


class Waiter:
    """Somebody with a name; told when the wait is over."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.over = False

    def admitted(self) -> None:
        raise AssertionError("a room admits nobody by itself")

    def wait_over(self) -> None:
        self.over = True


def ticket(name: str, home: int = ANY) -> Ticket:
    """A ticket whose key is its letter: ``a1`` and ``a2`` belong to ``a``."""
    return Ticket(Waiter(name), name[:1].encode(), home)


def name(ticket: Ticket | None) -> str:
    if ticket is None:
        return "-"
    assert isinstance(ticket.waiter, Waiter)
    return ticket.waiter.name


def fill(room: WaitingRoom, names: str, home: int = ANY) -> dict[str, Ticket]:
    tickets = {each: ticket(each, home) for each in names.split()}
    for each in tickets.values():
        assert room.enter(each) is None
    return tickets


def order(room: WaitingRoom, index: int = 0) -> str:
    taken = []
    while (found := room.take(index)) is not None:
        taken.append(name(found))
    return " ".join(taken)


@pytest.mark.parametrize(
    ("arrivals", "departures"),
    [
        ("", ""),
        ("a1 b1 c1", "a1 b1 c1"),
        ("a1 a2 a3", "a1 a2 a3"),
        ("a1 a2 a3 a4 b1", "a1 b1 a2 a3 a4"),
        ("a1 a2 b1 a3 b2 c1", "a1 b1 c1 a2 b2 a3"),
    ],
)
def test_first_come_first_served_in_turns_by_key(arrivals: str, departures: str) -> None:
    room = WaitingRoom(100)
    fill(room, arrivals)
    assert order(room) == departures
    assert len(room) == 0


def test_a_newcomer_stands_behind_those_who_wait_even_if_they_had_a_turn() -> None:
    room = WaitingRoom(100)
    fill(room, "a1 a2 b1")
    assert name(room.take(0)) == "a1"
    fill(room, "c1")
    assert order(room) == "b1 a2 c1"


def test_who_leaves_is_not_called() -> None:
    room = WaitingRoom(100)
    tickets = fill(room, "a1 a2 b1 c1")
    for each in ("a1", "c1"):
        room.leave(tickets[each])
        room.leave(tickets[each])
    assert len(room) == 2
    assert order(room) == "a2 b1"


def test_a_place_goes_to_those_who_wait_for_its_server_or_for_any() -> None:
    room = WaitingRoom(100)
    fill(room, "a1", home=1)
    fill(room, "b1", home=0)
    fill(room, "c1")
    fill(room, "d1", home=0)
    assert order(room, 0) == "b1 c1 d1"
    assert order(room, 2) == ""
    assert order(room, 1) == "a1"


def test_all_who_wait_for_one_server_are_known() -> None:
    room = WaitingRoom(100)
    fill(room, "a1 b1 a2", home=1)
    fill(room, "c1", home=0)
    assert [name(each) for each in room.waiting_for(1)] == ["a1", "a2", "b1"]
    assert room.waiting_for(2) == []


@pytest.mark.parametrize(
    ("arrivals", "newcomer", "leaves", "left"),
    [
        ("a1 b1 c1", "d1", "d1", "a1 b1 c1"),
        ("a1 b1 c1", "a2", "a2", "a1 b1 c1"),
        ("a1 a2 a3", "b1", "a3", "a1 b1 a2"),
        ("a1 a2 a3", "a4", "a4", "a1 a2 a3"),
        ("a1 a2 b1", "b2", "b2", "a1 b1 a2"),
        ("a1 a2 a3 b1", "b2", "a3", "a1 b1 a2 b2"),
        ("a1 b1 b2 b3 c1 c2", "d1", "b3", "a1 b1 c1 d1 b2 c2"),
    ],
)
def test_when_the_room_is_full_the_key_with_most_makes_room(
    arrivals: str, newcomer: str, leaves: str, left: str
) -> None:
    room = WaitingRoom(len(arrivals.split()))
    fill(room, arrivals)
    assert name(room.enter(ticket(newcomer))) == leaves
    assert order(room) == left


def test_the_key_with_most_is_found_at_other_servers_too() -> None:
    room = WaitingRoom(3)
    fill(room, "a1 a2 a3", home=1)
    assert name(room.enter(ticket("b1", home=0))) == "a3"


def test_time_that_is_over_is_told_to_the_waiter() -> None:
    waiter = Waiter("a1")
    Ticket(waiter, b"a", ANY, deadline=5.0).expire(5.25)
    assert waiter.over


@given(
    st.integers(1, 8),
    st.lists(
        st.tuples(st.sampled_from("+-!"), st.sampled_from("abc"), st.integers(ANY, 2)), max_size=60
    ),
)
def test_nobody_is_lost_or_called_twice(number: int, steps: list[tuple[str, str, int]]) -> None:
    room = WaitingRoom(number)
    inside: set[Ticket] = set()
    for step, key, home in steps:
        if step == "+":
            newcomer = ticket(key, home)
            inside.add(newcomer)
            gone = room.enter(newcomer)
            if gone is not None:
                inside.remove(gone)
        elif step == "-":
            taken = room.take(home)
            if taken is not None:
                assert taken.home in (ANY, home)
                inside.remove(taken)
        elif inside:
            leaving = min(inside, key=lambda each: each.turn)
            room.leave(leaving)
            inside.remove(leaving)
        assert len(room) == len(inside) <= number
        assert all(each.room is room for each in inside)


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=40))
def test_no_key_is_more_than_one_ahead_of_another_that_waits(keys: list[str]) -> None:
    room = WaitingRoom(100)
    for key in keys:
        room.enter(ticket(key))
    served = dict.fromkeys(set(keys), 0)
    waiting = {key: keys.count(key) for key in served}
    while (found := room.take(0)) is not None:
        key = found.key.decode()
        served[key] += 1
        waiting[key] -= 1
        hungry = [served[other] for other in served if waiting[other]]
        assert not hungry or served[key] - min(hungry) <= 1
