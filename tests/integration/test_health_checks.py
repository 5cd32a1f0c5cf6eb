"""Servers that are asked whether they are well: who is left out, and when they are back."""

from __future__ import annotations

from pathlib import Path

import pytest

from synproxy.core.health import Status
from tests.integration.harness import Peer, Proxy, ScriptedServer, becomes_true, two_servers

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"
BAD = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
CHECK = {"health_check": {"interval": "5s", "timeout": "2s", "rise": 2, "fall": 3}}
GET = b"GET /x HTTP/1.1\r\nHost: example.org\r\n\r\n"


async def question(proxy: Proxy, server: ScriptedServer) -> Peer:
    """Waits for the next check."""
    proxy.pass_time(6)
    peer, head = await server.request()
    assert head.startswith(b"GET /health HTTP/1.1\r\n")
    return peer


async def check(proxy: Proxy, server: ScriptedServer, *answers: bytes) -> None:
    """Answers the next checks; each has a connection of its own, and ends it."""
    for answer in answers:
        peer = await question(proxy, server)
        await peer.send(answer)
        assert await peer.ended()


def health(proxy: Proxy, index: int = 0) -> int:
    return proxy.generation.pools["pool"].balancer.health(index)


async def test_a_question_names_a_host_and_ends_its_connection(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, pool=CHECK) as proxy:
        proxy.pass_time(6)
        _, head = await server.request()
        assert b"\r\nHost: localhost\r\n" in head
        assert b"\r\nConnection: close\r\n" in head


@pytest.mark.parametrize(
    "answer",
    [BAD, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 99 Low\r\n\r\n", b""],
    ids=["503", "404", "not HTTP", "closed"],
)
async def test_a_server_that_answers_badly_is_left_out_and_comes_back(
    sockets: Path, told: pytest.LogCaptureFixture, answer: bytes
) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, pool=CHECK) as proxy:
        for expected in (Status.UP, Status.UP, Status.DOWN, Status.DOWN):
            peer = await question(proxy, server)
            await peer.send(answer)
            peer.writer.write_eof()
            assert await peer.ended()
            assert health(proxy) == expected
        await check(proxy, server, GOOD)
        assert health(proxy) == Status.DOWN
        await check(proxy, server, GOOD)
        assert health(proxy) == Status.UP
        down, up = told.messages
        assert down.startswith(f"server {server.address} of pool is down: ")
        assert up == f"server {server.address} of pool is up"


async def test_an_answer_that_does_not_come_in_time_is_a_bad_one(
    sockets: Path, told: pytest.LogCaptureFixture
) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, pool=CHECK) as proxy:
        for _ in range(3):
            peer = await question(proxy, server)
            await peer.send(b"HTTP/1.1 200")
            proxy.pass_time(1)
            assert health(proxy) == Status.UP
            proxy.pass_time(1.5)
            assert await peer.ended()
        assert health(proxy) == Status.DOWN
        assert told.messages == [f"server {server.address} of pool is down: no answer within 2 s"]


async def test_a_missing_socket_takes_a_server_out_at_once(
    sockets: Path, told: pytest.LogCaptureFixture
) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, pool=CHECK) as proxy:
        await check(proxy, server, GOOD)
        server.stop()
        proxy.pass_time(6)
        await becomes_true(lambda: health(proxy) == Status.DOWN)
        await server.start()
        await check(proxy, server, GOOD, GOOD)
        assert health(proxy) == Status.UP
        assert len(told.messages) == 2
        assert told.messages[0].endswith("is down: No such file or directory")


async def test_the_next_question_waits_for_the_answer_to_this_one(sockets: Path) -> None:
    pool = {"health_check": {"interval": "1s", "timeout": "30s"}}
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, pool=pool) as proxy:
        peer = await question(proxy, server)
        for _ in range(5):
            proxy.pass_time(2)
        await peer.send(GOOD)
        assert await peer.ended()
        assert server.accepted == 1
        await check(proxy, server, GOOD)


async def test_a_key_leaves_its_home_only_while_that_is_down(sockets: Path) -> None:
    pool = {**CHECK, "balance": {"hash": "$arg_user"}, "keepalive": 0}
    request = b"GET /x?user=%d HTTP/1.1\r\nHost: example.org\r\n\r\n"
    async with two_servers(sockets, pool=pool) as (proxy, first, second):
        balancer = proxy.generation.pools["pool"].balancer
        user = next(user for user in range(99) if balancer.pick(b"%d" % user, (), 0.0) == 0)

        async def asked(server: ScriptedServer) -> None:
            client = await proxy.client(request % user)
            peer, head = await server.request()
            assert head.startswith(b"GET /x?")
            await peer.answer()
            assert await client.received() == (200, b"ok")

        await asked(first)
        for _ in range(3):
            proxy.pass_time(6)
            for server in (first, second):
                peer, _ = await server.request()
                await peer.send(BAD if server is first else GOOD)
                assert await peer.ended()
        await asked(second)
        for _ in range(2):
            proxy.pass_time(6)
            for server in (first, second):
                peer, _ = await server.request()
                await peer.send(GOOD)
                assert await peer.ended()
        await asked(first)


async def test_a_server_of_two_pools_is_asked_once_and_both_know(
    sockets: Path, told: pytest.LogCaptureFixture
) -> None:
    async with ScriptedServer(sockets / "a") as server:
        pool = {"servers": [{"address": server.address}], **CHECK}
        route = {"name": "all", "location": "/", "pool": "pool"}
        async with Proxy({"pools": {"pool": pool, "other": pool}, "routes": [route]}) as proxy:
            await check(proxy, server, BAD, BAD, BAD)
            assert server.accepted == 3
            for each in proxy.generation.pools.values():
                assert each.balancer.health(0) == Status.DOWN
            assert told.messages == [
                f"server {server.address} of pool, other is down: answered 503"
            ]


async def test_a_reload_keeps_what_is_known_and_asks_on(
    sockets: Path, told: pytest.LogCaptureFixture
) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, pool=CHECK) as proxy:
        await check(proxy, server, BAD, BAD)
        proxy.reload()
        await check(proxy, server, BAD)
        assert health(proxy) == Status.DOWN
        proxy.reload()
        assert health(proxy) == Status.DOWN
        await check(proxy, server, GOOD, GOOD)
        assert health(proxy) == Status.UP
        assert len(told.messages) == 2


async def test_a_reload_without_checks_ends_them(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, pool=CHECK) as proxy:
        await check(proxy, server, BAD, BAD, BAD)
        proxy.reload(pools={"pool": {"servers": [{"address": server.address}]}})
        assert health(proxy) == Status.UP
        assert len(proxy.handler.watches) == 0
        proxy.pass_time(60)
        client = await proxy.client(GET)
        peer, head = await server.request()
        assert head.startswith(b"GET /x ")
        await peer.answer()
        assert await client.received() == (200, b"ok")


async def test_a_question_in_progress_at_a_reload_still_counts(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, pool=CHECK) as proxy:
        await check(proxy, server, BAD, BAD)
        peer = await question(proxy, server)
        proxy.reload()
        await peer.send(BAD)
        assert await peer.ended()
        assert health(proxy) == Status.DOWN


async def test_a_process_that_drains_asks_nobody(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, pool=CHECK) as proxy:
        peer = await question(proxy, server)
        proxy.handler.watches.drain()
        assert await peer.ended()
        proxy.pass_time(60)
        client = await proxy.client(GET)
        peer, head = await server.request()
        assert head.startswith(b"GET /x ")
        await peer.answer()
        assert await client.received() == (200, b"ok")
        assert server.accepted == 2


async def test_without_checks_nobody_is_watched(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        assert len(proxy.handler.watches) == 0
        assert not proxy.generation.pools["pool"].watched
