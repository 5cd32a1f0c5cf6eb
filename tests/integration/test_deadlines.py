"""Requests that say how long they wait: the server has that long and a margin, and no less."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.harness import Proxy, ScriptedServer

MARGIN = {"deadline_margin": "30s", "read_timeout": "3600s"}


@pytest.mark.parametrize(
    ("method", "query", "settings", "expected"),
    [
        (b"GET", b"?timeout=30000", MARGIN, 60),
        (b"GET", b"?timeout=0", MARGIN, 30),
        (b"GET", b"?since=s1&timeout=120000&x=1", MARGIN, 150),
        (b"GET", b"", MARGIN, 3600),
        (b"GET", b"?timeout=forever", MARGIN, 3600),
        (b"POST", b"?timeout=30000", MARGIN, 3600),
        (b"POST", b"/sync?timeout=30000", MARGIN, 60),
        (b"GET", b"?timeout=30000", {"read_timeout": "20s"}, 20),
        (b"GET", b"?timeout=7200000", MARGIN, 7230),
    ],
)
async def test_the_read_timeout_follows_from_the_query(
    sockets: Path, method: bytes, query: bytes, settings: dict[str, Any], expected: int
) -> None:
    async with (
        ScriptedServer(sockets / "a") as server,
        Proxy.to(server, proxy=settings) as proxy,
    ):
        client = await proxy.client(b"%b /x%b HTTP/1.1\r\nHost: a\r\n\r\n" % (method, query))
        await server.request()
        proxy.pass_time(expected - 1)
        assert proxy.records == []
        proxy.pass_time(2)
        assert (await client.received())[0] == 504
        assert (await proxy.logged())[0].end_reason == "upstream_timeout"


async def test_a_route_may_have_its_own_margin(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server:
        pool = {"servers": [{"address": server.address}]}
        routes = [
            {"name": "all", "location": "/", "pool": "p"},
            {
                "name": "sync",
                "location": "/sync",
                "pool": "p",
                "proxy": {"deadline_margin": "10s"},
            },
        ]
        async with Proxy({"pools": {"p": pool}, "routes": routes}) as proxy:
            client = await proxy.client(b"GET /sync?timeout=5000 HTTP/1.1\r\nHost: a\r\n\r\n")
            other = await proxy.client(b"GET /x?timeout=5000 HTTP/1.1\r\nHost: a\r\n\r\n")
            await server.request()
            await server.request()
            proxy.pass_time(16)
            assert (await client.received())[0] == 504
            assert len(await proxy.logged()) == 1
            other.close()
            await proxy.logged(2)


async def test_an_answer_that_comes_in_pieces_has_the_same_time_for_each(sockets: Path) -> None:
    async with ScriptedServer(sockets / "a") as server, Proxy.to(server, proxy=MARGIN) as proxy:
        client = await proxy.client(b"GET /x?timeout=1000 HTTP/1.1\r\nHost: a\r\n\r\n")
        peer, _ = await server.request()
        proxy.pass_time(30)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        assert (await client.head()).startswith(b"HTTP/1.1 200 ")
        assert await client.read(2) == b"ab"
        proxy.pass_time(30)
        await peer.send(b"cd")
        assert await client.read(2) == b"cd"
