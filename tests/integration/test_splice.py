"""Large bodies between plain sockets: moved by the kernel, and nobody can tell."""

from __future__ import annotations

import asyncio
import errno
import os
import random
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest

from synproxy.core.limits import SPLICED_BODY, SPLICES
from tests.integration.harness import Peer, Proxy, ScriptedServer, becomes_true

SIZE = 3_000_001
LARGE = {"client_max_body_size": "1g"}
GET = b"GET /media HTTP/1.1\r\nHost: example.org\r\n\r\n"


@cache
def body(size: int = SIZE) -> bytes:
    """Bytes that differ from place to place."""
    return random.Random(size).randbytes(size)


def post(size: int = SIZE) -> bytes:
    return b"POST /upload HTTP/1.1\r\nHost: example.org\r\nContent-Length: %d\r\n\r\n" % size


async def at_once(*actions: Any) -> list[Any]:
    return await asyncio.gather(*actions)


def moved(proxy: Proxy) -> int:
    return proxy.handler.splicer.moved if proxy.handler.splicer is not None else 0


def under_way(proxy: Proxy) -> int:
    return proxy.handler.splicer.under_way if proxy.handler.splicer is not None else 0


async def download(client: Peer, server: ScriptedServer, size: int = SIZE) -> Peer:
    """A request, and the beginning of its answer, so that what follows is spliced."""
    peer, _ = await server.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size, body(size)[:1000])
    await client.head()
    await client.read(1000)
    return peer


async def upload(proxy: Proxy, server: ScriptedServer, size: int = SIZE) -> tuple[Peer, Peer]:
    """A request of which the head and the first 1000 bytes have come to the server."""
    client = await proxy.client(post(size))
    peer, _ = await server.request()
    await client.send(body(size)[:1000])
    assert await peer.read(1000) == body(size)[:1000]
    await becomes_true(lambda: under_way(proxy) == 1)
    return client, peer


@pytest.mark.parametrize("size", [SPLICED_BODY - 1, SPLICED_BODY, SPLICED_BODY + 70_000, SIZE])
async def test_bodies_arrive_as_they_were_sent(sockets: Path, size: int) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, http=LARGE) as proxy:
        client = await proxy.client(post(size))
        peer, _ = await server.request()
        _, received = await at_once(client.send(body(size)), peer.read(size))
        assert received == body(size)
        _, answer = await at_once(peer.answer(body(size)), client.received())
        assert answer == (200, body(size))
        # Both connections are as good as before.
        await client.send(GET)
        assert (await peer.head()).startswith(b"GET /media ")
        await peer.answer(b"next")
        assert await client.received() == (200, b"next")
        first, second = await proxy.logged(2)
        assert (first.bytes_received, first.bytes_sent) == (size, size)
        assert (second.bytes_received, second.bytes_sent) == (0, 4)
        assert under_way(proxy) == 0
        if size == SIZE:
            assert moved(proxy) > SIZE  # of both directions together: more than one did


async def test_splice_off_copies(sockets: Path) -> None:
    async with (
        ScriptedServer(sockets / "a") as server,
        Proxy.to(server, http={**LARGE, "splice": False}) as proxy,
    ):
        client = await proxy.client(GET)
        peer, _ = await server.request()
        _, answer = await at_once(peer.answer(body()), client.received())
        assert answer == (200, body())
        assert proxy.handler.splicer is None


@pytest.mark.parametrize("after", [0, 1, 3])
async def test_a_kernel_that_cannot_splice_costs_nobody_a_byte(
    sockets: Path, after: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = 0
    splice = os.splice

    def refusing(*arguments: Any, **options: Any) -> int:
        nonlocal calls
        calls += 1
        if calls > after:
            raise OSError(errno.EINVAL, "Invalid argument")
        return splice(*arguments, **options)

    monkeypatch.setattr(os, "splice", refusing)
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, http=LARGE) as proxy:
        client = await proxy.client(post())
        peer, _ = await server.request()
        _, received = await at_once(client.send(body()), peer.read(SIZE))
        assert received == body()
        _, answer = await at_once(peer.answer(body()), client.received())
        assert answer == (200, body())
        assert calls == after + 1
        assert [one.message for one in caplog.records if "splice" in one.message] == [
            "splice() is of no use here, large bodies are copied: Invalid argument"
        ]


async def test_a_slow_client_gets_everything_and_stops_the_server(sockets: Path) -> None:
    size = 48 << 20  # more than the kernel's own buffers for a connection can grow to
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        client = await proxy.client(GET)
        transport = cast(asyncio.Transport, client.writer.transport)
        peer = await download(client, server, size)
        transport.pause_reading()
        peer.writer.write(body(size)[1000:])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(peer.writer.drain(), 0.5)
        assert under_way(proxy) == 1
        transport.resume_reading()
        assert await client.read(size - 1000) == body(size)[1000:]
        (record,) = await proxy.logged()
        assert (record.end_reason, record.bytes_sent) == ("ok", size)


async def test_an_answer_that_is_cut_stays_incomplete(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        client = await proxy.client(GET)
        peer = await download(client, server)
        await becomes_true(lambda: under_way(proxy) == 1)
        await peer.send(body()[1000:500_000])
        peer.close()
        assert await client.read(499_000) == body()[1000:500_000]
        assert await client.ended()
        (record,) = await proxy.logged()
        assert (record.end_reason, record.bytes_sent) == ("upstream_error", 500_000)
        assert under_way(proxy) == 0


async def test_a_client_that_leaves_ends_the_answer(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        client = await proxy.client(GET)
        peer = await download(client, server)
        await becomes_true(lambda: under_way(proxy) == 1)
        client.reset()
        (record,) = await proxy.logged()
        assert record.end_reason == "client_gone"
        assert await peer.ended()
        assert under_way(proxy) == 0


async def test_a_client_that_leaves_ends_its_upload(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, http=LARGE) as proxy:
        client, peer = await upload(proxy, server)
        await client.send(body()[1000:100_000])
        client.close()
        (record,) = await proxy.logged()
        assert (record.status, record.end_reason) == (499, "client_gone")
        assert len(await peer.to_end()) <= 99_000
        assert under_way(proxy) == 0


async def test_a_server_that_answers_an_upload_early_is_heard(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, http=LARGE) as proxy:
        client, peer = await upload(proxy, server)
        await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        assert await client.received() == (413, b"big")
        (record,) = await proxy.logged()
        assert (record.status, record.end_reason) == (413, "ok")
        assert under_way(proxy) == 0


async def test_a_body_goes_on_after_an_early_head(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, http=LARGE) as proxy:
        client, peer = await upload(proxy, server)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
        assert (await client.head()).startswith(b"HTTP/1.1 200 ")
        _, received = await at_once(client.send(body()[1000:]), peer.read(SIZE - 1000))
        assert received == body()[1000:]
        await peer.send(b"done")
        assert await client.read(4) == b"done"


async def test_a_server_that_dies_during_an_upload_is_a_502_and_asked_once(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, http=LARGE) as proxy:
        client, peer = await upload(proxy, server)
        peer.reset()
        status, _ = await client.received()
        assert status == 502
        assert server.accepted == 1
        assert under_way(proxy) == 0


async def test_timeouts_run_while_a_body_is_spliced(sockets: Path) -> None:
    async with (
        ScriptedServer(sockets / "a") as server,
        Proxy.to(
            server,
            http={**LARGE, "client_body_timeout": "20s"},
            proxy={"read_timeout": "60s"},
        ) as proxy,
    ):
        client = await proxy.client(GET)
        peer = await download(client, server)
        await becomes_true(lambda: under_way(proxy) == 1)
        for _ in range(3):
            proxy.pass_time(40)
            await peer.send(b"x")
            await client.read(1)
        proxy.pass_time(61)
        (record,) = await proxy.logged()
        assert record.end_reason == "upstream_timeout"
        assert await client.ended()

        client, peer = await upload(proxy, server)
        for _ in range(3):
            proxy.pass_time(15)
            await client.send(b"x")
            await peer.read(1)
        proxy.pass_time(21)
        assert (await client.received())[0] == 408
        assert under_way(proxy) == 0


async def test_who_takes_nothing_of_a_spliced_body_is_cut(sockets: Path) -> None:
    size = 4 << 20
    async with (
        ScriptedServer(sockets / "a") as server,
        Proxy.to(server, http={**LARGE, "send_timeout": "20s"}, proxy={"send_timeout": "30s"}) as p,
    ):
        client = await p.client(GET)
        peer = await download(client, server, size)
        cast(asyncio.Transport, client.writer.transport).pause_reading()
        peer.writer.write(body(size)[1000:])
        (connection,) = p.handler.connections
        await becomes_true(lambda: connection.write_blocked)
        p.pass_time(21)
        (record,) = await p.logged()
        assert record.end_reason == "client_timeout"

        client, peer = await upload(p, server, size)
        cast(asyncio.Transport, peer.writer.transport).pause_reading()
        client.writer.write(body(size)[1000:])
        await becomes_true(lambda: any(one.exchange is not None for one in p.handler.connections))
        (exchange,) = (one.exchange for one in p.handler.connections if one.exchange is not None)
        await becomes_true(lambda: exchange._sink.write_blocked)
        p.pass_time(31)
        assert (await client.received())[0] == 504
        assert under_way(p) == 0


async def test_the_next_request_may_follow_a_body_at_once(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, http=LARGE) as proxy:
        client = await proxy.client(post())
        peer, _ = await server.request()
        _, received = await at_once(client.send(body() + GET), peer.read(SIZE))
        assert received == body()
        await peer.answer(b"first")
        assert await client.received() == (200, b"first")
        assert (await peer.head()).startswith(b"GET /media ")


async def test_more_bodies_than_there_are_pipes_are_copied(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        splicer = proxy.handler.splicer
        assert splicer is not None
        splicer.under_way = SPLICES
        client = await proxy.client(GET)
        peer, _ = await server.request()
        _, answer = await at_once(peer.answer(body()), client.received())
        assert answer == (200, body())
        assert (splicer.moved, splicer.under_way) == (0, SPLICES)


async def test_no_descriptor_stays_behind(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server) as proxy:
        client = await proxy.client(GET)
        peer, _ = await server.request()
        await at_once(peer.answer(body()), client.received())
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            await client.send(GET)
            await peer.head()
            await at_once(peer.answer(body()), client.received())
        assert len(os.listdir("/proc/self/fd")) == before
