"""Connections that begin with a PROXY protocol header: read it, then let them be what they are.

The protocol of the socket is replaced once the header has come, by TLS or HTTP, so that nothing is
left in the way of what is read. What is written goes by a transport that knows the client's address
and is otherwise the socket's. Must not know what is spoken inside.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any, Protocol, cast

from synproxy.core.wheel import NEVER, TimerWheel
from synproxy.wire.proxy_protocol import ProxyProtocolError, read_header

if TYPE_CHECKING:
    from collections.abc import Iterable

    from synproxy.downstream.connections import Connections
    from synproxy.wire.proxy_protocol import Endpoints


class Endpoint(Protocol):
    """What a listener decides about its connections."""

    wheel: TimerWheel
    connections: Connections
    """All of the process, for a drain."""

    @property
    def header_timeout(self) -> float:
        """In seconds."""

    def trusts(self, address: bytes) -> bool:
        """Whether who connects from this address may say whose a connection is."""

    def inside(self) -> asyncio.Protocol:
        """Who reads what follows the header."""

    def refused(self, peer: str, reason: str) -> None:
        """A connection is closed since it does not begin as it should."""


class ProxyProtocolConnection(asyncio.Protocol):
    """The protocol of a socket until its header has come."""

    __slots__ = ("_buffer", "_endpoint", "_over", "deadline", "transport", "visit")

    transport: asyncio.Transport

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._buffer = b""
        self._over = False
        self.deadline = NEVER
        self.visit = 0.0

    # --- asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        endpoint = self._endpoint
        if _has_gone(transport):
            self._over = True
            transport.abort()  # type: ignore[attr-defined]
            return
        if not endpoint.trusts(self._peer.encode()):
            self._refuse("it is not one of the balancers")
            return
        endpoint.connections.add(self)
        self.deadline = endpoint.wheel.now + endpoint.header_timeout
        endpoint.wheel.watch(self)

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        self._buffer += data
        try:
            header = read_header(self._buffer)
        except ProxyProtocolError as error:
            self._refuse(str(error))
            return
        if header is None:
            return
        self._leave()
        rest, self._buffer = self._buffer[header.size :], b""
        inside = self._endpoint.inside()
        transport = self.transport
        transport.set_protocol(inside)
        if header.endpoints is None:
            inside.connection_made(transport)
        else:
            inside.connection_made(PassedOnTransport(transport, header.endpoints))
        if rest:
            inside.data_received(rest)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._over:
            self._leave()
            if self._buffer:  # without a byte it was a balancer's look at the port
                self._endpoint.refused(self._peer, "closed within its PROXY protocol header")

    # --- inside

    @property
    def _peer(self) -> str:
        peer = self.transport.get_extra_info("peername")
        return str(peer[0]) if type(peer) is tuple else "unix:"

    def _leave(self) -> None:
        self._over = True
        self._endpoint.connections.discard(self)
        self._endpoint.wheel.forget(self)

    def _refuse(self, reason: str) -> None:
        self._leave()
        self._endpoint.refused(self._peer, reason)
        self.transport.abort()

    def expire(self, now: float) -> None:
        """The header has not come in time; called by the wheel."""
        self._refuse(f"no PROXY protocol header within {self._endpoint.header_timeout:g} s")

    def shut_down_idle(self) -> None:
        """Drain: nothing to do, a header comes soon and what comes then is told."""


def _has_gone(transport: asyncio.BaseTransport) -> bool:
    """Whether a client has reset its connection before it was accepted, as balancers do that only
    look whether the port is open: nobody can say any more whose it was."""
    if transport.get_extra_info("peername") is not None:
        return False
    sock = transport.get_extra_info("socket")
    return sock is not None and sock.family != socket.AF_UNIX


class PassedOnTransport(asyncio.Transport):
    """A socket's transport, but for the name of the other end."""

    __slots__ = ("_ends", "_socket", "write")

    def __init__(self, transport: asyncio.Transport, ends: Endpoints) -> None:
        self._socket = transport
        self._ends = ends
        self.write = transport.write  # type: ignore[method-assign]  # no further call on the way

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """``proxy_protocol``: what the header says; ``peername`` is the client's;
        ``socket_peername`` the balancer's."""
        if name == "peername":
            ends = self._ends
            return "" if ends.host == "unix:" else (ends.host, ends.port)
        if name == "proxy_protocol":
            return self._ends
        if name == "socket_peername":
            name = "peername"
        return self._socket.get_extra_info(name, default)

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self._socket.writelines(list_of_data)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._socket.set_protocol(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._socket.get_protocol()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._socket.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self._socket.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._socket.get_write_buffer_limits()

    def is_reading(self) -> bool:
        return self._socket.is_reading()

    def pause_reading(self) -> None:
        self._socket.pause_reading()

    def resume_reading(self) -> None:
        self._socket.resume_reading()

    def is_closing(self) -> bool:
        return self._socket.is_closing()

    def can_write_eof(self) -> bool:
        return self._socket.can_write_eof()

    def write_eof(self) -> None:
        self._socket.write_eof()

    def close(self) -> None:
        self._socket.close()

    def abort(self) -> None:
        self._socket.abort()
