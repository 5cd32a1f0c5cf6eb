"""Rendezvous hashing follows its formula, exactly and for ever."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from synproxy.core.rendezvous import Draw, score

SYNC = [f"unix:/run/matrix-synapse/inbound_normal_sync{number}.sock" for number in (1, 2, 3)]

_SERVERS = st.lists(
    st.tuples(
        st.integers(0, 99).map(lambda number: f"unix:/run/w{number}.sock"), st.integers(1, 4)
    ),
    min_size=2,
    max_size=6,
    unique_by=lambda server: server[0],
)
_KEYS = st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=50)


def test_xxh3_is_the_one_that_everyone_else_has() -> None:
    assert xxh3_64_intdigest(b"") == 0x2D06800538D394C2
    assert xxh3_64_intdigest(b"alice", xxh3_64_intdigest(SYNC[0].encode())) == 0x4C3E505AEE5815DF


@pytest.mark.parametrize(
    ("key", "even", "weighted"),
    [
        (b"alice", "012", "102"),
        (b"bob", "012", "102"),
        (b"YWxpY2U", "021", "021"),
        (b"192.0.2.1", "012", "102"),
        ("größe".encode(), "012", "102"),
        (b"", "102", "102"),
    ],
)
def test_known_keys_have_known_orders(key: bytes, even: str, weighted: str) -> None:
    assert "".join(map(str, Draw([(a, 1) for a in SYNC]).offers(key))) == even
    assert "".join(map(str, Draw(zip(SYNC, (1, 5, 1), strict=True)).offers(key))) == weighted


def test_the_score_is_defined_for_every_draw() -> None:
    assert 0 < score(0, 1) < score(1 << 63, 1) < score((1 << 64) - 1, 1)
    assert score(1 << 40, 3) == 3 * score(1 << 40, 1)


def test_equal_draws_go_to_the_first_server() -> None:
    twice = Draw([(SYNC[0], 1), (SYNC[0], 1)])
    assert [list(twice.offers(b"%d" % n)) for n in range(20)] == [[0, 1]] * 20
    assert {twice.home(b"%d" % n) for n in range(20)} == {0}


@given(_SERVERS, _KEYS)
def test_the_home_is_the_first_offer_and_every_server_is_offered_once(
    servers: list[tuple[str, int]], keys: list[bytes]
) -> None:
    draw = Draw(servers)
    for key in keys:
        offers = list(draw.offers(key))
        assert draw.home(key) == offers[0]
        assert sorted(offers) == list(range(len(servers)))


@given(_SERVERS, _KEYS, st.integers(1, 9))
def test_equal_weights_are_no_weights(
    servers: list[tuple[str, int]], keys: list[bytes], weight: int
) -> None:
    draw = Draw([(address, weight) for address, _ in servers])
    seeds = [xxh3_64_intdigest(address.encode()) for address, _ in servers]
    for key in keys:
        by_score = sorted(
            range(len(seeds)), key=lambda i: -score(xxh3_64_intdigest(key, seeds[i]), weight)
        )
        assert list(draw.offers(key)) == by_score


@given(_SERVERS, _KEYS, st.data())
def test_a_removed_server_moves_its_own_keys_only_and_to_the_next_offer(
    servers: list[tuple[str, int]], keys: list[bytes], data: st.DataObject
) -> None:
    gone = data.draw(st.integers(0, len(servers) - 1))
    rest = servers[:gone] + servers[gone + 1 :]
    before, after = Draw(servers), Draw(rest)
    for key in keys:
        order = [servers[index] for index in before.offers(key) if index != gone]
        assert [rest[index] for index in after.offers(key)] == order


@given(_SERVERS, _KEYS, st.data())
def test_a_heavier_server_only_wins_keys(
    servers: list[tuple[str, int]], keys: list[bytes], data: st.DataObject
) -> None:
    heavier = data.draw(st.integers(0, len(servers) - 1))
    grown = [(a, w + (index == heavier)) for index, (a, w) in enumerate(servers)]
    before, after = Draw(servers), Draw(grown)
    for key in keys:
        assert after.home(key) in (before.home(key), heavier)


def test_keys_spread_by_weight() -> None:
    draw = Draw(zip(SYNC, (1, 2, 1), strict=True))
    counts = [0, 0, 0]
    for number in range(8000):
        counts[draw.home(b"@user%d" % number)] += 1
    assert 1850 < counts[0] < 2150
    assert 3800 < counts[1] < 4200
    assert 1850 < counts[2] < 2150
