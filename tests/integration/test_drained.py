"""A server is drained while requests are under way at it, and while others wait for it."""

from __future__ import annotations

from pathlib import Path

from tests.integration.harness import ScriptedServer, becomes_true, two_servers
from tests.integration.test_queue import STICKY, busy, get, queued, to, user_of


async def test_what_is_under_way_ends_and_what_comes_goes_elsewhere(sockets: Path) -> None:
    async with two_servers(sockets) as (proxy, first, second):
        client = await proxy.client(get("a"))
        peer, _ = await first.request()
        idle = await proxy.client(get("b"))
        await (await second.request())[0].answer()
        assert await idle.received() == (200, b"ok")
        proxy.generation.intervene([first.address, second.address], None)
        assert proxy.generation.pools["pool"].idle_connections == 0
        proxy.generation.intervene([first.address], None)
        await peer.answer(b"done")
        assert await client.received() == (200, b"done")
        for name in ("c", "d"):
            client = await proxy.client(get(name))
            await (await second.request())[0].answer()
            assert await client.received() == (200, b"ok")
            client.close()
            proxy.generation.pools["pool"].drain(1, True)  # the next one opens its connection
            proxy.generation.pools["pool"].drain(1, False)
        assert first.accepted == 1


async def test_who_waits_for_a_place_goes_elsewhere(sockets: Path) -> None:
    async with (
        ScriptedServer(sockets / "a") as first,
        ScriptedServer(sockets / "b") as second,
        to(first, second, **STICKY) as proxy,
    ):
        user = user_of(proxy, 0)
        _, peer = await busy(proxy, first, f"{user}1")
        waits = await proxy.client(get(f"{user}2"))
        await queued(proxy, 1)
        proxy.generation.intervene([first.address], None)
        other, head = await second.request()
        assert head.startswith(f"GET /{user}2".encode())
        await other.answer(b"from the other")
        assert await waits.received() == (200, b"from the other")
        await peer.answer()


async def test_who_waits_for_a_restart_goes_elsewhere(sockets: Path) -> None:
    async with two_servers(sockets, pool={"restart_hold": 60, **STICKY}) as (proxy, first, second):
        user = user_of(proxy, 0)
        first.crash()
        waits = await proxy.client(get(f"{user}1"))
        pool = proxy.generation.pools["pool"]
        await becomes_true(lambda: pool.lobby is not None)
        proxy.generation.intervene([first.address], None)
        await (await second.request())[0].answer(b"from the other")
        assert await waits.received() == (200, b"from the other")
