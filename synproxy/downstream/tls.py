"""TLS on an accepted connection: a protocol below, a transport above, OpenSSL in between.

asyncio's own TLS tells nobody of a handshake that failed or of plain HTTP on a TLS port, and keeps
256 KiB of buffer for each connection (docs/adr/0013). Must not know which certificate is shown, or
what is spoken inside.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from synproxy.core.wheel import NEVER, TimerWheel

if TYPE_CHECKING:
    from collections.abc import Iterable

    from synproxy.downstream.connections import Connections

_HELLO: Final = 0
"""Nothing has come yet."""
_HANDSHAKE: Final = 1
_OPEN: Final = 2
_CLOSED: Final = 3

_HANDSHAKE_RECORD: Final = 0x16
"""The first byte of a TLS connection (RFC 8446 section 5.1)."""
_RECORD: Final = 16384
"""Bytes of plain text in a record at most. Reading and writing go in steps of this size, for the
buffers of OpenSSL's memory BIOs never shrink again."""


class Endpoint(Protocol):
    """What a listener decides about its TLS connections."""

    wheel: TimerWheel
    connections: Connections
    """All of the process, for a drain."""

    @property
    def handshake_timeout(self) -> float:
        """In seconds."""

    def begin(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> ssl.SSLObject:
        """The server's side of a new connection."""

    def established(self, connection: TlsConnection) -> asyncio.Protocol:
        """The handshake is done: who reads what is inside."""

    def failed(self, connection: TlsConnection, reason: str) -> None:
        """There will be no handshake."""

    def plain(self) -> asyncio.Protocol:
        """Who answers a client that speaks without TLS."""


class TlsConnection(asyncio.Transport, asyncio.Protocol):
    """Protocol of the socket, and transport of whoever reads what is inside."""

    __slots__ = (
        "_endpoint",
        "_incoming",
        "_inside",
        "_outgoing",
        "_state",
        "deadline",
        "tls",
        "transport",
        "visit",
    )

    transport: asyncio.Transport
    """The socket's."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._inside: asyncio.Protocol | None = None
        self._state = _HELLO
        self.deadline = NEVER
        self.visit = 0.0
        self.tls = endpoint.begin(self._incoming, self._outgoing)

    # --- asyncio's callbacks, from the socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        endpoint = self._endpoint
        endpoint.connections.add(self)
        self.deadline = endpoint.wheel.now + endpoint.handshake_timeout
        endpoint.wheel.watch(self)

    def data_received(self, data: bytes) -> None:
        state = self._state
        if state == _OPEN:
            incoming = self._incoming
            if len(data) <= _RECORD:
                incoming.write(data)
                self._read()
                return
            view = memoryview(data)
            for start in range(0, len(data), _RECORD):
                incoming.write(view[start : start + _RECORD])
                self._read()
                if self._state != _OPEN:
                    return
        elif state == _HANDSHAKE:
            self._incoming.write(data)
            self._handshake()
        elif state == _HELLO:
            if data[0] == _HANDSHAKE_RECORD:
                self._state = _HANDSHAKE
                self._incoming.write(data)
                self._handshake()
            else:
                self._speak_plain(data)

    def eof_received(self) -> bool:
        inside = self._inside
        if self._state == _OPEN and inside is not None:
            # A FIN without close_notify before it. HTTP says itself where a request ends, so it
            # counts as one (nginx does the same).
            return bool(inside.eof_received())
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        state, self._state = self._state, _CLOSED
        inside, self._inside = self._inside, None
        if inside is not None:
            inside.connection_lost(exc)
        elif state != _CLOSED:
            self._leave_handshake()
            self._endpoint.failed(self, "the client closed the connection")

    def pause_writing(self) -> None:
        if self._inside is not None:
            self._inside.pause_writing()

    def resume_writing(self) -> None:
        if self._inside is not None:
            self._inside.resume_writing()

    # --- the handshake

    def _handshake(self) -> None:
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except ssl.SSLError as error:
            self._flush()  # the alert
            self._refuse(error.reason or str(error))
            return
        self._flush()
        self._leave_handshake()
        self._state = _OPEN
        inside = self._inside = self._endpoint.established(self)
        inside.connection_made(self)
        if self._incoming.pending:
            self._read()

    def _leave_handshake(self) -> None:
        self._endpoint.connections.discard(self)
        self._endpoint.wheel.forget(self)

    def _refuse(self, reason: str) -> None:
        self._state = _CLOSED
        self._leave_handshake()
        self._endpoint.failed(self, reason)
        self.transport.close()

    def _speak_plain(self, data: bytes) -> None:
        self._state = _CLOSED
        self._leave_handshake()
        self._endpoint.failed(self, "plain HTTP")
        protocol = self._endpoint.plain()
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        protocol.data_received(data)

    def expire(self, now: float) -> None:
        """The handshake has taken too long; called by the wheel."""
        self._state = _CLOSED
        self._leave_handshake()
        self._endpoint.failed(self, "timed out")
        self.transport.abort()

    def shut_down_idle(self) -> None:
        """Drain: nothing to do, a handshake ends soon and what comes then is told."""

    # --- what is inside

    def _read(self) -> None:
        """Give everything that is complete to whoever is inside, in one piece."""
        incoming, tls = self._incoming, self.tls
        pieces: list[bytes] = []
        ended = False
        failure: ssl.SSLError | None = None
        try:
            while True:
                piece = tls.read(_RECORD)
                if not piece:
                    ended = True
                    break
                pieces.append(piece)
                if not incoming.pending and not tls.pending():
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            ended = True
        except ssl.SSLError as error:
            failure = error
        if self._outgoing.pending:  # an alert, or the answer to a key update
            self._flush()
        inside = self._inside
        if pieces and inside is not None:
            inside.data_received(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if failure is not None:
            self._state = _CLOSED
            self.transport.abort()
        elif ended and self._state == _OPEN and inside is not None and not inside.eof_received():
            self.close()

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data:
            self.transport.write(data)

    # --- the transport of whoever is inside

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._state != _OPEN:
            return
        size = len(data)
        if size <= _RECORD:
            if size:
                self.tls.write(data)
                self.transport.write(self._outgoing.read())
            return
        view = memoryview(data)
        records = []
        at = 0
        while at < size:
            at += self.tls.write(view[at : at + _RECORD])
            records.append(self._outgoing.read())
        self.transport.write(b"".join(records))

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        if self._state == _OPEN:
            self._say_goodbye()
            self._state = _CLOSED
        self.transport.close()

    def abort(self) -> None:
        self.transport.abort()

    def is_closing(self) -> bool:
        return self._state == _CLOSED or self.transport.is_closing()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Half-close: RFC 8446 section 6.1 lets each side end alone."""
        if self._state == _OPEN:
            self._say_goodbye()
            self.transport.write_eof()

    def _say_goodbye(self) -> None:
        with suppress(ssl.SSLError):  # the other side's has not come, and nobody waits for it
            self.tls.unwrap()
        self._flush()

    def get_write_buffer_size(self) -> int:
        return self.transport.get_write_buffer_size()

    def pause_reading(self) -> None:
        self.transport.pause_reading()

    def resume_reading(self) -> None:
        self.transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """``ssl_object``, and what the socket's transport knows."""
        if name == "ssl_object":
            return self.tls
        return self.transport.get_extra_info(name, default)
