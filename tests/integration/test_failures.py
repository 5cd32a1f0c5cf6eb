"""Servers and clients that fail: what the other side sees, what is retried, what is logged."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.harness import Peer, Proxy, ScriptedServer, becomes_true, two_servers

GET = b"GET /x HTTP/1.1\r\nHost: example.org\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: example.org\r\nContent-Length: 4\r\n\r\nbody"


async def first_exchange(proxy: Proxy, server: ScriptedServer) -> tuple[Peer, Peer]:
    """A client, and a server connection that is idle after one request."""
    client = await proxy.client(GET)
    peer, _ = await server.request()
    await peer.answer()
    assert await client.received() == (200, b"ok")
    return client, peer


@pytest.mark.parametrize("request_bytes", [GET, POST], ids=["GET", "POST"])
async def test_a_dead_socket_sends_any_request_to_the_next_server(
    sockets: Path, request_bytes: bytes
) -> None:
    dead = ScriptedServer(sockets / "dead")
    async with ScriptedServer(sockets / "b") as alive, Proxy.to(dead, alive) as proxy:
        client = await proxy.client(request_bytes)
        peer, _ = await alive.request()
        await peer.answer(b"alive")
        assert await client.received() == (200, b"alive")
        (record,) = await proxy.logged()
        assert [(a.server, a.status) for a in record.attempts] == [
            (dead.address, 0),
            (alive.address, 200),
        ]


async def test_without_a_living_server_the_answer_is_502_as_matrix_json(sockets: Path) -> None:
    dead = [ScriptedServer(sockets / "a"), ScriptedServer(sockets / "b")]
    async with Proxy.to(*dead) as proxy:
        client = await proxy.client(GET)
        head = await client.head()
        assert head.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
        assert b"\r\nAccess-Control-Allow-Origin: *\r\n" in head
        assert b"\r\nContent-Type: application/json\r\n" in head
        (record,) = await proxy.logged()
        assert record.end_reason == "upstream_error"
        assert len(record.attempts) == 2


async def test_a_get_cut_without_an_answer_is_repeated_on_another_server(sockets: Path) -> None:
    async with two_servers(sockets) as (proxy, first, second):
        client = await proxy.client(GET)
        peer, _ = await first.request()
        peer.reset()
        peer, _ = await second.request()
        await peer.answer(b"second")
        assert await client.received() == (200, b"second")


async def test_a_post_is_never_sent_twice(sockets: Path) -> None:
    async with two_servers(sockets) as (proxy, first, second):
        client = await proxy.client(POST)
        peer, _ = await first.request()
        peer.reset()
        status, _ = await client.received()
        assert status == 502
        assert second.accepted == 0


async def test_a_put_is_repeated_with_its_body(sockets: Path) -> None:
    async with two_servers(sockets) as (proxy, first, second):
        client = await proxy.client(POST.replace(b"POST", b"PUT"))
        peer, _ = await first.request()
        assert await peer.read(4) == b"body"
        peer.reset()
        peer, _ = await second.request()
        assert await peer.read(4) == b"body"
        await peer.answer(b"second")
        assert await client.received() == (200, b"second")


async def test_a_put_whose_body_is_no_longer_at_hand_is_not_repeated(sockets: Path) -> None:
    async with two_servers(sockets) as (proxy, first, second):
        size = 200_000
        client = await proxy.client(
            b"PUT /x HTTP/1.1\r\nHost: example.org\r\nContent-Length: %d\r\n\r\n" % size
        )
        peer, _ = await first.request()
        await client.send(bytes(size))
        assert await peer.read(size) == bytes(size)
        peer.reset()
        status, _ = await client.received()
        assert status == 502
        assert second.accepted == 0


async def test_a_stale_idle_connection_costs_a_get_nothing(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        client, peer = await first_exchange(proxy, server)
        await client.send(GET)
        await peer.head()
        peer.close()  # as if it had closed while the request was on its way
        peer, _ = await server.request()
        await peer.answer(b"fresh")
        assert await client.received() == (200, b"fresh")


async def test_a_post_on_a_stale_connection_is_not_repeated(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        client, peer = await first_exchange(proxy, server)
        await client.send(POST)
        await peer.head()
        peer.close()
        status, _ = await client.received()
        assert status == 502
        assert server.accepted == 1


async def test_an_idle_connection_closed_by_the_server_is_not_used_again(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        client, peer = await first_exchange(proxy, server)
        peer.close()
        await becomes_true(lambda: proxy.idle == 0)
        await client.send(POST)
        peer, _ = await server.request()
        await peer.answer(b"fresh")
        assert await client.received() == (200, b"fresh")


async def test_bytes_on_an_idle_connection_are_never_an_answer(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        client, peer = await first_exchange(proxy, server)
        await peer.answer(b"poison")
        await becomes_true(lambda: proxy.idle == 0)
        await client.send(GET)
        peer, _ = await server.request()
        await peer.answer(b"mine")
        assert await client.received() == (200, b"mine")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\nevil",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nevil",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ],
    ids=["length", "chunked", "close", "1.0"],
)
async def test_a_connection_that_cannot_be_trusted_is_not_kept(
    sockets: Path, answer: bytes
) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        client = await proxy.client(GET)
        peer, _ = await server.request()
        await peer.send(answer)
        assert await client.received() == (200, b"ok")
        assert await peer.ended()
        assert proxy.idle == 0


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nx\r\n",
    ],
    ids=["length", "chunked", "bad chunk"],
)
async def test_a_truncated_answer_is_truncated_for_the_client_too(
    sockets: Path, answer: bytes
) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        client = await proxy.client(GET)
        peer, _ = await server.request()
        await peer.send(answer)
        head = await client.head()
        peer.close()
        try:
            rest = await client.to_end()
        except ConnectionError:
            rest = b""
        if b"chunked" in head:
            assert not rest.endswith(b"0\r\n\r\n")
        else:
            assert len(rest) < 10
        (record,) = await proxy.logged()
        assert (record.status, record.end_reason) == (200, "upstream_error")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 99 Low\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20,
    ],
)
async def test_an_answer_that_is_not_http_is_502(sockets: Path, answer: bytes) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        client = await proxy.client(GET)
        peer, _ = await server.request()
        await peer.send(answer)
        status, _ = await client.received()
        assert status == 502
        assert await peer.ended()


async def test_a_client_that_leaves_frees_the_server_at_once(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        client = await proxy.client(GET)
        peer, _ = await server.request()
        client.close()
        assert await peer.ended()
        (record,) = await proxy.logged()
        assert (record.status, record.end_reason) == (499, "client_gone")
        assert [attempt.server for attempt in record.attempts] == [server.address]


async def test_a_client_that_resets_in_the_middle_of_an_upload_frees_the_server(
    sockets: Path,
) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        client = await proxy.client(
            b"PUT /x HTTP/1.1\r\nHost: example.org\r\nContent-Length: 100\r\n\r\nhalf"
        )
        peer, _ = await server.request()
        client.reset()
        assert await peer.to_end() == b"half"
        (record,) = await proxy.logged()
        assert record.status == 499


async def test_a_half_closed_client_is_answered_where_the_route_says_so(sockets: Path) -> None:
    async with (
        ScriptedServer(sockets / "a") as server,
        Proxy.to(server, proxy={"ignore_client_abort": True}) as proxy,
    ):
        client = await proxy.client(GET)
        peer, _ = await server.request()
        client.writer.write_eof()
        await peer.answer(b"late")
        assert (await client.to_end()).endswith(b"late")


async def test_a_silent_server_is_a_504_after_the_read_timeout(sockets: Path) -> None:
    async with (
        ScriptedServer(sockets / "a") as server,
        Proxy.to(server, proxy={"read_timeout": "30s"}) as proxy,
    ):
        client = await proxy.client(GET)
        peer, _ = await server.request()
        proxy.pass_time(29)
        assert proxy.records == []
        proxy.pass_time(2)
        status, _ = await client.received()
        assert status == 504
        assert await peer.ended()
        (record,) = await proxy.logged()
        assert record.end_reason == "upstream_timeout"


async def test_a_long_poll_waits_as_long_as_its_timeout_says(sockets: Path) -> None:
    async with (
        ScriptedServer(sockets / "a") as server,
        Proxy.to(server, proxy={"read_timeout": "9h"}) as proxy,
    ):
        client = await proxy.client(GET)
        peer, _ = await server.request()
        for _ in range(8):
            proxy.pass_time(3600)
        await peer.answer(b"after eight hours")
        assert await client.received() == (200, b"after eight hours")


async def test_a_server_that_stalls_in_the_body_costs_its_connection(sockets: Path) -> None:
    async with (
        ScriptedServer(sockets / "a") as server,
        Proxy.to(server, proxy={"read_timeout": "30s"}) as proxy,
    ):
        client = await proxy.client(GET)
        peer, _ = await server.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        await client.head()
        proxy.pass_time(31)
        assert await client.ended()
        assert await peer.ended()
        (record,) = await proxy.logged()
        assert record.end_reason == "upstream_timeout"


@pytest.mark.parametrize(
    ("sent", "setting"),
    [
        (b"GET /x HTTP/1.1\r\nHost: ex", "client_header_timeout"),
        (b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx", "client_body_timeout"),
    ],
)
async def test_a_slow_client_gets_408(sockets: Path, sent: bytes, setting: str) -> None:
    async with (
        ScriptedServer(sockets / "a") as server,
        Proxy.to(server, http={setting: "10s"}) as proxy,
    ):
        client = await proxy.client(sent)
        if sent.startswith(b"PUT"):
            await server.request()
        else:
            await becomes_true(lambda: any(c.head_started for c in proxy.handler.connections))
        proxy.pass_time(11)
        assert (await client.received())[0] == 408
        assert await client.ended()


async def test_an_idle_client_is_closed_without_a_word(sockets: Path) -> None:
    async with (
        ScriptedServer(sockets / "a") as server,
        Proxy.to(server, http={"keepalive_timeout": "65s"}) as proxy,
    ):
        client, _ = await first_exchange(proxy, server)
        proxy.pass_time(64)
        assert len(proxy.handler.connections) == 1
        proxy.pass_time(2)
        assert await client.to_end() == b""


async def test_idle_server_connections_are_closed_in_time(sockets: Path) -> None:
    async with (
        ScriptedServer(sockets / "a") as server,
        Proxy.to(server, pool={"keepalive_timeout": "50s"}) as proxy,
    ):
        _, peer = await first_exchange(proxy, server)
        proxy.pass_time(49)
        assert proxy.idle == 1
        proxy.pass_time(2)
        assert await peer.ended()
        assert proxy.idle == 0


async def test_no_more_idle_connections_than_keepalive_are_kept(sockets: Path) -> None:
    async with (
        ScriptedServer(sockets / "a") as server,
        Proxy.to(server, pool={"keepalive": 2}) as proxy,
    ):
        clients = [await proxy.client(GET) for _ in range(3)]
        peers = [(await server.request())[0] for _ in range(3)]
        for peer in peers:
            await peer.answer()
        for client in clients:
            assert await client.received() == (200, b"ok")
        assert proxy.idle == 2


async def test_a_client_gone_while_its_server_connection_is_made_leaves_nothing_behind(
    sockets: Path,
) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        client = await proxy.client(GET)
        client.reset()
        (record,) = await proxy.logged()
        assert record.status == 499
        assert proxy.idle == 0
        assert len(proxy.handler.connections) == 0
