"""Servers that restart: who waits for them, who goes on, and what is never sent twice."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from synproxy.core.health import Status
from tests.integration.harness import Peer, Proxy, ScriptedServer, becomes_true

HOLD = {"restart_hold": "10s"}
STICKY = {**HOLD, "balance": {"hash": "$arg_user"}}
GET = b"GET /x HTTP/1.1\r\nHost: example.org\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: example.org\r\nContent-Length: 4\r\n\r\nbody"
PUT = POST.replace(b"POST", b"PUT")
GONE = [ScriptedServer.stop, ScriptedServer.crash]
Go = Callable[[ScriptedServer], None]


@pytest.fixture(autouse=True)
def told(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO, "synproxy"):
        yield caplog


def waiting(proxy: Proxy, pool: str = "pool") -> int:
    lobby = proxy.generation.pools[pool].lobby
    return 0 if lobby is None else len(lobby)


async def held(proxy: Proxy, count: int = 1) -> None:
    """Waits until so many requests wait."""
    await becomes_true(lambda: waiting(proxy) == count)


async def back(proxy: Proxy, server: ScriptedServer) -> None:
    """The server listens again, and the proxy finds out."""
    await server.start()
    await polled(proxy, lambda: health(proxy, server) == Status.UP)


async def polled(proxy: Proxy, condition: Callable[[], bool]) -> None:
    """Waits for the outcome of a look at a socket, which time brings."""

    def passes() -> bool:
        if condition():
            return True
        proxy.pass_time(0.05)
        return False

    await becomes_true(passes)


def health(proxy: Proxy, server: ScriptedServer) -> int:
    pool = proxy.generation.pools["pool"]
    addresses = [each.address for each in pool.settings.servers]
    return pool.balancer.health(addresses.index(server.address))


def user_of(proxy: Proxy, server: ScriptedServer) -> bytes:
    """A user whose home is this server, and is known to be."""
    pool = proxy.generation.pools["pool"]
    addresses = [each.address for each in pool.settings.servers]
    index = addresses.index(server.address)
    return next(
        b"%d" % user for user in range(200) if pool.balancer.preference(b"%d" % user)[0] == index
    )


def get(user: bytes) -> bytes:
    return b"GET /x?user=%b HTTP/1.1\r\nHost: example.org\r\n\r\n" % user


async def served(server: ScriptedServer, client: Peer, body: bytes = b"ok") -> None:
    """The client's request arrives at a new connection of this server, and is answered."""
    while True:
        peer = await server.connection()
        try:
            await peer.head()
            break
        except asyncio.IncompleteReadError as ended:  # the connection of a look, not kept
            if ended.partial:
                raise
    await peer.answer(body)
    assert await client.received() == (200, body)


# --- one server


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


# --- several servers


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
