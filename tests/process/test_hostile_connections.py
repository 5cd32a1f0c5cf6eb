"""Five thousand connections that only want to be expensive: what each of them costs, and that
everybody else is served meanwhile."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, cast

import pytest

from tests.integration.harness import Peer
from tests.process.test_child_killed import children_of
from tests.support.synproxy import Synproxy

CONFIG = """\
listeners: [{listen: "127.0.0.1:@PORT@", backlog: 4096}]
access_log: off
http: {client_header_timeout: 5m, client_body_timeout: 5m, send_timeout: 5m}
proxy: {connect_timeout: 1m}
pools:
  pool: {servers: ["unix:@RUN@/server.sock"]}
routes:
  - {name: all, location: /, pool: pool}
"""
HALF_HEADS: Final = 3000
HALF_BODIES: Final = 1500
SLOW_READERS: Final = 500
SYNCS: Final = 50

HALF_HEAD: Final = b"GET /x HTTP/1.1\r\nHost: a\r\nCookie: " + b"c" * 7000
HALF_BODY: Final = b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n" + b"b" * 30000
LARGE: Final = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n"
SYNC: Final = b"GET /sync?timeout=30000 HTTP/1.1\r\nHost: a\r\n\r\n"
GOOD: Final = b"GET /good HTTP/1.1\r\nHost: a\r\n\r\n"

OVERHEAD: Final = 8 * 1024
"""Bytes for a connection and its exchange, whatever they hold."""
BOUNDS: Final = {
    "half heads": OVERHEAD + 2 * len(HALF_HEAD),
    "half bodies": OVERHEAD + 2 * 30000,
    "slow readers": OVERHEAD + 64 * 1024 + 256 * 1024,
}
"""Bytes of memory for each connection, as docs/limits.md has them."""


class Server(asyncio.Protocol):
    """Holds syncs, swallows bodies, and sends large answers for as long as somebody reads."""

    def __init__(self, syncs: list[asyncio.Transport]) -> None:
        self.syncs = syncs
        self.head = b""
        self.swallowed = 0

    stuck = 0
    """How many large answers are stuck since nobody reads them, in all."""
    bodies = 0
    """How many half bodies have come, in all."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.head.startswith(b"PUT"):
            self._swallow(data)
            return
        self.head, _, rest = data.partition(b"\r\n\r\n")
        if self.head.startswith(b"PUT"):
            self._swallow(rest)
        elif self.head.startswith(b"GET /large"):
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n")
            self.more()
        elif self.head.startswith(b"GET /sync"):
            self.syncs.append(self.transport)
        else:
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")

    def _swallow(self, data: bytes) -> None:
        self.swallowed += len(data)
        if self.swallowed == 30000:
            Server.bodies += 1

    def more(self) -> None:
        self.transport.set_write_buffer_limits(0)
        self.transport.write(bytes(65536))
        if self.transport.get_write_buffer_size() == 0:
            asyncio.get_running_loop().call_soon(self.more)
        else:
            Server.stuck += 1

    def resume_writing(self) -> None:
        Server.stuck -= 1
        self.more()


@pytest.fixture
def descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 20_000
    assert hard == resource.RLIM_INFINITY or hard >= wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def memory_of(pid: int) -> int:
    """Resident bytes that are the process's own."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def sockets_of(pid: int) -> int:
    """Pipes do not count: some are kept for large bodies."""
    found = 0
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(OSError):
            found += os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:")
    return found


def open_many(port: int, count: int, data: bytes) -> list[socket.socket]:
    made = []
    for _ in range(count):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", port))
        sock.sendall(data)
        made.append(sock)
    return made


async def is_good(proxy: Synproxy) -> bool:
    peer = Peer(*await asyncio.open_connection("127.0.0.1", proxy.port))
    await peer.send(GOOD)
    answer = await peer.received()
    peer.writer.transport.abort()
    return answer == (200, b"good")


async def until(condition: Callable[[], bool]) -> None:
    """As ``becomes_true``, for what takes longer and costs more to look at."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 60
    while not condition():
        assert loop.time() < deadline
        await asyncio.sleep(0.05)


async def test_each_hostile_connection_has_its_bound_and_nobody_else_notices(
    sockets: Path, descriptors: None
) -> None:
    loop = asyncio.get_running_loop()
    held: list[asyncio.Transport] = []
    Server.stuck = Server.bodies = 0
    listening = await loop.create_unix_server(
        lambda: Server(held), str(sockets / "server.sock"), backlog=1024
    )
    opened: list[socket.socket] = []
    cost: dict[str, float] = {}
    with Synproxy(sockets, CONFIG) as proxy:
        (child,) = children_of(proxy.pid)
        syncs = []
        for _ in range(SYNCS):
            syncs.append(Peer(*await asyncio.open_connection("127.0.0.1", proxy.port)))
            await syncs[-1].send(SYNC)
        await until(lambda: len(held) == SYNCS)
        assert await is_good(proxy)
        files = sockets_of(child)
        before = memory_of(child)
        for name, count, data, is_there in (
            (
                "half heads",
                HALF_HEADS,
                HALF_HEAD,
                lambda: sockets_of(child) >= files + HALF_HEADS - 2,
            ),
            ("half bodies", HALF_BODIES, HALF_BODY, lambda: Server.bodies == HALF_BODIES),
            ("slow readers", SLOW_READERS, LARGE, lambda: Server.stuck == SLOW_READERS),
        ):
            opened += await asyncio.to_thread(open_many, proxy.port, count, data)
            await until(is_there)
            assert await is_good(proxy)
            now = memory_of(child)
            cost[name] = (now - before) / count
            before = now
        assert all(cost[name] < bound for name, bound in BOUNDS.items()), cost
        for sock in opened:
            sock.close()
        await until(lambda: sockets_of(child) <= files)
        assert await is_good(proxy)
        for transport in held:
            transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        for sync in syncs:
            assert await sync.received() == (200, b"{}")
            sync.writer.transport.abort()
    listening.close()
