"""What tests of restarting servers share: requests, and ways to wait for what the proxy does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from synproxy.core.health import Status
from tests.integration.harness import Peer, Proxy, ScriptedServer, becomes_true

HOLD = {"restart_hold": "10s"}
STICKY = {**HOLD, "balance": {"hash": "$arg_user"}}
GET = b"GET /x HTTP/1.1\r\nHost: example.org\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: example.org\r\nContent-Length: 4\r\n\r\nbody"
PUT = POST.replace(b"POST", b"PUT")
GONE = [ScriptedServer.stop, ScriptedServer.crash]
Go = Callable[[ScriptedServer], None]


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
