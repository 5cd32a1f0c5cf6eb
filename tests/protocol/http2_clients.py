"""A handler for HTTP/2 whose exchanges keep what they are told, and an h2 client in front of it."""

from __future__ import annotations

from typing import Any

from synproxy.core.head import HeaderBlock, RequestLine
from synproxy.core.http2 import MalformedError
from synproxy.downstream.http2 import Http2Connection
from synproxy.downstream.http2_stream import Http2Stream
from synproxy.errors import DownstreamError
from synproxy.wire import hpack
from tests.protocol.clients import FakeHandler
from tests.protocol.fakes import FakeTransport
from tests.support import http2
from tests.support.http2 import Http2Client


class FakeStreamExchange:
    """Keeps one request; with ``at_once`` it is answered when it is complete."""

    def __init__(
        self, handler: FakeHttp2Handler, stream: Http2Stream, line: RequestLine, block: HeaderBlock
    ) -> None:
        self.handler = handler
        self.stream = stream
        self.line = line
        self.block = block
        self.body = b""
        self.complete = False
        self.error: DownstreamError | None = None
        self.gone = ""
        self.writable: list[bool] = []
        self.over = False

    def start(self, *, complete: bool, body: bytes = b"") -> None:
        self.complete = complete
        self.body = body
        if complete:
            self._answer_if_wanted()
        elif self.handler.takes_bodies:
            self.stream.resume_reading()

    def request_body(self, payload: bytes) -> None:
        assert not self.complete
        assert not self.over
        self.body += payload

    def request_end(self) -> None:
        assert not self.complete
        self.complete = True
        self._answer_if_wanted()

    def _answer_if_wanted(self) -> None:
        if self.handler.at_once:
            self.answer()

    def begin_answer(self, status: int = 200, body: bytes = b"") -> None:
        self.stream.answer(hpack.status(status), body, end=False)

    def answer(self, body: bytes = b"ok", status: int = 200) -> None:
        assert not self.over
        self.over = True
        head = hpack.status(status) + hpack.content_length(len(body))
        self.stream.answer(head, body, end=True)
        self.stream.finish()

    def bad_request(self, error: DownstreamError) -> None:
        assert not self.over
        self.error = error
        self.answer(b"bad", error.status)

    def client_gone(self, reason: str) -> None:
        assert not self.gone
        assert not self.over
        self.gone = reason
        self.over = True

    def client_half_closed(self) -> bool:
        return False

    def client_writable(self, writable: bool) -> None:
        self.writable.append(writable)

    def tunnel_data(self, data: bytes) -> None:
        raise AssertionError("there are no tunnels in HTTP/2")


class FakeHttp2Handler(FakeHandler):
    """Takes the requests of connections of both versions."""

    def __init__(self, *, at_once: bool = True, **settings: Any) -> None:
        super().__init__(at_once=at_once, **settings)
        self.max_streams = self.settings.http2_max_concurrent_streams
        self.asked: list[FakeStreamExchange] = []
        self.takes_bodies = True
        """Whether a server is there for each request at once."""

    def begin_http2(
        self, client: Http2Stream, line: RequestLine, block: HeaderBlock
    ) -> FakeStreamExchange:
        exchange = FakeStreamExchange(self, client, line, block)
        self.asked.append(exchange)
        return exchange

    def refuse_http2(
        self, client: Http2Stream, error: DownstreamError, pseudo: dict[bytes, bytes]
    ) -> None:
        self.refused.append(error)
        malformed = isinstance(error, MalformedError)
        client.answer(hpack.status(error.status), b"no", end=not malformed)
        if not malformed:
            client.finish()


class Conversation:
    """A client, a connection, and the wire between them. What the client has not read yet stays
    on the wire until :meth:`pass_on`."""

    def __init__(
        self, handler: FakeHttp2Handler | None = None, client: Http2Client | None = None
    ) -> None:
        self.handler = handler or FakeHttp2Handler()
        self.client = client or Http2Client()
        self.connection = Http2Connection(self.handler)
        self.transport = FakeTransport(self.connection)
        self.pass_on()

    def pass_on(self) -> None:
        """Bytes go to and fro until neither side has any."""
        while True:
            outgoing = self.client.outgoing()
            if outgoing:
                self.transport.receive(outgoing)
            incoming = bytes(self.transport.written)
            self.transport.written.clear()
            if incoming:
                self.client.receive(incoming)
            if not incoming and not outgoing:
                return

    @property
    def over(self) -> bool:
        """Whether the server sends nothing more."""
        return self.transport.closed or self.transport.eof_written

    def send(self, *frames: bytes) -> None:
        """Frames that the client's library knows nothing of."""
        self.transport.receive(*frames)
        self.pass_on()

    def ask(self, *more: tuple[bytes, bytes], body: bytes | None = None, end: bool = True) -> int:
        stream = self.client.request(http2.get(b"/", *more), body, end=end)
        self.pass_on()
        return stream


class Wire:
    """A connection to which frames are sent by hand, and the frames that it sent."""

    def __init__(self, handler: FakeHttp2Handler | None = None) -> None:
        self.handler = handler or FakeHttp2Handler()
        self.transport = FakeTransport(Http2Connection(self.handler))
        self.transport.receive(http2.PREFACE + http2.settings())

    def send(self, *frames: bytes) -> None:
        self.transport.receive(*frames)

    @property
    def over(self) -> bool:
        """Whether the server sends nothing more."""
        return self.transport.closed or self.transport.eof_written

    def frames(self) -> list[tuple[int, int, int, bytes]]:
        """Kind, flags, stream and payload of what was sent so far."""
        data = bytes(self.transport.written)
        found = []
        while data:
            length = int.from_bytes(data[:3], "big")
            found.append((data[3], data[4], int.from_bytes(data[5:9], "big"), data[9 : 9 + length]))
            data = data[9 + length :]
        return found

    @property
    def goaways(self) -> list[tuple[int, int]]:
        """Code and last stream of each GOAWAY."""
        return [
            (int.from_bytes(payload[4:8], "big"), int.from_bytes(payload[:4], "big"))
            for kind, _, _, payload in self.frames()
            if kind == http2.GOAWAY
        ]

    @property
    def gone(self) -> int | None:
        """The code of the first GOAWAY."""
        return next((code for code, _ in self.goaways), None)

    @property
    def resets(self) -> list[tuple[int, int]]:
        """Stream and code of each RST_STREAM."""
        return [
            (stream, int.from_bytes(payload, "big"))
            for kind, _, stream, payload in self.frames()
            if kind == http2.RST_STREAM
        ]
