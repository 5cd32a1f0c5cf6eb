"""A byte relay on uvloop: the floor under every Python proxy, as it parses and decides nothing.

One server connection per client connection; both directions are copied.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
from typing import cast

import uvloop


class Side(asyncio.Protocol):
    """One end; what it receives goes to the other."""

    __slots__ = ("other", "transport")
    transport: asyncio.Transport
    other: Side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's has no such base

    def data_received(self, data: bytes) -> None:
        self.other.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if hasattr(self, "other"):
            self.other.transport.close()

    def pause_writing(self) -> None:
        self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        self.other.transport.resume_reading()


class Client(Side):
    """The end towards the client: it opens the other one."""

    __slots__ = ("early", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self.early = b""  # what came before the other end was there

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        connecting = asyncio.ensure_future(self._connect())
        connecting.add_done_callback(lambda done: done.exception())

    def data_received(self, data: bytes) -> None:
        if hasattr(self, "other"):
            self.other.transport.write(data)
        else:
            self.early += data
            self.transport.pause_reading()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        _, self.other = await loop.create_unix_connection(Side, self.path)
        self.other.other = self
        self.other.transport.write(self.early)
        self.transport.resume_reading()


async def serve(path: str, port: int) -> None:
    """Relays 127.0.0.1:``port`` to the UNIX socket ``path`` until cancelled."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Client(path), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path")
    parser.add_argument("port", type=int)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run(serve(options.path, options.port))


if __name__ == "__main__":
    main()
