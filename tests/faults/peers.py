"""What the client and the servers of a fault are made of: real sockets, and no time passes."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, cast

from synproxy.upstream.connection import ServerConnection
from tests.integration.harness import WAIT, Proxy, ScriptedServer

NOBODY: Final = 65534
_DATE: Final = re.compile(rb"\r\nDate: [^\r]*\r\n")


class Client(asyncio.Protocol):
    """Keeps all that comes, and how it ends."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._raw = bytearray()
        self.ended = ""
        """``closed`` (FIN) or ``reset``; empty while it is open."""
        self._changed = asyncio.Event()

    @classmethod
    async def of(cls, proxy: Proxy) -> Client:
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(cls, "127.0.0.1", proxy.port)
        return client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._raw += data
        self._changed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = "closed" if exc is None else "reset"
        self._changed.set()

    @property
    def received(self) -> bytes:
        """All that has come, with the one thing that is not the same every time masked."""
        return _DATE.sub(b"\r\nDate: -\r\n", bytes(self._raw))

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    async def gets(self, expected: bytes) -> None:
        """Waits for exactly these bytes. Returns early if they can no longer come."""
        while len(self.received) < len(expected) and not self.ended:
            await self._change()

    async def has(self, last: bytes) -> None:
        """Waits until what has come ends like this."""
        while not self._raw.endswith(last):
            assert not self.ended, bytes(self._raw)
            await self._change()

    async def end(self) -> None:
        """Waits until the proxy has ended the connection."""
        while not self.ended:
            await self._change()

    async def _change(self) -> None:
        self._changed.clear()
        await asyncio.wait_for(self._changed.wait(), WAIT)

    def leave(self) -> None:
        self.transport.abort()


class TcpServer(ScriptedServer):
    """A scripted server with an address and a port: only TCP has RST."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._port = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]


class RefusingServer(ScriptedServer):
    """A socket without a process: it was killed."""

    async def start(self) -> None:
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(self.path))


class MissingServer(ScriptedServer):
    """No socket at all: it was stopped, or has not been started."""

    async def start(self) -> None:
        return None


class ForbiddenServer(ScriptedServer):
    """A socket that only its owner may use, who is somebody else."""

    async def start(self) -> None:
        await super().start()
        self.path.chmod(0)


class BusyServer(ScriptedServer):
    """A process that accepts nothing any more: its queue is full."""

    async def start(self) -> None:
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self.path))
        self._listening.listen(0)
        self._queued: list[socket.socket] = []
        while True:
            one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            self._queued.append(one)
            try:
                one.connect(str(self.path))
            except BlockingIOError:
                return

    def stop(self) -> None:
        for one in (self._listening, *self._queued):
            one.close()
        super().stop()


def servers_of(proxy: Proxy) -> list[ServerConnection]:
    """All that are open."""
    slots = proxy.wheel._slots
    return [item for slot in slots for item in slot if isinstance(item, ServerConnection)]


@contextmanager
def unprivileged() -> Iterator[None]:
    """The kernel asks root for no permission, so root is somebody else meanwhile."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def without_descriptors() -> Iterator[None]:
    """This process may open no file and no socket more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
