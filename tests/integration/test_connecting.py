"""New connections to servers that cannot take one at once, on both event loops."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.harness import WAIT, Proxy, becomes_true

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@contextmanager
def busy_server(path: Path) -> Iterator[tuple[socket.socket, list[socket.socket]]]:
    """A listening socket whose queue is full, and the connections in it."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(0)
        queued: list[socket.socket] = []
        while True:
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            try:
                client.connect(str(path))
            except BlockingIOError:
                client.close()
                break
            queued.append(client)
        yield server, queued
        for client in queued:
            client.close()


def to(path: Path, **config: object) -> Proxy:
    return Proxy(
        {
            "pools": {"pool": {"servers": [f"unix:{path}"]}},
            "routes": [{"name": "all", "location": "/", "pool": "pool"}],
            **config,
        }
    )


async def connecting(proxy: Proxy) -> None:
    """Waits until there is a deadline for the client and one for a connection in the making."""
    await becomes_true(lambda: len(proxy.wheel) == 2)


@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_a_server_that_is_too_busy_to_accept_is_waited_for(
    sockets: Path, method: bytes
) -> None:
    request = b"%b /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n" % method
    with busy_server(sockets / "a") as (server, queued):
        async with to(sockets / "a") as proxy:
            client = await proxy.client(request)
            await connecting(proxy)
            for _ in queued:
                server.accept()[0].close()
            server.setblocking(False)
            loop = proxy.handler.loop
            peer, _ = await asyncio.wait_for(loop.sock_accept(server), WAIT)
            with peer:
                head = await asyncio.wait_for(loop.sock_recv(peer, 1000), WAIT)
                assert head.startswith(b"%b /x HTTP/1.1\r\n" % method)
                peer.sendall(ANSWER)
                assert await client.received() == (200, b"ok")


async def test_a_server_that_accepts_nothing_is_a_connect_timeout(sockets: Path) -> None:
    with busy_server(sockets / "a"):
        async with to(sockets / "a", proxy={"connect_timeout": "2s"}) as proxy:
            client = await proxy.client(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
            await connecting(proxy)
            proxy.pass_time(3)
            assert (await client.received())[0] == 504
