"""The ring is nginx's."""

from __future__ import annotations

from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synproxy.core.ketama import POINTS_PER_WEIGHT, POINTS_TRIED, Ring, hashed_name, points_of

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


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("unix:/run/a.sock", b"/run/a.sock\0"),
        ("UNIX:/run/a.sock", b"/run/a.sock\0"),
        ("unix:/run/a:8008", b"/run/a:8008\0"),
        ("127.0.0.1:8008", b"127.0.0.1\x008008"),
        ("127.0.0.1", b"127.0.0.1\0"),
        ("localhost:8008", b"localhost\x008008"),
        ("localhost", b"localhost\0"),
        ("[::1]:8008", b"[::1]\x008008"),
        ("[::1]", b"[::1]\0"),
        ("host:", b"host\0"),
    ],
)
def test_an_address_is_hashed_as_host_and_port(address: str, expected: bytes) -> None:
    assert hashed_name(address) == expected


def test_each_point_is_hashed_from_the_one_before() -> None:
    points = list(points_of("127.0.0.1:8008", 2))
    assert len(points) == 2 * POINTS_PER_WEIGHT
    assert points[0] == crc32(b"127.0.0.1\x008008\0\0\0\0")
    assert points[1] == crc32(b"127.0.0.1\x008008" + points[0].to_bytes(4, "little"))


def test_a_heavier_server_keeps_its_points_and_gets_more() -> None:
    assert list(points_of(SYNC[0], 3))[:POINTS_PER_WEIGHT] == list(points_of(SYNC[0], 1))


@pytest.mark.parametrize(
    ("key", "offered"),
    [
        (b"alice", "211101002112222220000"),
        (b"bob", "002110202201220212210"),
        (b"YWxpY2U", "110021112120200000100"),
        (b"192.0.2.1", "211210222020122022100"),
        ("größe".encode(), "210011221112202001010"),
    ],
)
def test_known_keys_walk_known_servers(key: bytes, offered: str) -> None:
    ring = Ring([(address, 1) for address in SYNC])
    assert "".join(map(str, ring.offers(key))) == offered
    assert ring.home(key) == int(offered[0])
    assert len(offered) == POINTS_TRIED


def test_a_key_past_the_last_point_belongs_to_the_first() -> None:
    address = SYNC[0]
    other = "unix:/run/other.sock"
    points = dict.fromkeys(points_of(address, 1), 0) | dict.fromkeys(points_of(other, 1), 1)
    first, last = min(points), max(points)
    key = next(key for number in range(10**6) if crc32(key := b"%d" % number) > last)
    ring = Ring([(address, 1), (other, 1)])
    assert ring.home(key) == points[first]
    assert list(ring.offers(key)) == [points[point] for point in sorted(points)[:POINTS_TRIED]]


def test_of_two_servers_with_the_same_points_the_first_keeps_them() -> None:
    ring = Ring([(SYNC[0], 1), (SYNC[0], 2), (SYNC[1], 1)])
    assert len(ring) == 3 * POINTS_PER_WEIGHT
    assert {ring.home(b"%d" % number) for number in range(1000)} == {0, 1, 2}
    assert set(Ring([(SYNC[0], 1), (SYNC[0], 1)]).offers(b"x")) == {0}


@given(_SERVERS, _KEYS)
def test_a_key_belongs_to_the_next_point_of_all(
    servers: list[tuple[str, int]], keys: list[bytes]
) -> None:
    ring = Ring(servers)
    points = sorted((point, i) for i, server in enumerate(servers) for point in points_of(*server))
    for key in keys:
        later = [owner for point, owner in points if point >= crc32(key)]
        assert ring.home(key) == (later[0] if later else points[0][1])


@given(_SERVERS, _KEYS, st.data())
def test_a_removed_server_moves_its_own_keys_only(
    servers: list[tuple[str, int]], keys: list[bytes], data: st.DataObject
) -> None:
    gone = data.draw(st.integers(0, len(servers) - 1))
    rest = servers[:gone] + servers[gone + 1 :]
    before, after = Ring(servers), Ring(rest)
    for key in keys:
        home = servers[before.home(key)]
        if home != servers[gone]:
            assert rest[after.home(key)] == home


def test_keys_spread_by_weight() -> None:
    ring = Ring([(SYNC[0], 1), (SYNC[1], 2), (SYNC[2], 1)])
    counts = [0, 0, 0]
    for number in range(8000):
        counts[ring.home(b"@user%d" % number)] += 1
    assert 1600 < counts[0] < 2400
    assert 3200 < counts[1] < 4800
    assert 1600 < counts[2] < 2400
