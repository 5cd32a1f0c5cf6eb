"""All open client connections of a child, and how many each address has, if anybody wants to know.

Must not know what is spoken on them.
"""

from __future__ import annotations

import socket
from typing import Any


def source(peer: object) -> bytes:
    """What a peer's address counts as: an IPv4 address, or a network of 64 bits, which is what one
    customer has in IPv6; nothing for UNIX sockets. ``peer`` is as of ``socket.getpeername``."""
    if type(peer) is not tuple:
        return b""
    host: str = peer[0]
    try:
        if ":" not in host:
            return socket.inet_pton(socket.AF_INET, host)
        packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    except OSError:
        return b""
    mapped = packed.startswith(b"\0" * 10 + b"\xff\xff")
    return packed[12:] if mapped else packed[:8]


class Connections(dict[Any, None]):
    """Every kind of connection adds itself, and leaves. Used as a set, but takes half the memory of
    one for each of thousands."""

    __slots__ = ("_counts", "_sources")

    def __init__(self) -> None:
        super().__init__()
        self._counts: dict[bytes, int] = {}
        self._sources: dict[Any, bytes] | None = None
        """Of each connection; None: nobody wants to know."""

    def count_by_source(self, wanted: bool) -> None:
        """Begin with what is open, or end."""
        self._counts.clear()
        self._sources = {} if wanted else None
        if wanted:
            for connection in self:
                self._count(connection)

    def of(self, origin: bytes) -> int:
        """How many connections an address has, as :func:`source` puts it."""
        return self._counts.get(origin, 0)

    def add(self, connection: Any) -> None:
        self[connection] = None
        if self._sources is not None:
            self._count(connection)

    def discard(self, connection: Any) -> None:
        self.pop(connection, None)
        if self._sources is not None:
            origin = self._sources.pop(connection, b"")
            if origin:
                left = self._counts[origin] - 1
                if left:
                    self._counts[origin] = left
                else:
                    del self._counts[origin]

    def _count(self, connection: Any) -> None:
        assert self._sources is not None
        origin = source(connection.transport.get_extra_info("peername"))
        if origin and connection not in self._sources:
            self._sources[connection] = origin
            self._counts[origin] = self._counts.get(origin, 0) + 1
