"""Deadlines are met: never early, and late by at most two ticks."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synproxy.core.wheel import NEVER, TimerWheel

TICK = 0.25
SLOTS = 8


class Item:
    """Notes when it expired; may do something then."""

    def __init__(self, deadline: float = NEVER) -> None:
        self.deadline = deadline
        self.visit = 0.0
        self.expired: list[float] = []
        self.then: Callable[[], None] = lambda: None

    def expire(self, now: float) -> None:
        self.expired.append(now)
        self.then()


def wheel() -> TimerWheel:
    return TimerWheel(100.0, TICK, SLOTS)


def pass_time(turned: TimerWheel, seconds: float) -> None:
    """Tick by tick."""
    for _ in range(round(seconds / turned.tick)):
        turned.advance(turned.now + turned.tick)


def set_deadline(turned: TimerWheel, item: Item, deadline: float) -> None:
    """As the connections do."""
    item.deadline = deadline
    if item.deadline < item.visit:
        turned.hasten(item)


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.25, 0.26, 1.0, 1.74, 1.75, 2.0, 5.0, 60.0, 61.1])
def test_a_deadline_is_met_once(seconds: float) -> None:
    turned = wheel()
    item = Item(turned.now + seconds)
    turned.watch(item)
    pass_time(turned, 70)
    (expired,) = item.expired
    assert 100.0 + seconds <= expired <= 100.0 + seconds + 2 * TICK


def test_a_deadline_that_was_moved_back_is_not_met_before() -> None:
    turned = wheel()
    item = Item(turned.now + 1)
    turned.watch(item)
    for _ in range(20):
        pass_time(turned, 0.75)
        item.deadline = turned.now + 1  # costs nothing: no call
    assert item.expired == []
    pass_time(turned, 2)
    assert len(item.expired) == 1


def test_a_deadline_that_was_moved_forward_is_met_in_time() -> None:
    turned = wheel()
    item = Item()
    turned.watch(item)
    set_deadline(turned, item, turned.now + 0.5)
    pass_time(turned, 1)
    assert len(item.expired) == 1


def test_without_a_deadline_nothing_expires() -> None:
    turned = wheel()
    item = Item()
    turned.watch(item)
    pass_time(turned, 100)
    assert (item.expired, len(turned)) == ([], 1)


def test_what_is_forgotten_does_not_expire() -> None:
    turned = wheel()
    item = Item(turned.now + 1)
    turned.watch(item)
    turned.forget(item)
    turned.forget(item)
    pass_time(turned, 5)
    assert (item.expired, len(turned)) == ([], 0)


def test_a_late_tick_meets_all_deadlines_before_it() -> None:
    turned = wheel()
    items = [Item(turned.now + seconds) for seconds in (0.5, 1.5, 20.0, 400.0)]
    for item in items:
        turned.watch(item)
    turned.advance(turned.now + 300)  # a process that was stopped for five minutes
    assert [len(item.expired) for item in items] == [1, 1, 1, 0]
    pass_time(turned, 101)
    assert [len(item.expired) for item in items] == [1, 1, 1, 1]


def test_who_expires_may_leave() -> None:
    turned = wheel()
    item = Item(turned.now + 1)
    item.then = lambda: turned.forget(item)
    turned.watch(item)
    pass_time(turned, 5)
    assert (len(item.expired), len(turned)) == (1, 0)


def test_who_expires_may_set_a_new_deadline() -> None:
    turned = wheel()
    item = Item(turned.now + 1)
    item.then = lambda: set_deadline(turned, item, turned.now + 1)
    turned.watch(item)
    pass_time(turned, 10)
    assert len(item.expired) >= 6
    assert len(turned) == 1
    gaps = [after - before for before, after in pairwise(item.expired)]
    assert all(1 <= gap <= 1 + 2 * TICK for gap in gaps)


# Two items of one slot: what happens to the one while the other expires.


def two_due(turned: TimerWheel) -> list[Item]:
    items = [Item(turned.now + 1), Item(turned.now + 1)]
    for item in items:
        turned.watch(item)
    return items


def test_who_expires_may_make_another_leave() -> None:
    """The client of a server whose time is up, closed with it."""
    turned = wheel()
    first, second = two_due(turned)

    def leave(other: Item) -> None:
        other.deadline = NEVER
        turned.forget(other)

    first.then = lambda: leave(second)
    second.then = lambda: leave(first)
    pass_time(turned, 5)
    assert len(first.expired) + len(second.expired) == 1
    assert len(turned) == 1  # whoever expired, and did not leave


def test_who_expires_may_hasten_another() -> None:
    """A server's time is up; its client gets an answer, and a new deadline."""
    turned = wheel()
    first, second = two_due(turned)
    first.then = lambda: set_deadline(turned, second, turned.now + 3)
    second.then = lambda: set_deadline(turned, first, turned.now + 3)
    pass_time(turned, 2)
    assert len(turned) == 2
    for item in (first, second):
        turned.forget(item)
    assert len(turned) == 0


# Items that are watched closely, at every advance.


def test_what_is_watched_closely_is_met_at_every_advance() -> None:
    turned = wheel()
    item = Item(100.05)
    assert not turned.hurried
    turned.watch_closely(item)
    assert turned.hurried
    turned.advance(100.04)
    assert item.expired == []
    turned.advance(100.06)
    turned.advance(100.07)
    assert item.expired == [100.06]
    item.deadline = 100.1
    turned.forget_closely(item)
    turned.advance(100.2)
    assert item.expired == [100.06]
    assert not turned.hurried


def test_who_expires_may_stop_another_that_is_watched_closely() -> None:
    turned = wheel()
    first, other = Item(100.05), Item(100.05)
    first.then = lambda: turned.forget_closely(other)
    turned.watch_closely(first)
    turned.watch_closely(other)
    turned.advance(100.1)
    assert (len(first.expired), other.expired) == (1, [])


@given(
    st.lists(st.floats(0.0, 200.0), max_size=10),
    st.lists(st.floats(0.01, 30.0), min_size=1, max_size=60),
)
def test_however_time_passes_a_deadline_is_met_once_and_in_time(
    deadlines: list[float], steps: list[float]
) -> None:
    turned = TimerWheel(0.0, TICK)
    items = [Item(deadline) for deadline in deadlines]
    for item in items:
        turned.watch(item)
    for step in steps:
        turned.advance(turned.now + step)
        for item, deadline in zip(items, deadlines, strict=True):
            assert len(item.expired) == (item.expired != [])
            if item.expired:
                assert item.expired[0] >= deadline
            else:
                assert turned.now < deadline + 2 * TICK


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.floats(0, 6)),
        st.tuples(st.just("set"), st.floats(0, 12)),
        st.tuples(st.just("never"), st.just(0.0)),
        st.tuples(st.just("leave"), st.just(0.0)),
        st.tuples(st.just("enter"), st.floats(0, 12)),
    ),
    max_size=30,
)


@given(STEPS, st.sampled_from([0.25, 0.1, 1.0]), st.floats(0, 1e6))
def test_whatever_happens_no_deadline_is_missed_and_none_is_early(
    steps: list[tuple[str, float]], tick: float, start: float
) -> None:
    turned = TimerWheel(start, tick, SLOTS)
    item = Item()
    turned.watch(item)
    inside, due = True, NEVER
    for step, seconds in steps:
        if step == "pass":
            for _ in range(int(seconds / tick)):
                turned.advance(turned.now + tick)
                if item.expired:
                    (expired,) = item.expired
                    item.expired.clear()
                    assert due <= expired
                    due = NEVER
                assert not inside or turned.now < due + 2 * tick + 1e-6
        elif step == "leave":
            turned.forget(item)
            inside = False
        elif step == "enter":
            if not inside:
                item.deadline = due = turned.now + seconds
                turned.watch(item)
                inside = True
        elif inside:
            due = NEVER if step == "never" else turned.now + seconds
            set_deadline(turned, item, due)
    assert len(turned) == inside
