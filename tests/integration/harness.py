"""A proxy and scripted servers in the test's own loop; the test plays client and servers.

Nothing sleeps: the test waits for what a peer did, and time passes by moving the timer wheel.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from synproxy.config.model import Config
from synproxy.core.record import ExchangeRecord
from synproxy.core.wheel import TimerWheel
from synproxy.downstream.connection import ClientConnection
from synproxy.proxy.generation import Generation
from synproxy.proxy.handler import ProxyHandler

WAIT = 10.0
"""Seconds after which a test that waits in vain fails."""

CONNECTION_MAP = {"source": "$http_upgrade", "values": {"": ""}, "default": "upgrade"}


async def becomes_true(condition: Callable[[], bool], within: float = WAIT) -> None:
    """Waits for what leaves no event to wait for."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while not condition():
        assert loop.time() < deadline
        await asyncio.sleep(0.002)


class Peer:
    """One end of a connection: what the test reads and writes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
        await asyncio.wait_for(self.writer.drain(), WAIT)

    async def read(self, count: int) -> bytes:
        return await asyncio.wait_for(self.reader.readexactly(count), WAIT)

    async def until(self, mark: bytes) -> bytes:
        return await asyncio.wait_for(self.reader.readuntil(mark), WAIT)

    async def head(self) -> bytes:
        return await self.until(b"\r\n\r\n")

    async def to_end(self) -> bytes:
        return await asyncio.wait_for(self.reader.read(-1), WAIT)

    async def ended(self) -> bool:
        """Waits until the other side is gone: nothing more may come."""
        try:
            return await self.to_end() == b""
        except ConnectionError:
            return True

    async def chunked(self) -> bytes:
        """A chunked body, checked to be framed strictly."""
        body = b""
        while True:
            size = int((await self.until(b"\r\n"))[:-2], 16)
            piece = await self.read(size + 2)
            assert piece.endswith(b"\r\n")
            if size == 0:
                return body
            body += piece[:-2]

    async def answer(self, body: bytes = b"ok", *fields: bytes) -> None:
        """A server's plain answer."""
        lines = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *fields]
        await self.send(b"\r\n".join(lines) + b"\r\n\r\n" + body)

    async def received(self) -> tuple[int, bytes]:
        """A client's view of an answer: status and body."""
        head = await self.head()
        status = int(head[9:12])
        lower = head.lower()
        if b"transfer-encoding: chunked" in lower:
            return status, await self.chunked()
        _, _, rest = lower.partition(b"content-length: ")
        return status, await self.read(int(rest.partition(b"\r\n")[0])) if rest else b""

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """Close with RST (TCP) or without a word (UNIX)."""
        sock: socket.socket = self.writer.get_extra_info("socket")
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class ScriptedServer:
    """A UNIX socket whose connections the test answers by hand."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.accepted = 0
        self._peers: asyncio.Queue[Peer] = asyncio.Queue()
        self._all: list[Peer] = []
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        return f"unix:{self.path}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop()

    async def start(self) -> None:
        """Listen, for the first time or again."""
        self._server = await asyncio.start_unix_server(self._accept, str(self.path))

    def stop(self) -> None:
        """Listen no more, and drop every connection; the socket is gone, as with SIGTERM."""
        if self._server is not None:
            self._server.close()
        for peer in self._all:
            peer.writer.transport.abort()
        self._all.clear()
        self.path.unlink(missing_ok=True)

    def crash(self) -> None:
        """The same, but a socket stays behind and refuses, as with SIGKILL."""
        self.stop()
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(self.path))

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        peer = Peer(reader, writer)
        self._all.append(peer)
        self._peers.put_nowait(peer)

    async def connection(self) -> Peer:
        """The next connection that the proxy has opened."""
        return await asyncio.wait_for(self._peers.get(), WAIT)

    async def request(self) -> tuple[Peer, bytes]:
        """The next connection and the head of the first request on it."""
        peer = await self.connection()
        return peer, await peer.head()


@asynccontextmanager
async def two_servers(
    directory: Path, **config: Any
) -> AsyncIterator[tuple[Proxy, ScriptedServer, ScriptedServer]]:
    """A proxy with two servers in one pool, asked in this order."""
    async with (
        ScriptedServer(directory / "a") as first,
        ScriptedServer(directory / "b") as second,
        Proxy.to(first, second, **config) as proxy,
    ):
        yield proxy, first, second


class Proxy:
    """synproxy's data path on a loopback port."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = Config.model_validate(
            {
                "listeners": [{"listen": "127.0.0.1:0"}],
                "maps": {"connection_upgrade": CONNECTION_MAP},
                **config,
            }
        )
        self.records: list[ExchangeRecord] = []
        self._clients: list[Peer] = []

    @classmethod
    def to(cls, *servers: ScriptedServer, **config: Any) -> Self:
        """Everything goes to one pool of these servers."""
        pool = {"servers": [{"address": server.address} for server in servers]}
        pool.update(config.pop("pool", {}))
        return cls(
            {
                "pools": {"pool": pool},
                "routes": [{"name": "all", "location": "/", "pool": "pool"}],
                **config,
            }
        )

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self.wheel = TimerWheel(loop.time())
        self.generation = Generation(self._config, self.wheel)
        self.handler = ProxyHandler(self.generation, self.wheel, loop, self)
        self._server = await loop.create_server(self.connection, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        for peer in self._clients:
            peer.writer.transport.abort()
        for connection in list(self.handler.connections):
            connection.transport.abort()
        self.generation.retire()
        self.handler.watches.drain()
        for _ in range(5):
            await asyncio.sleep(0)
        self.handler.close()

    def connection(self) -> asyncio.Protocol:
        """For a client that has come."""
        return ClientConnection(self.handler)

    def write(self, record: ExchangeRecord) -> None:
        """Takes the place of the access log."""
        self.records.append(record)
        for waiter in self._waiters:
            waiter.set()

    _waiters: tuple[asyncio.Event, ...] = ()

    async def logged(self, count: int = 1) -> list[ExchangeRecord]:
        """Waits until so many exchanges have ended."""
        event = asyncio.Event()
        self._waiters = (*self._waiters, event)
        while len(self.records) < count:
            event.clear()
            await asyncio.wait_for(event.wait(), WAIT)
        return self.records

    async def client(self, *parts: bytes) -> Peer:
        """A client connection, and what it sends first."""
        peer = Peer(*await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 22))
        self._clients.append(peer)
        await peer.send(*parts)
        return peer

    def pass_time(self, seconds: float) -> None:
        """Let the deadlines of the next seconds pass."""
        self.wheel.advance(self.wheel.now + seconds)

    def reload(self, **changes: Any) -> None:
        """A new generation takes over, as on SIGHUP, with other sections in its configuration."""
        old = self.generation
        self._config = Config.model_validate({**self._config.model_dump(), **changes})
        self.generation = Generation(self._config, self.wheel)
        self.handler.use(self.generation)
        old.retire()

    @property
    def idle(self) -> int:
        """Idle server connections in all pools."""
        return sum(pool.idle_connections for pool in self.generation.pools.values())
