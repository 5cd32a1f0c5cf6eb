"""Requests of one connection of HTTP/2, all under way at once."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from h2 import events
from h2.exceptions import ProtocolError

from tests.integration.harness import Peer
from tests.integration.http2 import Http2Client
from tests.soak.messages import Message

Request = tuple[str, str, list[tuple[bytes, bytes]], bytes]
"""Method, path, fields, body; all bodies together within a client's first window."""

WINDOW: Final = 65535


class Streams:
    """One connection, and what became of its requests."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._client = Http2Client(Peer(reader, writer))
        self._numbers: list[int] = []
        self._acknowledged: dict[int, int] = {}

    async def ask(self, requests: list[Request]) -> list[int]:
        """Send them all; the numbers of their streams.

        :raises OSError: the connection has ended.
        """
        await self._client.begin(None)
        for method, path, fields, body in requests:
            stream = await self._client.ask(
                path.encode(), *fields, method=method.encode(), end=not body
            )
            if body:
                await self._client.send(stream, body, end=True)
            self._numbers.append(stream)
        return self._numbers

    def ignored(self, stream: int) -> bool:
        """Whether the proxy has said that it did nothing about it (RFC 9113 section 6.8)."""
        return any(
            isinstance(event, events.ConnectionTerminated) and (event.last_stream_id or 0) < stream
            for event in self._client.events
        )

    async def answer(self, stream: int) -> Message | None:
        """None: there was no answer at all."""
        while not self._over(stream):
            try:
                await self._client.read()
            except ConnectionError:
                self._client.ended = True
            await self._take()
        head = next(
            (e for e in self._client.of(stream) if isinstance(e, events.ResponseReceived)), None
        )
        if head is None:
            return None
        fields = {name.decode(): value.decode() for name, value in head.headers}
        whole = any(isinstance(e, events.StreamEnded) for e in self._client.of(stream))
        body = self._client.body(stream)
        return Message(f"HTTP/2 {fields[':status']}", fields, body, whole)

    def _over(self, stream: int) -> bool:
        ends = (events.StreamEnded, events.StreamReset)
        return (
            self._client.ended
            or self.ignored(stream)
            or any(isinstance(event, ends) for event in self._client.of(stream))
        )

    async def _take(self) -> None:
        """Give back the windows of what has come: the connection's also for a stream that ended."""
        for stream in self._numbers:
            size = len(self._client.body(stream))
            more = size - self._acknowledged.get(stream, 0)
            if more and not self._client.ended:
                self._acknowledged[stream] = size
                # The stream was reset; the connection ended after the last answer.
                with suppress(ProtocolError, ConnectionError):
                    await self._client.acknowledge(stream, more)
