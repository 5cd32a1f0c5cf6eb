"""Who has more connections than its share."""

from __future__ import annotations

import os

import pytest

from synproxy.runtime.offspring import pause_before_restart
from synproxy.runtime.shares import SLOTS, Shares


@pytest.mark.parametrize(
    ("others", "mine", "above"),
    [
        ([], 1000, False),
        ([0], 0, False),
        ([0], 1, False),
        ([0], 2, True),
        ([10, 10], 10, False),
        ([10, 10], 12, True),
        ([100, 100, 100], 99, False),
    ],
)
def test_a_child_is_above_its_share_by_one_more_than_the_mean(
    others: list[int], mine: int, above: bool
) -> None:
    shares = Shares.create()
    for slot, count in enumerate([*others, mine], start=1):
        shares.set(slot, count)
    shares.use(len(others) + 1)
    assert shares.above(mine) is above
    os.close(shares.fd)


def test_who_has_gone_does_not_count() -> None:
    shares = Shares.create()
    shares.use(SLOTS)
    shares.set(1, 5)
    shares.set(SLOTS, 0)
    assert shares.above(5)
    shares.free(SLOTS)
    assert not shares.above(5)
    os.close(shares.fd)


def test_all_children_see_the_same() -> None:
    shares = Shares.create()
    other = Shares(shares.fd)
    shares.use(2)
    shares.set(1, 0)
    other.set(2, 9)
    assert other.above(9)
    os.close(shares.fd)


def test_a_child_that_keeps_crashing_is_started_ever_more_rarely() -> None:
    assert [pause_before_restart(crashes) for crashes in range(8)] == [
        *(0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0)
    ]
