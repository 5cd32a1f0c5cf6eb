"""How many children there are."""

from __future__ import annotations

import asyncio

import pytest

from synproxy.runtime.family import Family
from synproxy.runtime.offspring import Order

ORDER = Order(config={}, pems={}, loop="asyncio", sockets={}, identity=None, pin=False)


async def test_a_reload_that_starts_all_children_anew_starts_no_crashed_one_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that crashes again and again is started after a pause: a reload within it made one child
    too many, for good."""

    async def start(family: Family, order: Order, count: int) -> None:
        """Children that serve at once."""

    monkeypatch.setattr(Family, "start", start)
    family = Family()
    family.order = ORDER
    due = asyncio.get_running_loop().call_later(15, family._start_again, 1, 6)
    family._pauses[1] = due
    await family.give(ORDER, 2, others=True)
    assert due.cancelled()
    assert not family._pauses
