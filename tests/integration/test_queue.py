"""Full servers: who waits for a place, whose turn it is, and what the others are told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.integration.harness import Peer, Proxy, ScriptedServer, becomes_true


def to(*servers: ScriptedServer, max_conns: int = 1, **pool: Any) -> Proxy:
    named = [{"address": server.address, "max_conns": max_conns} for server in servers]
    return Proxy.to(*servers, pool={"servers": named, "queue": 10, **pool})


STICKY: Mapping[str, Any] = {"balance": {"hash": "$arg_user"}}


def get(name: str) -> bytes:
    """A request whose sticky key is its letter: ``a1`` and ``a2`` belong to ``a``."""
    return f"GET /{name}?user={name[0]} HTTP/1.1\r\nHost: example.org\r\n\r\n".encode()


def user_of(proxy: Proxy, index: int) -> str:
    pool = proxy.generation.pools["pool"]
    return next(
        user
        for user in "abcdefghijklmnopqrstuvwxyz"
        if pool.balancer.preference(user.encode())[0] == index
    )


async def queued(proxy: Proxy, count: int) -> None:
    def reached() -> bool:
        lobby = proxy.generation.pools["pool"].lobby
        return (0 if lobby is None else len(lobby)) == count

    await becomes_true(reached)


async def line_up(proxy: Proxy, *names: str) -> dict[str, Peer]:
    """Clients that come one after the other, and wait."""
    clients = {}
    lobby = proxy.generation.pools["pool"].lobby
    before = 0 if lobby is None else len(lobby)
    for number, name in enumerate(names, start=1):
        clients[name] = await proxy.client(get(name))
        await queued(proxy, before + number)
    return clients


async def busy(proxy: Proxy, server: ScriptedServer, name: str) -> tuple[Peer, Peer]:
    """A client whose request the server has, and the server's end of it."""
    client = await proxy.client(get(name))
    peer, _ = await server.request()
    return client, peer


async def work_off(peer: Peer, count: int) -> str:
    """Answers the request in progress, then the next ones on the same connection; their names."""
    names = []
    await peer.answer()
    for _ in range(count):
        head = await peer.head()
        names.append(head.split(b"?")[0].rpartition(b"/")[2].decode())
        await peer.answer()
    return " ".join(names)


async def overloaded(client: Peer) -> None:
    """The client is told to come again, as Matrix has it."""
    head = await client.head()
    assert head.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
    assert b"\r\nRetry-After: 5\r\n" in head
    assert b"\r\nAccess-Control-Allow-Origin: *\r\n" in head
    length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
    body = json.loads(await client.read(length))
    assert (body["errcode"], body["retry_after_ms"]) == ("M_LIMIT_EXCEEDED", 5000)


@pytest.mark.parametrize("pool", [{}, STICKY], ids=["round robin", "hash"])
async def test_requests_get_places_in_their_order(sockets: Path, pool: dict[str, Any]) -> None:
    async with ScriptedServer(sockets / "a") as server, to(server, **pool) as proxy:
        _, peer = await busy(proxy, server, "z1")
        clients = await line_up(proxy, "a1", "b1", "c1")
        assert await work_off(peer, 3) == "a1 b1 c1"
        for client in clients.values():
            assert await client.received() == (200, b"ok")
        await queued(proxy, 0)
        assert server.accepted == 1


async def test_one_user_gets_no_more_than_a_turn(sockets: Path) -> None:
    async with (
        ScriptedServer(sockets / "a") as first,
        ScriptedServer(sockets / "b") as second,
        to(first, second, **STICKY) as proxy,
    ):
        greedy = user_of(proxy, 0)
        modest = next(
            user
            for user in "abcdefghijklmnopqrstuvwxyz"
            if user != greedy
            and proxy.generation.pools["pool"].balancer.preference(user.encode())[0] == 0
        )
        _, peer = await busy(proxy, first, f"{greedy}0")
        names = [f"{greedy}1", f"{greedy}2", f"{greedy}3", f"{modest}1", f"{modest}2"]
        await line_up(proxy, *names)
        assert await work_off(peer, 5) == " ".join(
            (f"{greedy}1", f"{modest}1", f"{greedy}2", f"{modest}2", f"{greedy}3")
        )
        assert second.accepted == 0


async def test_several_places_are_all_used(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, to(server, max_conns=3) as proxy:
        peers = [(await busy(proxy, server, f"z{number}"))[1] for number in range(3)]
        await line_up(proxy, "a1", "b1", "c1", "d1")
        await peers[0].answer()
        assert (await peers[0].head()).startswith(b"GET /a1")
        assert await work_off(peers[2], 3) == "b1 c1 d1"
        assert server.accepted == 3


async def test_a_client_that_leaves_frees_its_place_in_the_queue(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, to(server) as proxy:
        _, peer = await busy(proxy, server, "z1")
        clients = await line_up(proxy, "a1", "b1")
        clients["a1"].close()
        await queued(proxy, 1)
        (record,) = await proxy.logged()
        assert (record.status, record.end_reason, record.attempts) == (499, "client_gone", [])
        assert await work_off(peer, 1) == "b1"


async def test_a_client_that_leaves_its_server_makes_place_for_the_next(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, to(server) as proxy:
        client, _ = await busy(proxy, server, "z1")
        clients = await line_up(proxy, "a1")
        client.close()
        peer, head = await server.request()
        assert head.startswith(b"GET /a1")
        await peer.answer()
        assert await clients["a1"].received() == (200, b"ok")


async def test_a_failed_attempt_makes_place_for_the_next(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, to(server) as proxy:
        client, peer = await busy(proxy, server, "z1")
        clients = await line_up(proxy, "a1")
        await peer.send(b"garbage\r\n\r\n")
        assert (await client.received())[0] == 502
        peer, _ = await server.request()
        await peer.answer()
        assert await clients["a1"].received() == (200, b"ok")


async def test_who_waits_too_long_is_told_to_come_again(sockets: Path) -> None:
    queue = {"number": 10, "timeout": "5s"}
    async with ScriptedServer(sockets / "a") as server, to(server, queue=queue) as proxy:
        _, peer = await busy(proxy, server, "z1")
        clients = await line_up(proxy, "a1")
        proxy.pass_time(4)
        await queued(proxy, 1)
        proxy.pass_time(1.5)
        await overloaded(clients["a1"])
        (record,) = await proxy.logged()
        assert (record.status, record.end_reason) == (429, "overload")
        assert await work_off(peer, 0) == ""
        assert proxy.generation.pools["pool"].lobby is None


async def test_when_the_queue_is_full_the_next_is_told_to_come_again(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, to(server, queue=2) as proxy:
        _, peer = await busy(proxy, server, "z1")
        await line_up(proxy, "a1", "b1")
        await overloaded(await proxy.client(get("c1")))
        assert await work_off(peer, 2) == "a1 b1"


async def test_one_user_cannot_fill_the_queue(sockets: Path) -> None:
    async with (
        ScriptedServer(sockets / "a") as first,
        ScriptedServer(sockets / "b") as second,
        to(first, second, queue=2, **STICKY) as proxy,
    ):
        greedy, modest = user_of(proxy, 0), user_of(proxy, 1)
        _, peer = await busy(proxy, first, f"{greedy}0")
        _, other = await busy(proxy, second, f"{modest}0")
        clients = await line_up(proxy, f"{greedy}1", f"{greedy}2")
        newcomer = await proxy.client(get(f"{modest}1"))
        await overloaded(clients[f"{greedy}2"])
        assert await work_off(other, 1) == f"{modest}1"
        assert await newcomer.received() == (200, b"ok")
        assert await work_off(peer, 1) == f"{greedy}1"


async def test_without_a_queue_a_full_pool_is_429_at_once_and_a_full_home_is_left(
    sockets: Path,
) -> None:
    async with (
        ScriptedServer(sockets / "a") as first,
        ScriptedServer(sockets / "b") as second,
        to(first, second, queue=None, **STICKY) as proxy,
    ):
        user = user_of(proxy, 0)
        await busy(proxy, first, f"{user}0")
        await busy(proxy, second, f"{user}1")
        await overloaded(await proxy.client(get(f"{user}2")))


async def test_a_key_waits_for_its_home_and_goes_on_when_its_time_is_over(sockets: Path) -> None:
    async with (
        ScriptedServer(sockets / "a") as first,
        ScriptedServer(sockets / "b") as second,
        to(first, second, **STICKY) as proxy,
    ):
        user = user_of(proxy, 0)
        await busy(proxy, first, f"{user}0")
        clients = await line_up(proxy, f"{user}1")
        assert second.accepted == 0
        proxy.pass_time(5.5)
        peer, _ = await second.request()
        await peer.answer()
        assert await clients[f"{user}1"].received() == (200, b"ok")


async def test_a_key_goes_on_at_once_when_the_queue_is_full(sockets: Path) -> None:
    async with (
        ScriptedServer(sockets / "a") as first,
        ScriptedServer(sockets / "b") as second,
        to(first, second, queue=1, **STICKY) as proxy,
    ):
        user = user_of(proxy, 0)
        await busy(proxy, first, f"{user}0")
        await line_up(proxy, f"{user}1")
        client = await proxy.client(get(f"{user}2"))
        peer, _ = await second.request()
        await peer.answer()
        assert await client.received() == (200, b"ok")


async def test_a_full_pool_does_not_fall_back(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, ScriptedServer(sockets / "m") as main:
        full = {"servers": [{"address": server.address, "max_conns": 1}], "fallback": "main"}
        pools = {"pool": full, "main": {"servers": [{"address": main.address}]}}
        async with Proxy.to(server, pools=pools) as proxy:
            await busy(proxy, server, "z1")
            await overloaded(await proxy.client(get("a1")))
            assert main.accepted == 0


async def test_who_queues_for_a_home_that_dies_goes_on_at_once(sockets: Path) -> None:
    async with (
        ScriptedServer(sockets / "a") as first,
        ScriptedServer(sockets / "b") as second,
        to(first, second, health_check={}, keepalive=0, **STICKY) as proxy,
    ):
        user = user_of(proxy, 0)
        busy_client, _ = await busy(proxy, first, f"{user}0")
        clients = await line_up(proxy, f"{user}1")
        first.stop()
        for client in (busy_client, clients[f"{user}1"]):
            peer, _ = await second.request()
            await peer.answer()
            assert await client.received() == (200, b"ok")


async def test_who_queues_when_its_home_restarts_waits_on_for_it(sockets: Path) -> None:
    async with (
        ScriptedServer(sockets / "a") as first,
        ScriptedServer(sockets / "b") as second,
        to(first, second, restart_hold="10s", **STICKY) as proxy,
    ):
        user = user_of(proxy, 0)
        busy_client, _ = await busy(proxy, first, f"{user}0")
        clients = await line_up(proxy, f"{user}1")
        first.stop()
        await queued(proxy, 2)
        proxy.pass_time(0.1)
        await first.start()

        def connected() -> bool:
            proxy.pass_time(0.05)
            return first.accepted > 1

        await becomes_true(connected)
        peer, _ = await first.request()
        await work_off(peer, 1)
        for client in (busy_client, clients[f"{user}1"]):
            assert await client.received() == (200, b"ok")
        assert second.accepted == 0
