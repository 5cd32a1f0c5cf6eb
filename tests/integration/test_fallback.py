"""Pools that take over for others while no server of those is usable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.harness import Peer, Proxy, ScriptedServer, becomes_true

GET = b"GET /x?user=a HTTP/1.1\r\nHost: example.org\r\n\r\n"
POST = b"POST /x?user=a HTTP/1.1\r\nHost: example.org\r\nContent-Length: 4\r\n\r\nbody"


def pool(*servers: ScriptedServer, **settings: Any) -> dict[str, Any]:
    return {"servers": [{"address": server.address} for server in servers], **settings}


def chain(
    initial: ScriptedServer, normal: list[ScriptedServer], main: ScriptedServer, **settings: Any
) -> Proxy:
    pools = {
        "initial": pool(initial, fallback="normal", **settings),
        "normal": pool(
            *normal, fallback="main", balance={"hash": "$arg_user"}, keepalive=0, **settings
        ),
        "main": pool(main),
    }
    route = {"name": "all", "location": "/", "pool": "initial"}
    return Proxy({"pools": pools, "routes": [route]})


async def serve(server: ScriptedServer, client: Peer) -> bytes:
    peer, head = await server.request()
    await peer.answer()
    assert await client.received() == (200, b"ok")
    return head


@pytest.mark.parametrize("request_bytes", [GET, POST], ids=["GET", "POST"])
async def test_the_chain_is_followed_to_its_end(sockets: Path, request_bytes: bytes) -> None:
    dead = [ScriptedServer(sockets / name) for name in "abc"]
    async with ScriptedServer(sockets / "m") as main, chain(dead[0], dead[1:], main) as proxy:
        client = await proxy.client(request_bytes)
        await serve(main, client)
        (record,) = await proxy.logged()
        assert (record.pool, record.server, record.status) == ("main", main.address, 200)
        assert [attempt.server for attempt in record.attempts[:1]] == [dead[0].address]
        assert {attempt.server for attempt in record.attempts[1:3]} == {
            server.address for server in dead[1:]
        }


async def test_the_first_pool_that_has_a_server_is_used_with_its_own_key(sockets: Path) -> None:
    async with (
        ScriptedServer(sockets / "b") as first,
        ScriptedServer(sockets / "c") as second,
        ScriptedServer(sockets / "m") as main,
        chain(ScriptedServer(sockets / "a"), [first, second], main) as proxy,
    ):
        home = proxy.generation.pools["normal"].balancer.preference(b"a")[0]
        for _ in range(3):
            client = await proxy.client(GET)
            await serve((first, second)[home], client)
        assert main.accepted == 0


async def test_a_post_that_was_sent_does_not_fall_back(sockets: Path) -> None:
    async with (
        ScriptedServer(sockets / "a") as initial,
        ScriptedServer(sockets / "b") as normal,
        ScriptedServer(sockets / "m") as main,
        chain(initial, [normal], main) as proxy,
    ):
        client = await proxy.client(POST)
        peer, _ = await initial.request()
        peer.reset()
        assert (await client.received())[0] == 502
        assert normal.accepted == main.accepted == 0


async def test_a_get_that_was_cut_falls_back(sockets: Path) -> None:
    async with (
        ScriptedServer(sockets / "a") as initial,
        ScriptedServer(sockets / "b") as normal,
        ScriptedServer(sockets / "m") as main,
        chain(initial, [normal], main) as proxy,
    ):
        client = await proxy.client(GET)
        peer, _ = await initial.request()
        peer.reset()
        await serve(normal, client)


async def test_the_number_of_tries_counts_through_all_pools(sockets: Path) -> None:
    dead = [ScriptedServer(sockets / name) for name in "abc"]
    async with ScriptedServer(sockets / "m") as main:
        proxy = chain(dead[0], dead[1:], main)
        proxy = Proxy({**proxy._config.model_dump(), "proxy": {"next_upstream_tries": 2}})
        async with proxy:
            client = await proxy.client(GET)
            assert (await client.received())[0] == 502
            (record,) = await proxy.logged()
            assert len(record.attempts) == 2
            assert main.accepted == 0


async def test_at_the_end_of_the_chain_the_last_failure_is_the_answer(sockets: Path) -> None:
    dead = [ScriptedServer(sockets / name) for name in "abcm"]
    async with chain(dead[0], dead[1:3], dead[3]) as proxy:
        client = await proxy.client(GET)
        assert (await client.received())[0] == 502
        (record,) = await proxy.logged()
        assert [attempt.server for attempt in record.attempts][-1] == dead[3].address
        assert len(record.attempts) == 4


async def test_a_pool_without_a_fallback_fails(sockets: Path) -> None:
    async with ScriptedServer(sockets / "m") as main:
        pools = {"media": pool(ScriptedServer(sockets / "a")), "main": pool(main)}
        route = {"name": "all", "location": "/", "pool": "media"}
        async with Proxy({"pools": pools, "routes": [route]}) as proxy:
            client = await proxy.client(GET)
            assert (await client.received())[0] == 502
            assert main.accepted == 0


async def test_with_a_hold_a_request_waits_first_and_falls_back_afterwards(sockets: Path) -> None:
    initial, normal = ScriptedServer(sockets / "a"), ScriptedServer(sockets / "b")
    async with (
        ScriptedServer(sockets / "m") as main,
        chain(initial, [normal], main, restart_hold="10s") as proxy,
    ):
        client = await proxy.client(GET)
        for name in ("initial", "normal"):
            await becomes_true(lambda: proxy.generation.pools[name].lobby is not None)  # noqa: B023
            assert main.accepted == 0
            proxy.pass_time(11)
        await serve(main, client)
        client = await proxy.client(GET)

        def arrived() -> bool:
            proxy.pass_time(0.05)
            return main.accepted == 2 or proxy.idle == 0

        await becomes_true(arrived)


async def test_a_pool_that_is_known_to_be_down_is_passed_over_at_once(sockets: Path) -> None:
    initial, normal = ScriptedServer(sockets / "a"), ScriptedServer(sockets / "b")
    async with (
        ScriptedServer(sockets / "m") as main,
        chain(initial, [normal], main, health_check={}) as proxy,
    ):
        for expected in (3, 1, 1):
            client = await proxy.client(GET)
            peer, _ = await main.request()
            await peer.answer()
            assert await client.received() == (200, b"ok")
            peer.close()
            await becomes_true(lambda: proxy.idle == 0)
            assert len(proxy.records[-1].attempts) == expected
