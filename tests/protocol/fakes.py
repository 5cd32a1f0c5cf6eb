"""The other ends of our protocols: a transport that writes down what is done to it, a sink."""

from __future__ import annotations

import asyncio
from typing import Any

from synproxy.config.model import Pool
from synproxy.core.response import ResponseHead
from synproxy.core.wheel import TimerWheel
from synproxy.errors import UpstreamError
from synproxy.upstream.connection import AttemptRules, ServerConnection
from synproxy.upstream.pool import ServerPool
from synproxy.wire.response_reader import ResponseReader
from tests.support.answers import Judged, view

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
READ_TIMEOUT, SEND_TIMEOUT = 60.0, 20.0
RULES = AttemptRules(ResponseReader(), READ_TIMEOUT, SEND_TIMEOUT)


class FakeTransport(asyncio.Transport):
    """Keeps what is written. As with a real one, `connection_lost` comes later: by `end`."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.protocol = protocol
        self.written = bytearray()
        self.reading = True
        self.closed = False
        self.aborted = False
        self.eof_written = False
        self.unsent = 0
        """Bytes of what is written that the other end has not read."""
        protocol.connection_made(self)

    def write(self, data: Any) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.eof_written = True

    # --- what the other end does

    def receive(self, *pieces: bytes) -> None:
        """Bytes arrive, unless the protocol has closed meanwhile."""
        for piece in pieces:
            if not self.closed:
                self.protocol.data_received(piece)

    def end(self, error: Exception | None = None) -> None:
        """The connection is over: closed, or reset with ``error``."""
        self.closed = True
        self.protocol.connection_lost(error)


class FakeSink:
    """An exchange that keeps what it hears of an answer."""

    def __init__(self) -> None:
        self.heads: list[Judged] = []
        self.body = b""
        self.done = 0
        self.errors: list[UpstreamError] = []
        self.writable: list[bool] = []
        self.tunnel: list[bytes] = []
        self.switched_to: Judged | None = None
        self.keeps_half_closed = True

    def whole_response(self, head: ResponseHead, payload: bytes, framed: bytes) -> None:
        if framed:
            assert framed == b"%x\r\n%b\r\n0\r\n\r\n" % (len(payload), payload)
        self.response(head, [payload], True)

    def response(self, head: ResponseHead | None, pieces: list[bytes], done: bool) -> None:
        assert not self.done
        if head is not None:
            self.heads.append(view(head))
        self.body += b"".join(pieces)
        self.done += done

    def server_failed(self, error: UpstreamError) -> None:
        self.errors.append(error)

    def server_writable(self, writable: bool) -> None:
        self.writable.append(writable)

    def switched(self, head: ResponseHead, early: bytes) -> None:
        self.switched_to = view(head)
        self.tunnel.append(early)

    def tunnel_reply(self, data: bytes) -> None:
        self.tunnel.append(data)

    def tunnel_reply_end(self) -> bool:
        return self.keeps_half_closed


def make_pool(servers: int | list[str] = 1, **settings: Any) -> ServerPool:
    addresses = (
        [f"unix:/run/{number}.sock" for number in range(servers)]
        if isinstance(servers, int)
        else servers
    )
    model = Pool.model_validate({"servers": addresses, **settings})
    return ServerPool("pool", model, TimerWheel(1000.0))


def connect(pool: ServerPool, index: int = 0) -> tuple[ServerConnection, FakeTransport]:
    """A connection that has just come up."""
    connection = ServerConnection(pool, index)
    return connection, FakeTransport(connection)


def ask(
    connection: ServerConnection,
    data: bytes = GET,
    *,
    sent: bool = True,
    head_request: bool = False,
    upgrade: bool = False,
    close: bool = False,
) -> FakeSink:
    """Send a request over a connection; gives who waits for the answer."""
    sink = FakeSink()
    connection.start(
        sink,
        data,
        RULES,
        sent=sent,
        head_request=head_request,
        upgrade=upgrade,
        close=close,
    )
    return sink


def pass_time(pool: ServerPool, seconds: float) -> None:
    """Tick by tick, as the process does it."""
    wheel = pool.wheel
    for _ in range(round(seconds / wheel.tick)):
        wheel.advance(wheel.now + wheel.tick)
