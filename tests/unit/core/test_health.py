"""What refused sockets and checks make of a server's status."""

from __future__ import annotations

import pytest

from synproxy.config.model import HealthCheck
from synproxy.core.health import POLL, POLL_DOWN, Health, Status

CHECK = HealthCheck(interval=5.0, rise=2, fall=3)
LETTERS = {Status.UP: "U", Status.RESTARTING: "R", Status.DOWN: "D"}

Event = tuple[float, str]


def story(check: HealthCheck | None, hold: float, events: list[Event]) -> str:
    """The status after each event: ``x`` refused, ``+`` passed, ``-`` failed."""
    health = Health(check, hold, 0.0)
    told = ""
    for now, event in events:
        before = health.status
        if event == "x":
            changed = health.refused("refused", now)
        elif event == "+":
            changed = health.passed(now)
        else:
            changed = health.failed("no answer", now)
        assert changed == (health.status != before)
        if changed:
            assert health.since == now
            assert bool(health.reason) == (health.status != Status.UP)
        told += LETTERS[health.status]
    return told


def at_once(events: str) -> list[Event]:
    return [(1.0 + number, event) for number, event in enumerate(events)]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ("+++", "UUU"),
        ("--", "UU"),
        ("---", "UUD"),
        ("--+--", "UUUUU"),
        ("--+---", "UUUUUD"),
        ("---+", "UUDD"),
        ("---++", "UUDDU"),
        ("---+-++", "UUDDDDU"),
        ("---++--", "UUDDUUU"),
        ("x", "D"),
        ("x+", "DD"),
        ("x++", "DDU"),
        ("x+x++", "DDDDU"),
        ("x+-++", "DDDDU"),
        ("-x", "UD"),
        ("--x++--", "UUDDUUU"),
    ],
)
def test_checks_without_a_hold(events: str, expected: str) -> None:
    assert story(CHECK, 0.0, at_once(events)) == expected


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([(1, "x"), (2, "x"), (3, "+")], "RRU"),
        ([(1, "x"), (10.9, "x"), (11, "x"), (12, "x"), (13, "+")], "RRDDU"),
        ([(1, "x"), (10.9, "-"), (11, "-"), (12, "-"), (13, "+")], "RRDDU"),
        ([(1, "x"), (3, "+"), (4, "x"), (13.9, "x"), (14, "x")], "RURRD"),
        ([(1, "+"), (2, "-")], "UU"),
    ],
    ids=["back in time", "late", "late after a time-out", "again", "nothing to say"],
)
def test_a_hold_without_checks(events: list[Event], expected: str) -> None:
    assert story(None, 10.0, events) == expected


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([(1, "x"), (3, "+")], "RU"),
        ([(1, "x"), (11, "x"), (12, "+"), (13, "+")], "RDDU"),
        ([(1, "-"), (2, "-"), (3, "-"), (4, "x"), (5, "+"), (6, "+")], "UUDDDU"),
        ([(1, "-"), (2, "x"), (3, "+"), (4, "-"), (5, "-"), (6, "-")], "URUUUD"),
    ],
    ids=["back in time", "late", "unhealthy, then refusing", "forgotten failures"],
)
def test_a_hold_with_checks(events: list[Event], expected: str) -> None:
    assert story(CHECK, 10.0, events) == expected


@pytest.mark.parametrize(
    ("check", "hold", "events", "pause", "asks"),
    [
        (CHECK, 0.0, "", 5.0, True),
        (CHECK, 0.0, "--", 5.0, True),
        (CHECK, 0.0, "---", 5.0, True),
        (CHECK, 0.0, "---+", POLL_DOWN, True),
        (CHECK, 0.0, "---+-", 5.0, True),
        (CHECK, 0.0, "x", POLL_DOWN, True),
        (CHECK, 0.0, "x-", 5.0, True),
        (HealthCheck(interval=0.5), 0.0, "x", 0.5, True),
        (CHECK, 10.0, "x", POLL, False),
        (None, 10.0, "", None, False),
        (None, 10.0, "x", POLL, False),
        (None, 0.5, "xx", POLL_DOWN, False),
    ],
)
def test_when_a_server_is_looked_at_next(
    check: HealthCheck | None, hold: float, events: str, pause: float | None, asks: bool
) -> None:
    health = Health(check, hold, 0.0)
    for now, event in at_once(events):
        if event == "x":
            health.refused("refused", now)
        elif event == "+":
            health.passed(now)
        else:
            health.failed("no answer", now)
    assert health.pause(0.5) == pause
    assert health.asks == asks


def test_checks_are_spread_around_their_interval() -> None:
    health = Health(CHECK, 0.0, 0.0)
    assert [health.pause(chance) for chance in (0.0, 0.5, 1.0)] == pytest.approx([4.5, 5.0, 5.5])
