"""Hostile messages of our own, in memory: whole, byte by byte, line by line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

from tests.hostile.answers import fate
from tests.hostile.conversation import CUTS, converse, serve
from tests.hostile.memory import World
from tests.hostile.own import (
    ANSWERS,
    BLOCKS,
    GOOD_LENGTH,
    LENGTHS,
    OWN_CONFIG,
    REQUESTS,
    OwnAnswer,
    OwnRequest,
    get,
    with_length,
)
from tests.hostile.readers import canonical, fields_of


@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: cut.__name__)
@pytest.mark.parametrize("case", REQUESTS, ids=lambda case: case.name)
async def test_a_request_has_its_answer(
    case: OwnRequest, cut: Callable[[bytes], list[bytes]]
) -> None:
    async with World(OWN_CONFIG, serve) as world:
        result = await converse(world, cut(case.raw), case.name)
        assert result.statuses == case.statuses
        assert len(result.served) == case.statuses.count(200)
        heads = [head for one in world.upstreams for head, _ in canonical(bytes(one.written))]
        for head in heads:
            fields = fields_of(head)
            names = [name for name, _ in fields]
            assert case.sent_on.items() <= dict(fields).items()
            assert not set(case.dropped) & set(names)
            assert not any(b"_" in name for name in names)


FIRSTS: Final = {"behind it": b"P", "in turns": b"GPG"}
"""P: the same fields with a good length; G: a request without a body, whose fields are others."""


@pytest.mark.parametrize("firsts", FIRSTS.values(), ids=FIRSTS)
@pytest.mark.parametrize("block", BLOCKS)
async def test_an_odd_length_in_fields_that_come_again_is_judged_as_the_first_time(
    block: tuple[bytes, ...], firsts: bytes
) -> None:
    """``HeaderBlock.remember`` leaves the digits of a length out of what it compares."""
    kinds = {ord("P"): with_length(block, GOOD_LENGTH), ord("G"): get(b"User-Agent: b")}
    ahead = [kinds[first] for first in firsts]
    async with World(OWN_CONFIG, serve) as world:
        for length, status in LENGTHS.items():
            odd = with_length(block, length)
            alone = await converse(world, [odd], f"{length!r} alone")
            assert alone.statuses[0] == status, length
            for pieces in ([*ahead, odd], [b"".join(ahead) + odd]):
                again = await converse(world, pieces, f"{length!r} behind {firsts!r}")
                assert again.statuses == (200,) * len(ahead) + alone.statuses, length
                assert again.served[len(ahead) :] == alone.served, length
                assert again.cut == alone.cut, length


@pytest.mark.parametrize("closes", [True, False], ids=["closes", "silent"])
@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: cut.__name__)
@pytest.mark.parametrize("case", ANSWERS, ids=lambda case: case.name)
async def test_an_answer_never_reaches_the_next_client(
    case: OwnAnswer, cut: Callable[[bytes], list[bytes]], closes: bool
) -> None:
    """That, :func:`tests.hostile.answers.fate` asserts for each."""
    result = await fate(case.raw, cut, closes=closes)
    assert result.verdict == ("502" if closes and case.verdict == "504" else case.verdict)
    if result.verdict in ("passed on", "cut"):
        assert result.body == case.body
    if not closes:
        assert result.kept == case.kept
