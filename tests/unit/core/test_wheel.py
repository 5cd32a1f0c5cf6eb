"""Deadlines are met: never early, late by at most two ticks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from synproxy.core.wheel import NEVER, TimerWheel

TICK = 0.25


class Alarm:
    """Notes when it went off."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.visit = 0.0
        self.rung: list[float] = []

    def expire(self, now: float) -> None:
        self.rung.append(now)


@given(
    st.lists(st.floats(0.0, 200.0), max_size=10),
    st.lists(st.floats(0.01, 30.0), min_size=1, max_size=60),
)
def test_a_deadline_is_never_met_early(deadlines: list[float], steps: list[float]) -> None:
    wheel = TimerWheel(0.0, TICK)
    alarms = [Alarm(deadline) for deadline in deadlines]
    for alarm in alarms:
        wheel.watch(alarm)
    wanted = [alarm.deadline for alarm in alarms]
    now = 0.0
    for step in steps:
        now += step
        wheel.advance(now)
        for alarm, deadline in zip(alarms, wanted, strict=True):
            assert len(alarm.rung) == (alarm.rung != [])
            if alarm.rung:
                assert alarm.rung[0] >= deadline
            else:
                assert now < deadline + 2 * TICK


def test_a_nearer_deadline_is_met_once_the_wheel_is_told() -> None:
    wheel = TimerWheel(0.0, TICK)
    alarm = Alarm(NEVER)
    wheel.watch(alarm)
    alarm.deadline = 1.0
    wheel.hasten(alarm)
    wheel.advance(1.5)
    assert alarm.rung == [1.5]


def test_what_is_forgotten_does_not_go_off() -> None:
    wheel = TimerWheel(0.0, TICK)
    alarm = Alarm(1.0)
    wheel.watch(alarm)
    wheel.forget(alarm)
    wheel.advance(10.0)
    assert alarm.rung == []
    assert len(wheel) == 0


def test_what_is_watched_closely_is_met_at_every_advance() -> None:
    wheel = TimerWheel(0.0, TICK)
    alarm = Alarm(0.05)
    assert not wheel.hurried
    wheel.watch_closely(alarm)
    assert wheel.hurried
    wheel.advance(0.04)
    assert alarm.rung == []
    wheel.advance(0.06)
    assert alarm.rung == [0.06]
    wheel.advance(0.07)
    assert alarm.rung == [0.06]
    alarm.deadline = 0.1
    wheel.forget_closely(alarm)
    wheel.advance(0.2)
    assert alarm.rung == [0.06]
    assert not wheel.hurried


def test_one_that_goes_off_may_stop_another() -> None:
    wheel = TimerWheel(0.0, TICK)

    class Stopping(Alarm):
        def expire(self, now: float) -> None:
            super().expire(now)
            wheel.forget_closely(other)

    first, other = Stopping(0.05), Alarm(0.05)
    wheel.watch_closely(first)
    wheel.watch_closely(other)
    wheel.advance(0.1)
    assert (len(first.rung), other.rung) == (1, [])
