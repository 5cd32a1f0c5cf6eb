"""synproxy's whole data path between peers in memory that may be slow, rude or gone.

On top of the hostile tests' world: a write buffer that fills when a peer stops reading, resets, and
servers that take a new connection when the test says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from errno import ECONNREFUSED
from typing import Any, Final

from synproxy.config.model import Config
from synproxy.downstream.connection import ClientConnection
from synproxy.proxy.generation import Generation
from synproxy.upstream.connection import ServerConnection
from tests.hostile.memory import Upstream, Wire, World

HIGH_WATER: Final = 8 * 1024
"""Bytes in the write buffer of a connection above which its protocol is told to stop."""
READ_SIZE: Final = 64 * 1024
"""The most that arrives in one read."""

_END: Final = b""
"""Stands for a FIN among the bytes that wait."""


class PeerWire(Wire):
    """A connection as its transport has it; the other side is a test's."""

    reads = True
    held = 0
    """Bytes written that the peer has not taken."""
    dropped = 0
    """Bytes written that it never will."""
    lost = False
    _full = False

    def write(self, data: Any) -> None:
        if self.closed:
            return
        assert not self.eof_written, "written after the end"
        self.world.activity += 1
        self.written += data
        if not self.reads:
            self.held += len(data)
            if self.held > HIGH_WATER and not self._full:
                self._full = True
                self.protocol.pause_writing()

    def get_write_buffer_size(self) -> int:
        return self.held

    def close(self) -> None:
        if not self.closed:
            self.world.activity += 1
            self.closed = True
            if not self.held:
                self._lose(None)

    def abort(self) -> None:
        self.aborted = self.closed = True
        self._drop_held()
        self._lose(None)

    def _drop_held(self) -> None:
        self.dropped += self.held
        self.held = 0

    @property
    def taken(self) -> bytes:
        """What the peer has got of ``written``."""
        return bytes(self.written[: len(self.written) - self.held - self.dropped])

    def _lose(self, error: Exception | None) -> None:
        if not self.lost:
            self.lost = True
            self.world.activity += 1
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, error)

    def _deliver(self) -> None:
        while self.waiting and self.reading and not self.closed:
            self.world.activity += 1
            data = self.waiting.pop(0)
            if data == _END:
                if not self.protocol.eof_received():
                    self.close()
                return
            for at in range(0, len(data), READ_SIZE):
                if self.closed:
                    return
                if not self.reading:
                    self.waiting.insert(0, data[at:])
                    return
                self.protocol.data_received(data[at : at + READ_SIZE])

    # --- what the peer does

    def end(self) -> None:
        """FIN."""
        self.waiting.append(_END)
        self._deliver()

    def reset(self) -> None:
        """RST."""
        self.closed = True
        self._drop_held()
        self._lose(ConnectionResetError(104, "Connection reset by peer"))

    def stop_reading(self) -> None:
        self.reads = False

    def read_on(self) -> None:
        """Take what is buffered, and everything from now on."""
        self.reads = True
        if self.lost:
            return
        self.held = 0
        if self._full:
            self._full = False
            self.protocol.resume_writing()
        if self.closed:
            self._lose(None)


class ServerWire(PeerWire, Upstream):
    """A server's side of a connection: it does nothing by itself."""

    def took(self, data: bytes) -> None:
        """Nothing: the test looks at ``written``."""


@dataclass
class Knock:
    """A connection that synproxy is opening."""

    path: str
    factory: Callable[[], ServerConnection]
    answered: asyncio.Future[ServerConnection] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    @property
    def open(self) -> bool:
        """Whether it still waits for an answer."""
        return not self.answered.done()


class Simulation(World):
    """A world in which servers take their time to accept."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config, lambda upstream, stream: None)
        self.knocks: list[Knock] = []
        self.servers: list[ServerWire] = []
        self.errors: list[dict[str, Any]] = []

    async def _open(
        self, loop: object, factory: Callable[[], ServerConnection], path: str
    ) -> ServerConnection:
        self.activity += 1
        knock = Knock(path, factory)
        self.knocks.append(knock)
        return await knock.answered

    def accept(self, knock: Knock) -> ServerWire:
        """The server takes the connection."""
        connection = knock.factory()
        wire = ServerWire(self, connection, knock.path)
        self.servers.append(wire)
        knock.answered.set_result(connection)
        return wire

    def refuse(self, knock: Knock, number: int = ECONNREFUSED) -> None:
        """The server does not; ``number``: with which errno."""
        knock.answered.set_exception(OSError(number, "refused"))

    def arrive(self, address: str) -> PeerWire:
        """A client has connected."""
        self._ports += 1
        return PeerWire(self, ClientConnection(self.handler), (address, self._ports))

    async def pass_time(self, seconds: float) -> None:
        """Between two ticks the loop has turns, as it has in a process."""
        for _ in range(round(seconds / self.wheel.tick)):
            self.wheel.advance(self.wheel.now + self.wheel.tick)
            await self.settle()

    def reload(self, config: Mapping[str, Any]) -> None:
        """As a child does it."""
        self._config = Config.model_validate({"listeners": ["127.0.0.1:0"], **config})
        old = self.generation
        self.generation = Generation(self._config, self.wheel, old)
        self.generation.take_over(old)
        self.handler.use(self.generation)
        old.retire()
