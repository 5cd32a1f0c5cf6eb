"""Back-pressure and tunnels."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

from tests.integration.harness import Peer, Proxy, ScriptedServer

UPGRADE = (
    b"GET /x HTTP/1.1\r\nHost: example.org\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
)
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
LIMIT = 16 << 20
"""More than all socket buffers and high-water marks on the way together."""


async def push(peer: Peer, piece: bytes, limit: int) -> int:
    """Send until nothing more is taken; the count of bytes taken."""
    sent = 0
    while sent < limit:
        peer.writer.write(piece)
        sent += len(piece)
        try:
            await asyncio.wait_for(peer.writer.drain(), 0.5)
        except TimeoutError:
            break
    return sent


async def test_a_client_that_does_not_read_stops_the_server(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        client = await proxy.client(b"GET /x HTTP/1.1\r\nHost: example.org\r\n\r\n")
        transport = cast(asyncio.Transport, client.writer.transport)
        transport.pause_reading()
        peer, _ = await server.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LIMIT)
        sent = await push(peer, bytes(1 << 16), LIMIT)
        assert sent < LIMIT
        transport.resume_reading()
        await client.head()
        rest = asyncio.create_task(peer.send(bytes(LIMIT - sent)))
        assert await client.read(LIMIT) == bytes(LIMIT)
        await rest


async def test_a_server_that_does_not_read_stops_the_client(sockets: Path) -> None:
    async with (
        ScriptedServer(sockets / "a") as server,
        Proxy.to(server, http={"client_max_body_size": "1g"}) as proxy,
    ):
        client = await proxy.client(
            b"PUT /x HTTP/1.1\r\nHost: example.org\r\nContent-Length: %d\r\n\r\n" % LIMIT
        )
        peer, _ = await server.request()
        sent = await push(client, bytes(1 << 16), LIMIT)
        assert sent < LIMIT
        rest = asyncio.create_task(client.send(bytes(LIMIT - sent)))
        assert await peer.read(LIMIT) == bytes(LIMIT)
        await rest
        await peer.answer(b"all of it")
        assert await client.received() == (200, b"all of it")


async def test_a_client_that_reads_nothing_is_cut_after_the_send_timeout(sockets: Path) -> None:
    async with (
        ScriptedServer(sockets / "a") as server,
        Proxy.to(server, http={"send_timeout": "20s"}) as proxy,
    ):
        client = await proxy.client(b"GET /x HTTP/1.1\r\nHost: example.org\r\n\r\n")
        transport = cast(asyncio.Transport, client.writer.transport)
        transport.pause_reading()
        peer, _ = await server.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LIMIT)
        await push(peer, bytes(1 << 16), LIMIT)
        proxy.pass_time(21)
        (record,) = await proxy.logged()
        assert record.end_reason == "client_timeout"
        assert await peer.ended()


async def test_an_upgrade_becomes_a_tunnel_in_both_directions(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        client = await proxy.client(UPGRADE + b"early")
        peer, head = await server.request()
        assert b"\r\nConnection: upgrade\r\n" in head
        assert b"\r\nUpgrade: websocket\r\n" in head
        await peer.send(SWITCH + b"hello")
        assert (await client.head()).startswith(b"HTTP/1.1 101 ")
        assert await client.read(5) == b"hello"
        assert await peer.read(5) == b"early"
        await client.send(b"ping")
        assert await peer.read(4) == b"ping"
        await peer.send(b"pong")
        assert await client.read(4) == b"pong"
        client.writer.write_eof()
        assert await peer.to_end() == b""
        await peer.send(b"last words")
        peer.close()
        assert await client.to_end() == b"last words"
        (record,) = await proxy.logged()
        assert (record.status, record.end_reason) == (101, "ok")
        assert (record.bytes_received, record.bytes_sent) == (9, 19)


async def test_an_upgrade_that_the_server_declines_is_an_ordinary_answer(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        client = await proxy.client(UPGRADE)
        peer, _ = await server.request()
        await peer.answer(b"no")
        assert await client.received() == (200, b"no")


async def test_h2c_is_never_asked_for(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        client = await proxy.client(
            b"GET /x HTTP/1.1\r\nHost: example.org\r\nUpgrade: h2c\r\n"
            b"Connection: Upgrade, HTTP2-Settings\r\n"
            b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n"
        )
        peer, head = await server.request()
        assert b"h2c" not in head
        assert b"HTTP2-Settings" not in head
        assert b"Connection" not in head
        await peer.answer()
        assert await client.received() == (200, b"ok")


async def test_a_tunnel_is_cut_when_it_is_silent_for_the_read_timeout(sockets: Path) -> None:
    async with (
        ScriptedServer(sockets / "a") as server,
        Proxy.to(server, proxy={"read_timeout": "60s"}) as proxy,
    ):
        client = await proxy.client(UPGRADE)
        peer, _ = await server.request()
        await peer.send(SWITCH)
        await client.head()
        for _ in range(3):
            proxy.pass_time(40)
            await client.send(b"x")
            await peer.read(1)
        proxy.pass_time(61)
        assert await client.ended()
        assert await peer.ended()
