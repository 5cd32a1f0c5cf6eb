"""A server that restarts: who waits for it, and what is never sent twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from synproxy.core.health import Status
from tests.integration.harness import Proxy, ScriptedServer, becomes_true
from tests.integration.restarts import (
    GET,
    GONE,
    HOLD,
    POST,
    PUT,
    Go,
    back,
    health,
    held,
    polled,
    served,
    waiting,
)


@pytest.mark.parametrize("go", GONE)
async def test_a_held_sync_that_a_restart_cuts_is_asked_again_of_the_new_process(
    sockets: Path, go: Go, told: pytest.LogCaptureFixture
) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, pool=HOLD) as proxy:
        client = await proxy.client(GET)
        await server.request()
        go(server)
        await held(proxy)
        await polled(proxy, lambda: health(proxy, server) == Status.RESTARTING)
        await back(proxy, server)
        await served(server, client)
        (record,) = await proxy.logged()
        assert [attempt.status for attempt in record.attempts] == [0, 200]
        assert waiting(proxy) == 0
        restarting, up = told.messages
        assert restarting.startswith(f"server {server.address} of pool is restarting: ")
        assert up == f"server {server.address} of pool is up"


@pytest.mark.parametrize("go", GONE)
@pytest.mark.parametrize("request_bytes", [GET, POST, PUT], ids=["GET", "POST", "PUT"])
async def test_a_request_of_which_nothing_was_sent_waits_whatever_its_method(
    sockets: Path, go: Go, request_bytes: bytes
) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, pool=HOLD) as proxy:
        go(server)
        client = await proxy.client(request_bytes)
        await held(proxy)
        await back(proxy, server)
        peer, _ = await server.request()
        if request_bytes is not GET:
            assert await peer.read(4) == b"body"
        await peer.answer()
        assert await client.received() == (200, b"ok")


async def test_a_body_that_comes_while_its_request_waits_is_kept(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, pool=HOLD) as proxy:
        server.stop()
        body = bytes(range(256)) * 1000
        head = b"POST /x HTTP/1.1\r\nHost: example.org\r\nContent-Length: %d\r\n\r\n" % len(body)
        client = await proxy.client(head)
        await held(proxy)
        client.writer.write(body)  # more than is taken before there is a server
        await back(proxy, server)
        peer, _ = await server.request()
        assert await peer.read(len(body)) == body
        await peer.answer()
        assert await client.received() == (200, b"ok")


@pytest.mark.parametrize("go", GONE)
async def test_a_post_that_was_sent_is_never_sent_again(sockets: Path, go: Go) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, pool=HOLD) as proxy:
        client = await proxy.client(POST)
        await server.request()
        go(server)
        assert (await client.received())[0] == 502
        assert waiting(proxy) == 0
        await server.start()
        client = await proxy.client(GET)
        await served(server, client)
        assert server.accepted == 2


async def test_a_put_that_was_cut_is_sent_again_with_its_body(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, pool=HOLD) as proxy:
        client = await proxy.client(PUT)
        await server.request()
        server.stop()
        await held(proxy)
        await polled(proxy, lambda: health(proxy, server) == Status.RESTARTING)
        await back(proxy, server)
        peer, _ = await server.request()
        assert await peer.read(4) == b"body"
        await peer.answer()
        assert await client.received() == (200, b"ok")


async def test_a_sync_on_a_used_connection_survives_a_restart_too(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, pool=HOLD) as proxy:
        client = await proxy.client(GET)
        peer, _ = await server.request()
        await peer.answer()
        assert await client.received() == (200, b"ok")
        await client.send(GET)
        await peer.head()
        server.stop()
        await held(proxy)
        await back(proxy, server)
        await served(server, client)


async def test_a_server_that_does_not_come_back_is_a_503_that_says_when_to_come_again(
    sockets: Path, told: pytest.LogCaptureFixture
) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, pool=HOLD) as proxy:
        server.stop()
        client = await proxy.client(GET)
        await held(proxy)
        proxy.pass_time(9)
        assert waiting(proxy) == 1
        await polled(proxy, lambda: waiting(proxy) == 0)
        head = await client.head()
        assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"\r\nRetry-After: 5\r\n" in head
        assert b"\r\nAccess-Control-Allow-Origin: *\r\n" in head
        assert told.messages[-1].startswith(f"server {server.address} of pool is down: ")


async def test_a_server_that_is_known_to_be_down_makes_nobody_wait(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, pool=HOLD) as proxy:
        server.stop()
        first = await proxy.client(GET)
        await held(proxy)
        proxy.pass_time(11)
        await polled(proxy, lambda: health(proxy, server) == Status.DOWN)
        assert (await first.received())[0] == 503
        second = await proxy.client(GET)
        assert (await second.received())[0] == 503


async def test_a_server_that_is_down_is_tried_all_the_same_when_there_is_no_other_way(
    sockets: Path,
) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, pool=HOLD) as proxy:
        server.stop()
        client = await proxy.client(GET)
        await held(proxy)
        proxy.pass_time(11)
        await polled(proxy, lambda: health(proxy, server) == Status.DOWN)
        assert (await client.received())[0] == 503
        await server.start()
        client = await proxy.client(GET)
        await served(server, client)


async def test_a_server_that_is_down_is_found_when_it_is_back(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, pool=HOLD) as proxy:
        server.stop()
        await proxy.client(GET)
        await held(proxy)
        proxy.pass_time(11)
        await polled(proxy, lambda: health(proxy, server) == Status.DOWN)
        await back(proxy, server)


async def test_a_client_that_leaves_waits_no_more(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, pool=HOLD) as proxy:
        server.stop()
        client = await proxy.client(GET)
        await held(proxy)
        client.close()
        (record,) = await proxy.logged()
        assert (record.status, record.end_reason) == (499, "client_gone")
        assert waiting(proxy) == 0
        await back(proxy, server)
        client = await proxy.client(GET)
        await served(server, client)
        assert server.accepted <= 2  # the look, whose connection is used, or another one


async def test_many_that_wait_cost_one_look_at_a_time(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, pool=HOLD) as proxy:
        server.stop()
        clients = [await proxy.client(GET) for _ in range(60)]
        await held(proxy, 60)
        await back(proxy, server)
        peers = [(await server.request())[0] for _ in range(50)]
        assert waiting(proxy) == 10
        proxy.pass_time(0.05)
        peers += [(await server.request())[0] for _ in range(10)]
        for peer in peers:
            await peer.answer()
        for client in clients:
            assert await client.received() == (200, b"ok")
        assert server.accepted == 60  # the connection of the look carried a request


async def test_a_request_that_a_server_hangs_up_on_is_sent_four_times_and_no_more(
    sockets: Path, told: pytest.LogCaptureFixture
) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, pool=HOLD) as proxy:
        client = await proxy.client(GET)
        for _ in range(4):
            peer, _ = await server.request()
            peer.close()
            await becomes_true(lambda: waiting(proxy) == 1 or proxy.records != [])
            await polled(proxy, lambda: waiting(proxy) == 0)
        assert (await client.received())[0] == 502
        assert health(proxy, server) == Status.UP
        assert told.messages == [
            f"closed: connection closed, pool pool, server {server.address}, GET /x"
        ]


async def test_a_server_that_hangs_up_makes_nobody_else_wait(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, pool=HOLD) as proxy:
        await proxy.client(GET)
        peer, _ = await server.request()
        peer.close()
        await held(proxy)
        other = await proxy.client(GET)
        await served(server, other)


async def test_next_upstream_off_lets_nothing_be_sent_again_but_wait(sockets: Path) -> None:
    async with (
        ScriptedServer(sockets / "a") as server,
        Proxy.to(server, pool=HOLD, proxy={"next_upstream": "off"}) as proxy,
    ):
        client = await proxy.client(GET)
        await server.request()
        server.stop()
        assert (await client.received())[0] == 502
        client = await proxy.client(GET)
        await held(proxy)
        await back(proxy, server)
        await served(server, client)


async def test_a_cut_request_is_tried_on_as_many_servers_as_allowed_and_waits_for_the_last(
    sockets: Path,
) -> None:
    async with (
        ScriptedServer(sockets / "a") as first,
        ScriptedServer(sockets / "b") as second,
        Proxy.to(first, second, pool=HOLD, proxy={"next_upstream_tries": 1}) as proxy,
    ):
        client = await proxy.client(GET)
        await first.request()
        first.stop()
        await held(proxy)
        await polled(proxy, lambda: health(proxy, first) == Status.RESTARTING)
        await back(proxy, first)
        await served(first, client)
        assert second.accepted == 0


async def test_without_a_hold_a_refused_request_fails_at_once(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        server.stop()
        client = await proxy.client(GET)
        assert (await client.received())[0] == 502


async def test_a_slow_or_broken_answer_says_nothing_about_the_process(sockets: Path) -> None:
    async with (
        ScriptedServer(sockets / "a") as server,
        Proxy.to(server, pool=HOLD, proxy={"read_timeout": "5s"}) as proxy,
    ):
        client = await proxy.client(GET)
        await server.request()
        proxy.pass_time(6)
        assert (await client.received())[0] == 504
        client = await proxy.client(GET)
        peer, _ = await server.request()
        await peer.send(b"garbage\r\n\r\n")
        assert (await client.received())[0] == 502
        assert health(proxy, server) == Status.UP
