"""A handler whose exchanges keep what they are told, and answer when a test wants it."""

from __future__ import annotations

import asyncio
from typing import Any

from synproxy.config.model import Http
from synproxy.core.head import HeaderBlock, RequestLine
from synproxy.core.wheel import TimerWheel
from synproxy.downstream.connection import ClientConnection, Tally
from synproxy.downstream.connections import Connections
from synproxy.errors import DownstreamError
from tests.protocol.fakes import FakeTransport

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
REFUSAL = b"HTTP/1.1 400 Bad Request\r\n\r\n"


class FakeExchange:
    """Keeps a request; with ``at_once`` it is answered when it is complete."""

    def __init__(
        self, handler: FakeHandler, client: ClientConnection, line: RequestLine, block: HeaderBlock
    ) -> None:
        self.handler = handler
        self.client = client
        self.line = line
        self.block = block
        self.body = b""
        self.complete = False
        self.error: DownstreamError | None = None
        self.gone = ""
        self.writable: list[bool] = []
        self.tunnel = b""
        self.keeps_half_closed = False

    def start(self, *, complete: bool, body: bytes = b"") -> None:
        self.complete = complete
        self.body = body
        if complete and self.handler.at_once:
            self.answer()

    def request_body(self, payload: bytes) -> None:
        assert not self.complete
        self.body += payload

    def request_end(self) -> None:
        assert not self.complete
        self.complete = True
        if self.handler.at_once:
            self.answer()

    def answer(self) -> None:
        self.client.keep_alive = self.client.can_persist
        self.client.write(ANSWER)
        self.client.finish()

    def bad_request(self, error: DownstreamError) -> None:
        self.error = error
        self.client.write(REFUSAL)
        self.client.linger()

    def client_gone(self, reason: str) -> None:
        self.gone = reason

    def client_half_closed(self) -> bool:
        return self.keeps_half_closed

    def client_writable(self, writable: bool) -> None:
        self.writable.append(writable)

    def tunnel_data(self, data: bytes) -> None:
        self.tunnel += data


class FakeHandler:
    """Takes the requests of client connections."""

    scheme = b"http"

    def __init__(self, *, at_once: bool = True, **settings: Any) -> None:
        self.settings = Http.model_validate(settings)
        self.keepalive_requests = self.settings.keepalive_requests
        self.keepalive_timeout = self.settings.keepalive_timeout
        self.small_head = self.settings.large_client_header_buffers.size
        self.wheel = TimerWheel(1000.0)
        self.connections = Connections()
        self.draining = False
        self.accepted = Tally()
        self.at_once = at_once
        self.exchanges: list[FakeExchange] = []
        self.refused: list[DownstreamError] = []

    def begin(
        self, client: ClientConnection, line: RequestLine, block: HeaderBlock
    ) -> FakeExchange:
        exchange = FakeExchange(self, client, line, block)
        self.exchanges.append(exchange)
        return exchange

    def refuse(self, client: ClientConnection, error: DownstreamError, head: bytes) -> None:
        self.refused.append(error)
        client.keep_alive = False
        client.write(REFUSAL)
        client.linger()

    def connect(self) -> FakeTransport:
        """A client that has just connected."""
        return FakeTransport(ClientConnection(self))

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / self.wheel.tick)):
            self.wheel.advance(self.wheel.now + self.wheel.tick)


async def receive(transport: FakeTransport, *pieces: bytes) -> None:
    """Bytes arrive one piece after the other; between them and after them the loop has turns."""
    for piece in pieces:
        for _ in range(3):
            await asyncio.sleep(0)
        transport.receive(piece)
    for _ in range(50):
        await asyncio.sleep(0)
