"""What an exchange asks of its client: a connection of HTTP/1.1, or a stream of HTTP/2.

A protocol and not one of both, for a compiled exchange holds its client to the class it is told
(docs/adr/0016).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio

    from synproxy.downstream.connection import Exchange


def peer_of(name: object) -> tuple[bytes, bytes]:
    """Address and port of a ``peername``; ``unix:`` and nothing for a UNIX socket."""
    if type(name) is not tuple:
        return b"unix:", b""
    return name[0].encode(), b"%d" % name[1]


class Client(Protocol):
    """See :class:`synproxy.downstream.connection.ClientConnection`."""

    exchange: Exchange | None
    keep_alive: bool
    remote_addr: bytes

    @property
    def transport(self) -> asyncio.Transport: ...
    @property
    def peer(self) -> tuple[bytes, bytes]: ...
    @property
    def can_persist(self) -> bool: ...
    @property
    def unread(self) -> int: ...

    def write(self, data: bytes) -> None: ...
    def send_continue(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def start_tunnel(self) -> bytes: ...
    def write_eof(self) -> None: ...
    def finish(self) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...
