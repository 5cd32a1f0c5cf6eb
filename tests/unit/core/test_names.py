"""What pools become of the servers behind names, and which keys move when those change."""

from __future__ import annotations

import random
from typing import Any

import pytest

from synproxy.config.model import Pool
from synproxy.core.balance import Balancer
from synproxy.core.names import Found, ResolvedServer, expand, is_service

NAME = "workers.example.org:8008"
SERVICE = "_synapse._tcp.example.org"
KEYS = [b"@user%d" % number for number in range(2000)]


def pool(address: str = NAME, method: str = "ketama", **server: Any) -> Pool:
    balance = {"hash": "$synapse_user", "method": method}
    servers = [{"address": address, "resolve": True, **server}]
    return Pool.model_validate({"servers": servers, "balance": balance})


def at(*hosts: int) -> tuple[Found, ...]:
    return tuple(Found(f"10.0.0.{host}:8008", (f"10.0.0.{host}",)) for host in hosts)


def homes(settings: Pool) -> dict[bytes, str]:
    balancer = Balancer(settings)
    found = {}
    for key in KEYS:
        index = balancer.pick(key, (), 0.0)
        assert index is not None
        found[key] = settings.servers[index].address
    return found


def test_all_addresses_of_a_name_are_servers() -> None:
    servers = expand(pool(max_conns=5, weight=2), {NAME: at(1, 2)}).servers
    assert [server.address for server in servers] == ["10.0.0.1:8008", "10.0.0.2:8008"]
    assert {(server.max_conns, server.weight) for server in servers} == {(5, 2)}
    assert all(isinstance(server, ResolvedServer) for server in servers)
    assert {server.name for server in servers if isinstance(server, ResolvedServer)} == {
        "workers.example.org"
    }


def test_a_name_that_is_not_known_yet_stays_as_it_is() -> None:
    assert expand(pool(), {}) == pool()


def test_a_pool_without_names_is_not_touched() -> None:
    plain = Pool.model_validate({"servers": ["unix:/run/a.sock", NAME]})
    assert expand(plain, {NAME: at(1)}) is plain


@pytest.mark.parametrize("method", ["ketama", "rendezvous"])
def test_an_answer_in_another_order_moves_no_key(method: str) -> None:
    before = homes(expand(pool(method=method), {NAME: at(1, 2, 3)}))
    assert homes(expand(pool(method=method), {NAME: at(3, 1, 2)})) == before


@pytest.mark.parametrize("method", ["ketama", "rendezvous"])
def test_only_keys_of_a_server_that_comes_or_goes_move(method: str) -> None:
    two = homes(expand(pool(method=method), {NAME: at(1, 2)}))
    three = homes(expand(pool(method=method), {NAME: at(1, 2, 3)}))
    moved = [key for key in KEYS if two[key] != three[key]]
    assert {three[key] for key in moved} == {"10.0.0.3:8008"}
    assert 0.2 < len(moved) / len(KEYS) < 0.5


def test_a_target_of_an_srv_record_keeps_its_keys_when_its_address_changes() -> None:
    def answer(*places: str) -> dict[str, tuple[Found, ...]]:
        return {
            SERVICE: tuple(
                Found(f"worker{number}.example.org:8008", (place,))
                for number, place in enumerate(places)
            )
        }

    before = expand(pool(SERVICE), answer("10.0.0.1", "10.0.0.2", "10.0.0.3"))
    after = expand(pool(SERVICE), answer("10.0.0.1", "10.0.0.9", "10.0.0.3"))
    assert homes(after) == homes(before)
    assert before.servers != after.servers
    assert isinstance(after.servers[1], ResolvedServer)
    assert (after.servers[1].places, after.servers[1].name) == (
        ("10.0.0.9",),
        "worker1.example.org",
    )


@pytest.mark.parametrize(
    ("weights", "scaled"),
    [
        ([1, 1], [1, 1]),
        ([10, 20, 30], [1, 2, 3]),
        ([0, 0], [1, 1]),
        ([0, 10], [1, 1]),
        ([65535, 1], [100, 1]),
        ([60000, 30000, 45000], [4, 2, 3]),
    ],
)
def test_weights_of_srv_records_are_kept_small(weights: list[int], scaled: list[int]) -> None:
    found = tuple(Found(f"w{n}:1", ("10.0.0.1",), 0, one) for n, one in enumerate(weights))
    servers = expand(pool(SERVICE), {SERVICE: found}).servers
    assert [server.weight for server in servers] == scaled


def test_servers_of_a_lower_priority_are_backups() -> None:
    found = tuple(Found(f"w{priority}:1", ("10.0.0.1",), priority) for priority in (20, 10, 10, 30))
    found = tuple(one._replace(address=f"w{n}:1") for n, one in enumerate(found))
    servers = expand(pool(SERVICE), {SERVICE: found}).servers
    assert [server.backup for server in servers] == [True, False, False, True]


def test_names_beside_addresses_and_twice_make_each_server_once() -> None:
    servers = [{"address": NAME, "resolve": True}, "10.0.0.2:8008"]
    mixed = Pool.model_validate({"servers": servers})
    found = list(at(1, 2, 3))
    random.Random(1).shuffle(found)
    expanded = expand(mixed, {NAME: tuple(found)}).servers
    assert sorted(server.address for server in expanded) == [
        f"10.0.0.{host}:8008" for host in (1, 2, 3)
    ]


def test_an_srv_name_is_known_by_its_underscore() -> None:
    assert is_service(SERVICE)
    assert not is_service(NAME)
