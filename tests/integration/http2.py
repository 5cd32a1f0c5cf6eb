"""A proxy that speaks HTTP/2, and a client of it: the library h2, over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Self

from h2 import events
from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.exceptions import StreamClosedError

from synproxy.downstream.http2 import Http2Connection
from synproxy.downstream.http2_stream import Http2Stream
from tests.integration.harness import WAIT, Peer, Proxy


class Http2Proxy(Proxy):
    """As :class:`Proxy`, on a listener with ``http2: on``."""

    def connection(self) -> asyncio.Protocol:
        return Http2Connection(self.handler, or_http1=True)

    async def http2(self, window: int | None = None) -> Http2Client:
        """A client of HTTP/2; ``window``: how many bytes of a stream it takes unasked."""
        return await Http2Client(await self.client()).begin(window)

    @property
    def streams(self) -> dict[int, Http2Stream]:
        """Those of the only client connection."""
        (connection,) = self.handler.connections
        assert isinstance(connection, Http2Connection)
        return connection.streams


class Http2Client:
    """What came is kept in ``events``. Flow control is acknowledged by :meth:`acknowledge` only."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self.events: list[events.Event] = []
        self.ended = False
        self._unread = b""

    async def begin(self, window: int | None) -> Self:
        self.h2.initiate_connection()
        if window is not None:
            self.h2.update_settings({4: window})  # SETTINGS_INITIAL_WINDOW_SIZE
        await self.flush()
        await self.until(lambda event: isinstance(event, events.RemoteSettingsChanged))
        return self

    async def flush(self) -> None:
        await self.peer.send(self.h2.data_to_send())

    async def ask(
        self,
        path: bytes = b"/x",
        *fields: tuple[bytes, bytes],
        method: bytes = b"GET",
        end: bool = True,
    ) -> int:
        """Send a request's head; the number of its stream."""
        stream = self.h2.get_next_available_stream_id()
        head = [
            (b":method", method),
            (b":scheme", b"http"),
            (b":authority", b"example.org"),
            (b":path", path),
        ]
        self.h2.send_headers(stream, [*head, *fields], end_stream=end)
        await self.flush()
        return stream

    async def send(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """A part of a body, no longer than the window."""
        for at in range(0, len(data), 16384):
            self.h2.send_data(stream, data[at : at + 16384])
        if end:
            self.h2.end_stream(stream)
        await self.flush()

    async def until(self, wanted: Callable[[events.Event], bool]) -> Any:
        """The first event of the kind, waited for if it has not come."""
        seen = 0
        while True:
            for event in self.events[seen:]:
                if wanted(event):
                    return event
            seen = len(self.events)
            await self.read()

    async def read(self) -> None:
        """Wait for more events, or the end."""
        assert not self.ended, f"the connection has ended: {self.events}"
        data = await asyncio.wait_for(self.peer.reader.read(65536), WAIT)
        if not data:
            self.ended = True
            return
        self._unread += data
        while len(self._unread) >= 9:
            end = 9 + int.from_bytes(self._unread[:3])
            if len(self._unread) < end:
                break
            frame, self._unread = self._unread[:end], self._unread[end:]
            self.events += self.h2.receive_data(frame)
            if frame[3] == 7:
                # To h2 a GOAWAY is the end of everything; streams go on (RFC 9113 section 6.8).
                self.h2.state_machine.state = ConnectionState.CLIENT_OPEN
        await self.flush()

    async def to_end(self) -> None:
        """Until the proxy closes the connection."""
        while not self.ended:
            await self.read()

    def of(self, stream: int) -> list[events.Event]:
        return [event for event in self.events if getattr(event, "stream_id", 0) == stream]

    async def acknowledge(self, stream: int, size: int) -> None:
        self.h2.acknowledge_received_data(size, stream)
        await self.flush()

    def body(self, stream: int) -> bytes:
        """What has come of it."""
        return b"".join(e.data for e in self.of(stream) if isinstance(e, events.DataReceived))

    async def head(self, stream: int) -> dict[bytes, bytes]:
        event = await self.until(
            lambda e: isinstance(e, events.ResponseReceived) and e.stream_id == stream
        )
        return dict(event.headers)

    async def answer(self, stream: int) -> tuple[int, bytes]:
        """Status and body, when all of it has come; every byte is acknowledged."""
        acknowledged = 0
        while not any(isinstance(event, events.StreamEnded) for event in self.of(stream)):
            size = len(self.body(stream))
            if size > acknowledged:
                try:
                    await self.acknowledge(stream, size - acknowledged)
                except StreamClosedError:
                    break
                acknowledged = size
            await self.read()
        return int((await self.head(stream))[b":status"]), self.body(stream)

    async def reset(self, stream: int) -> int:
        """The code with which the proxy resets a stream."""
        event = await self.until(
            lambda e: isinstance(e, events.StreamReset) and e.stream_id == stream
        )
        return int(event.error_code)

    async def goaway(self) -> tuple[int, int]:
        """Code and last stream of a GOAWAY."""
        event = await self.until(lambda e: isinstance(e, events.ConnectionTerminated))
        return int(event.error_code), event.last_stream_id
