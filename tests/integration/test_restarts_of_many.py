"""Servers that restart among others, or over a reload: who waits for them, and who goes on."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from synproxy.core.health import Status
from tests.integration.harness import Proxy, ScriptedServer, becomes_true
from tests.integration.restarts import (
    GET,
    GONE,
    HOLD,
    POST,
    STICKY,
    Go,
    back,
    get,
    health,
    held,
    polled,
    served,
    user_of,
    waiting,
)


@pytest.mark.parametrize("go", GONE)
async def test_a_key_waits_for_its_home_while_that_restarts(sockets: Path, go: Go) -> None:
    async with (
        ScriptedServer(sockets / "a") as first,
        ScriptedServer(sockets / "b") as second,
        Proxy.to(first, second, pool=STICKY) as proxy,
    ):
        user = user_of(proxy, first)
        client = await proxy.client(get(user))
        await first.request()
        go(first)
        await held(proxy)
        newcomer = await proxy.client(get(user))
        await held(proxy, 2)
        await polled(proxy, lambda: health(proxy, first) == Status.RESTARTING)
        await back(proxy, first)
        await served(first, client)
        await served(first, newcomer)
        assert second.accepted == 0


async def test_a_key_goes_on_when_its_home_does_not_come_back_and_returns_later(
    sockets: Path,
) -> None:
    async with (
        ScriptedServer(sockets / "a") as first,
        ScriptedServer(sockets / "b") as second,
        Proxy.to(first, second, pool={**STICKY, "keepalive": 0}) as proxy,
    ):
        user = user_of(proxy, first)
        first.stop()
        client = await proxy.client(get(user))
        await held(proxy)
        proxy.pass_time(9)
        assert second.accepted == 0
        proxy.pass_time(2)
        await polled(proxy, lambda: health(proxy, first) == Status.DOWN)
        await served(second, client)
        client = await proxy.client(get(user))
        await served(second, client)  # at once
        await back(proxy, first)
        client = await proxy.client(get(user))
        await served(first, client)


@pytest.mark.parametrize("go", GONE)
async def test_without_a_key_a_request_goes_on_at_once(sockets: Path, go: Go) -> None:
    async with (
        ScriptedServer(sockets / "a") as first,
        ScriptedServer(sockets / "b") as second,
        Proxy.to(first, second, pool=HOLD) as proxy,
    ):
        client = await proxy.client(GET)
        await first.request()
        go(first)
        await served(second, client)
        for _ in range(4):
            await client.send(POST)
            peer = second._all[-1]
            await peer.head()
            assert await peer.read(4) == b"body"
            await peer.answer()
            assert await client.received() == (200, b"ok")
        assert second.accepted == 1


async def test_without_a_key_a_request_waits_for_whichever_server_is_back_first(
    sockets: Path,
) -> None:
    async with (
        ScriptedServer(sockets / "a") as first,
        ScriptedServer(sockets / "b") as second,
        Proxy.to(first, second, pool=HOLD) as proxy,
    ):
        first.stop()
        second.crash()
        client = await proxy.client(POST)
        await held(proxy)
        await back(proxy, second)
        await served(second, client)


async def test_a_cut_request_without_a_key_waits_when_no_other_server_is_left(
    sockets: Path,
) -> None:
    async with (
        ScriptedServer(sockets / "a") as first,
        ScriptedServer(sockets / "b") as second,
        Proxy.to(first, second, pool=HOLD) as proxy,
    ):
        client = await proxy.client(GET)
        await first.request()
        second.stop()
        first.stop()
        await held(proxy)
        await polled(
            proxy,
            lambda: health(proxy, first) == health(proxy, second) == Status.RESTARTING,
        )
        await back(proxy, first)
        await served(first, client)


async def test_a_home_that_keeps_crashing_holds_nobody_longer_than_configured(
    sockets: Path,
) -> None:
    async with (
        ScriptedServer(sockets / "a") as first,
        ScriptedServer(sockets / "b") as second,
        Proxy.to(first, second, pool=STICKY) as proxy,
    ):
        user = user_of(proxy, first)
        client = await proxy.client(get(user))
        for _ in range(3):
            await first.request()
            first.crash()
            await held(proxy)
            await polled(proxy, lambda: health(proxy, first) == Status.RESTARTING)
            proxy.pass_time(3)
            await back(proxy, first)
        await first.request()
        first.crash()
        await served(second, client)


async def test_a_reload_does_not_lose_those_who_wait(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, pool=HOLD) as proxy:
        server.stop()
        client = await proxy.client(GET)
        await held(proxy)
        old = proxy.generation
        proxy.reload()
        assert health(proxy, server) == Status.RESTARTING
        newcomer = await proxy.client(GET)
        await held(proxy)
        await back(proxy, server)
        for _ in range(2):
            peer, _ = await server.request()
            await peer.answer()
        for each in (client, newcomer):
            assert await each.received() == (200, b"ok")
        assert old.pools["pool"].lobby is None
        assert old.pools["pool"].over
        proxy.reload()
        assert len(proxy.handler.watches) == 1


async def test_a_reload_that_removes_the_pool_lets_those_who_wait_have_their_server(
    sockets: Path,
) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, pool=HOLD) as proxy:
        server.stop()
        client = await proxy.client(GET)
        await held(proxy)
        old = proxy.generation.pools["pool"]
        proxy.reload(pools={"pool": {"servers": [{"address": server.address}]}})
        await server.start()
        await polled(proxy, lambda: old.lobby is None)
        await served(server, client)
        await becomes_true(lambda: old.over)
        proxy.pass_time(10)
        await polled(proxy, lambda: len(proxy.wheel) < 5)


async def test_a_request_of_an_old_generation_waits_for_a_pool_that_it_has_not_used_yet(
    sockets: Path,
) -> None:
    async with ScriptedServer(sockets / "a") as worker, ScriptedServer(sockets / "m") as main:
        pools = {
            "worker": {"servers": [{"address": worker.address}], "fallback": "pool"},
            "pool": {"servers": [{"address": main.address}], **HOLD},
        }
        async with Proxy.to(main, pools=pools) as proxy:
            proxy.reload(routes=[{"name": "all", "location": "/", "pool": "worker"}])
            client = await proxy.client(GET)
            peer, _ = await worker.request()
            old = proxy.generation.pools["pool"]
            proxy.reload()
            main.stop()
            peer.reset()
            await becomes_true(lambda: old.lobby is not None)
            await main.start()
            await polled(proxy, lambda: old.lobby is None)
            await served(main, client)


async def test_a_server_that_is_marked_down_is_not_watched(
    sockets: Path, told: pytest.LogCaptureFixture
) -> None:
    pool = {
        "servers": [
            {"address": f"unix:{sockets}/a"},
            {"address": f"unix:{sockets}/absent", "down": True},
        ],
        "health_check": {},
    }
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, pool=pool) as proxy:
        proxy.pass_time(6)
        peer, _ = await server.request()
        await peer.answer()
        assert await peer.ended()
        assert told.messages == []


async def test_a_look_that_cannot_tell_lets_the_request_try(sockets: Path) -> None:
    loop = asyncio.get_running_loop()
    server = ScriptedServer(sockets / "a")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.setblocking(False)
        listener.bind(str(server.path))
        listener.listen(0)
        async with Proxy.to(server, pool=HOLD) as proxy:
            client = await proxy.client(GET)
            accepted, _ = await loop.sock_accept(listener)
            assert await loop.sock_recv(accepted, 4096)
            fillers = fill_backlog(server.path)
            accepted.close()
            await held(proxy)
            await polled(proxy, lambda: waiting(proxy) == 0)
            assert health(proxy, server) == Status.UP
            for filler in fillers:
                (await loop.sock_accept(listener))[0].close()
                filler.close()
            accepted, _ = await loop.sock_accept(listener)
            assert (await loop.sock_recv(accepted, 4096)).startswith(b"GET /x ")
            await loop.sock_sendall(accepted, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            assert await client.received() == (200, b"ok")
            accepted.close()


def fill_backlog(path: Path) -> list[socket.socket]:
    """Connections that nobody accepts, until there is no room for more."""
    fillers: list[socket.socket] = []
    while True:
        filler = socket.socket(socket.AF_UNIX)
        filler.setblocking(False)
        try:
            filler.connect(str(path))
        except BlockingIOError:
            filler.close()
            return fillers
        fillers.append(filler)


async def test_a_process_that_drains_still_waits_for_restarts(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, pool=HOLD) as proxy:
        server.stop()
        client = await proxy.client(GET)
        await held(proxy)
        proxy.handler.watches.drain()
        await back(proxy, server)
        await served(server, client)


async def test_with_checks_a_refused_socket_takes_a_server_out_at_once(
    sockets: Path, told: pytest.LogCaptureFixture
) -> None:
    pool = {"health_check": {}, "balance": {"hash": "$arg_user"}, "keepalive": 0}
    async with (
        ScriptedServer(sockets / "a") as first,
        ScriptedServer(sockets / "b") as second,
        Proxy.to(first, second, pool=pool) as proxy,
    ):
        user = user_of(proxy, first)
        first.crash()
        for _ in range(3):
            client = await proxy.client(get(user))
            await served(second, client)
        assert health(proxy, first) == Status.DOWN
        first_record, *others = await proxy.logged(3)
        assert [attempt.status for attempt in first_record.attempts] == [0, 200]
        assert all(len(record.attempts) == 1 for record in others)
        assert told.messages == [f"server {first.address} of pool is down: Connection refused"]
