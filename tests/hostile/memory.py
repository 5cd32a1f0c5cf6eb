"""synproxy's whole data path without sockets: a client and its servers are Python objects.

Bytes arrive exactly as cut, and thousands of conversations take seconds. Only connecting is not the
real thing: a new server connection is there in the loop's next turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

import synproxy.upstream.pool
from synproxy.config.model import Config
from synproxy.core.record import ExchangeRecord
from synproxy.core.wheel import TimerWheel
from synproxy.downstream.connection import ClientConnection
from synproxy.proxy.generation import Generation
from synproxy.proxy.handler import ProxyHandler
from synproxy.upstream.connection import ServerConnection

QUIET_TURNS = 3
"""Turns of the loop in which nothing happens, after which nothing will."""


class Wire(asyncio.Transport):
    """One side of a connection; the test is the other. As with a real transport, the protocol
    hears of its end in a later turn of the loop."""

    def __init__(self, world: World, protocol: asyncio.Protocol, peername: object) -> None:
        super().__init__({"peername": peername})
        self.world = world
        self.protocol = protocol
        self.written = bytearray()
        self.closed = False
        self.aborted = False
        self.eof_written = False
        self.reading = True
        self.waiting: list[bytes] = []
        protocol.connection_made(self)

    def write(self, data: Any) -> None:
        if not self.closed:
            self.world.activity += 1
            self.written += data
            self.took(bytes(data))

    def took(self, data: bytes) -> None:
        """What the other side does with bytes."""

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        if not self.closed:
            self.world.activity += 1
            self.closed = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def abort(self) -> None:
        self.aborted = True
        self.close()

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True
        if self.waiting:
            asyncio.get_running_loop().call_soon(self._deliver)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.world.activity += 1
        self.eof_written = True

    def receive(self, data: bytes) -> None:
        """Bytes arrive, once the protocol reads."""
        self.waiting.append(data)
        self._deliver()

    def _deliver(self) -> None:
        while self.waiting and self.reading and not self.closed:
            self.world.activity += 1
            self.protocol.data_received(self.waiting.pop(0))

    def end(self) -> None:
        """The other side closes."""
        if not self.closed and not self.protocol.eof_received():
            self.close()


class Upstream(Wire):
    """A server's side of a connection; ``world.serve`` says what it answers."""

    def took(self, data: bytes) -> None:
        asyncio.get_running_loop().call_soon(self.world.serve, self, bytes(self.written))

    def answer(self, *pieces: bytes) -> None:
        """Sends pieces, each of them in one read of the proxy."""
        for piece in pieces:
            self.receive(piece)


Serve = Callable[[Upstream, bytes], None]
"""Told of each write, with all that the connection has carried so far."""


class World:
    """A proxy between clients and servers in memory. Use it as an async context manager."""

    def __init__(self, config: Mapping[str, Any], serve: Serve) -> None:
        self._config = Config.model_validate({"listeners": ["127.0.0.1:0"], **config})
        self.serve = serve
        self.activity = 0
        self.records: list[ExchangeRecord] = []
        self.upstreams: list[Upstream] = []
        self._ports = 0

    async def __aenter__(self) -> Self:
        self.wheel = TimerWheel(1000.0)
        self.generation = Generation(self._config, self.wheel)
        loop = asyncio.get_running_loop()
        self.handler = ProxyHandler(self.generation, self.wheel, loop, self)
        self._open_unix = synproxy.upstream.pool._open_unix
        synproxy.upstream.pool._open_unix = self._open
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for connection in list(self.handler.connections):
            connection.transport.abort()
        self.generation.retire()
        await self.settle()
        synproxy.upstream.pool._open_unix = self._open_unix

    async def _open(
        self, loop: object, factory: Callable[[], ServerConnection], path: str
    ) -> ServerConnection:
        self.activity += 1
        connection = factory()
        self.upstreams.append(Upstream(self, connection, path))
        return connection

    def write(self, record: ExchangeRecord) -> None:
        """Takes the place of the access log."""
        self.activity += 1
        self.records.append(record)

    def connect(self, address: str = "192.0.2.1") -> Wire:
        """A client that has just connected."""
        self._ports = self._ports % 60000 + 1
        return Wire(self, ClientConnection(self.handler), (address, self._ports))

    async def settle(self) -> None:
        """Returns once nothing happens any more by itself."""
        quiet = 0
        while quiet < QUIET_TURNS:
            before = self.activity
            await asyncio.sleep(0)
            quiet = 0 if self.activity != before else quiet + 1

    async def send(self, client: Wire, pieces: Iterable[bytes]) -> None:
        """Pieces arrive one after the other; what each sets off is over before the next."""
        protocol = client.protocol
        assert isinstance(protocol, ClientConnection)
        for piece in pieces:
            client.receive(piece)
            if protocol.exchange is not None or client.closed:
                await self.settle()
        await self.settle()

    async def pass_time(self, seconds: float) -> None:
        """Deadlines pass, tick by tick."""
        for _ in range(round(seconds / self.wheel.tick)):
            self.wheel.advance(self.wheel.now + self.wheel.tick)
        await self.settle()

    @property
    def idle(self) -> int:
        """Idle server connections in all pools."""
        return sum(pool.idle_connections for pool in self.generation.pools.values())
