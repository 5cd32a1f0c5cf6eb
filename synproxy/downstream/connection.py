"""One client connection: reads HTTP/1.1 requests, one at a time and in order.

It finds where requests begin and end, keeps the client's timeouts, and passes what it reads to an
exchange; the exchange writes the answers through it. Must not know servers, pools or routes.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Final, Protocol, cast

from synproxy.core.head import HeaderBlock, RequestLine, common_request_line, parse_request_line
from synproxy.core.limits import DISCARD_BODY, PIPELINED
from synproxy.core.wheel import NEVER, Timed, TimerWheel
from synproxy.downstream.client import peer_of
from synproxy.errors import DownstreamError
from synproxy.wire.chunked import ChunkedDecoder, ChunkedError
from synproxy.wire.http1 import has_bare_lf, parse_header_block

if TYPE_CHECKING:
    from synproxy.config.model import Http
    from synproxy.downstream.connections import Connections


# What the next byte from the client means. Module constants: in CPython 3.11 an attribute of a
# class or of an enum costs many times as much, and there are dozens of these a request.
_HEAD: Final = 0
_BODY: Final = 1
_WAIT: Final = 2  # the request is complete, its answer is not
_TUNNEL: Final = 3
_LINGER: Final = 4  # closing; what still comes is dropped (nginx lingering_close)
_CLOSED: Final = 5

_OUT_OF_BOUNDS: Final = (414, 431)
"""Statuses of heads that are longer than we read, whatever is in them."""


class Exchange(Protocol):
    """What a client connection tells about the request in progress."""

    def start(self, *, complete: bool, body: bytes = b"") -> None:
        """Begin; ``complete``: the request has no body, or all of it has come, and is ``body``.
        It may be over when this returns."""

    def request_body(self, payload: bytes) -> None:
        """The next bytes of the body, decoded."""

    def request_end(self) -> None:
        """The body is complete."""

    def bad_request(self, error: DownstreamError) -> None:
        """The body is malformed or late: nothing more of it will come."""

    def client_gone(self, reason: str) -> None:
        """The client cannot be answered any more."""

    def client_half_closed(self) -> bool:
        """The client sends nothing more; True if it is to be answered all the same."""

    def client_writable(self, writable: bool) -> None:
        """Back-pressure: the client reads slower than the server writes, or has caught up."""

    def tunnel_data(self, data: bytes) -> None:
        """Bytes after an upgrade."""


class Tally:
    """A number that grows, for several to add to."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Handler(Protocol):
    """Where a client connection takes its requests. One per listener and child."""

    settings: Http
    keepalive_requests: int
    keepalive_timeout: float
    """Both from the settings; attributes of a pydantic model are slow to look up."""
    small_head: int
    """Bytes of a head that is within all bounds."""
    wheel: TimerWheel
    scheme: bytes
    connections: Connections
    """All that are open, of every kind."""
    accepted: Tally
    """How many there have been."""
    draining: bool

    def begin(self, client: ClientConnection, line: RequestLine, block: HeaderBlock) -> Exchange:
        """A request head was accepted: make an exchange, and do nothing yet."""

    def refuse(self, client: ClientConnection, error: DownstreamError, head: bytes) -> None:
        """A head was not accepted: answer, log, and close."""


_HEAD_END: Final = b"\r\n\r\n"
_RESET: Final = struct.pack("ii", 1, 0)
"""For SO_LINGER: close sends RST, and nothing of what is left."""


class Beginning(Timed, Protocol):
    """A connection of either version of HTTP."""

    remote_addr: bytes


def begin(connection: Beginning, handler: Handler, transport: asyncio.BaseTransport) -> None:
    """A client has connected: find out who it is, and give it the time for a head."""
    peer = transport.get_extra_info("peername")
    if type(peer) is tuple:
        connection.remote_addr = peer[0].encode()
        if not handler.settings.tcp_nodelay:
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
    handler.connections.add(connection)
    handler.accepted.count += 1
    connection.deadline = handler.wheel.now + handler.settings.client_header_timeout
    handler.wheel.watch(connection)


class ClientConnection(asyncio.Protocol):
    """asyncio's view of one client."""

    __slots__ = (
        "_block",
        "_buffer",
        "_decoder",
        "_eof",
        "_handler",
        "_paused",
        "_remaining",
        "_searched",
        "_spare",
        "_unsent",
        "deadline",
        "exchange",
        "head_started",
        "keep_alive",
        "remote_addr",
        "requests",
        "state",
        "transport",
        "visit",
        "write_blocked",
    )

    transport: asyncio.Transport

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self.exchange: Exchange | None = None
        self.state = _HEAD
        self.deadline = NEVER
        self.visit = 0.0
        self.requests = 0
        self.keep_alive = True
        self.write_blocked = False
        self.head_started = False
        self.remote_addr = b"unix:"
        """The client's, of the request in progress: :attr:`peer`'s unless it is a trusted proxy."""
        self._block: HeaderBlock | None = None
        """The fields of the last request, which often come again byte for byte."""
        self._spare: HeaderBlock | None = None
        """Those of the last one with a body, if that had none, or the other way round."""
        self._buffer = b""
        self._searched = 0
        self._remaining = 0
        self._decoder: ChunkedDecoder | None = None
        self._paused = False
        self._eof = False

    # --- asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        begin(self, self._handler, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.state = _CLOSED
        self._handler.connections.discard(self)
        self._handler.wheel.forget(self)
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.client_gone("client_gone")

    def eof_received(self) -> bool:
        if self.state == _TUNNEL:
            exchange = self.exchange
            return exchange is not None and exchange.client_half_closed()
        if self.state == _WAIT:
            exchange = self.exchange
            if self._buffer or (exchange is not None and exchange.client_half_closed()):
                self._eof = True
                return True
        elif self.state == _BODY and self.exchange is not None:
            return self.exchange.client_half_closed()
        return False

    def data_received(self, data: bytes) -> None:
        state = self.state
        if state == _HEAD:
            if self._buffer:
                data = self._buffer + data
                self._buffer = b""
            else:
                block = self._block
                if block is not None:
                    # The same fields again?
                    if block.tail is not None:
                        start = data.find(b"\r\n") + 2
                        end = block.same(data, start)
                    else:
                        raw = block.raw + block.own + block.end
                        if data.endswith(raw):  # the line before can hold no end of a head
                            end = len(data)
                            start = end - len(raw)
                        else:
                            end = -1
                    if 0 <= end <= self._handler.small_head and block.host:
                        line = common_request_line(data, start)
                        if line is not None:
                            self._begin(line, block, data[end:])
                            return
            self._read_head(data)
        elif state == _BODY:
            self._read_body(data)
        elif state == _WAIT:
            self._buffer += data
            if len(self._buffer) > PIPELINED:
                self.pause_reading()
        elif state == _TUNNEL:
            if self.exchange is not None:
                self.exchange.tunnel_data(data)
        elif state == _LINGER:
            handler = self._handler
            self.deadline = min(
                handler.wheel.now + handler.settings.lingering_timeout, self._remaining
            )

    def pause_writing(self) -> None:
        self.write_blocked = True
        self._await_reader()
        if self.exchange is not None:
            self.exchange.client_writable(False)

    def resume_writing(self) -> None:
        self.write_blocked = False
        settings = self._handler.settings
        if self.state == _BODY and not self._paused:
            self._set_deadline(settings.client_body_timeout)
        elif self.state == _HEAD:
            self._set_deadline(settings.keepalive_timeout)
        elif self.state != _LINGER:
            self.deadline = NEVER
        if self.exchange is not None:
            self.exchange.client_writable(True)

    # --- reading

    def _read_head(self, data: bytes) -> None:
        end = data.find(_HEAD_END, self._searched)
        if end < 0:
            self._partial_head(data)
            return
        self._searched = 0
        line_end = data.find(b"\r\n")
        if line_end == 0:  # RFC 9112 section 2.2: empty lines before a request line
            if data[:4] == _HEAD_END:
                self._refuse(400, "empty lines instead of a request", b"")
            else:
                self._read_head(data[2:])
            return
        handler = self._handler
        try:
            if end + 4 > handler.small_head:
                self._check_bounds(line_end, end + 4)
            line = parse_request_line(data[:line_end])
            block = self._block
            if block is None or block.same(data, line_end + 2) != end + 4:
                block = self._other_block(data, line_end + 2, end + 4)
            if not (line.minor and block.host):
                block.check_version(line)
        except DownstreamError as error:
            if has_bare_lf(data[:end]) and error.status not in _OUT_OF_BOUNDS:
                self._refuse_bare_lf()  # as if it had come byte by byte
            else:
                handler.refuse(self, error, data[:line_end])
            return
        self._begin(line, block, data[end + 4 :])

    def _other_block(self, data: bytes, start: int, end: int) -> HeaderBlock:
        """The fields between ``start`` and ``end``, which are not those of the last request.

        A connection that sends requests with and without a body remembers the fields of both.

        :raises DownstreamError: as :func:`parse_header_block`.
        """
        last, spare = self._block, self._spare
        self._block = None  # for the case that this raises
        if spare is not None and spare.same(data, start) == end:
            block = spare
        else:
            settings = self._handler.settings
            block = parse_header_block(
                data[start:end],
                max_line=settings.large_client_header_buffers.size,
                max_count=settings.max_header_count,
            )
        if last is not None and (last.tail is None) != (block.tail is None):
            self._spare = last
        self._block = block
        return block

    def _begin(self, line: RequestLine, block: HeaderBlock, rest: bytes) -> None:
        """A head was accepted; ``rest`` is what followed it."""
        handler = self._handler
        self.requests += 1
        self.head_started = False
        self.keep_alive = (
            (not block.connection_close if line.minor else block.connection_keep_alive)
            and self.requests < handler.keepalive_requests
            and not handler.draining
        )
        remaining = -1 if block.chunked else block.content_length
        if not remaining:
            self.state = _WAIT
            self.deadline = NEVER
            self._buffer = rest
            self.exchange = exchange = handler.begin(self, line, block)
            exchange.start(complete=True)
        elif 0 < remaining <= len(rest):
            self.state = _WAIT
            self.deadline = NEVER
            self._buffer = rest[remaining:]
            self.exchange = exchange = handler.begin(self, line, block)
            exchange.start(complete=True, body=rest[:remaining])
        else:
            if block.chunked:
                self._decoder = ChunkedDecoder()
            self._remaining = remaining
            self.state = _BODY
            self.deadline = handler.wheel.now + handler.settings.client_body_timeout
            self.exchange = exchange = handler.begin(self, line, block)
            exchange.start(complete=False)
            if self.state == _BODY:
                self._hasten()
                if rest:
                    self._read_body(rest)

    def _check_bounds(self, line_length: int, head_length: int) -> None:
        buffers = self._handler.settings.large_client_header_buffers
        if line_length > buffers.size:
            raise DownstreamError(414, f"a request line of more than {buffers.size} bytes")
        if head_length - line_length > buffers.number * buffers.size:
            raise DownstreamError(431, f"a head of more than {buffers.number * buffers.size} bytes")

    def _partial_head(self, data: bytes) -> None:
        """Nothing but a beginning: is it one we want to hear the rest of?"""
        seen = self._searched
        self._buffer = data
        self._searched = max(0, len(data) - 3)
        line_end = data.find(b"\r\n")
        try:
            self._check_bounds(len(data) if line_end < 0 else line_end, len(data))
        except DownstreamError as error:
            self._handler.refuse(self, error, data[: max(line_end, 0)])
            return
        if data[:1] < b" " and data[:1] not in b"\r\n":
            self._refuse(400, "not HTTP (a TLS hello on a plain port?)", b"")
        elif has_bare_lf(data, seen):
            self._refuse_bare_lf()
        elif self._eof:
            self.close()
        elif not self.head_started:
            self.head_started = True
            self._set_deadline(self._handler.settings.client_header_timeout)

    def _refuse_bare_lf(self) -> None:
        self._refuse(400, "a line that ends in LF without CR", b"")

    def _refuse(self, status: int, reason: str, head: bytes) -> None:
        self._handler.refuse(self, DownstreamError(status, reason), head)

    def _read_body(self, data: bytes) -> None:
        handler = self._handler
        self.deadline = handler.wheel.now + handler.settings.client_body_timeout
        exchange = self.exchange
        decoder = self._decoder
        if decoder is None:
            remaining = self._remaining
            size = len(data)
            if size < remaining:
                self._remaining = remaining - size
                if exchange is not None:
                    exchange.request_body(data)
                return
            if size == remaining:
                payload, rest = [data], b""
            else:
                payload, rest = [data[:remaining]], data[remaining:]
        else:
            payload = []
            try:
                tail = decoder.feed(data, payload)
            except ChunkedError as error:
                if exchange is not None:
                    exchange.bad_request(DownstreamError(400, str(error)))
                else:
                    self.close()
                return
            if tail is None:
                if exchange is not None:
                    self._pass_on(exchange, payload)
                return
            rest = tail
        self._decoder = None
        self._remaining = 0
        if exchange is None:  # the answer has gone already, and the body was dropped
            self._next(rest)
            return
        self._pass_on(exchange, payload)
        if self.exchange is not exchange:
            return  # answered meanwhile, and lingering
        self.state = _WAIT
        self.deadline = NEVER
        self._buffer = rest
        exchange.request_end()

    def _pass_on(self, exchange: Exchange, payload: list[bytes]) -> None:
        for piece in payload:
            if self.exchange is not exchange:
                return
            exchange.request_body(piece)

    # --- what the exchange asks for

    @property
    def peer(self) -> tuple[bytes, bytes]:
        """Address and port of who opened the connection, whatever the fields of requests say;
        ``unix:`` and nothing for a UNIX socket."""
        return peer_of(self.transport.get_extra_info("peername"))

    @property
    def body_unread(self) -> bool:
        """Whether more of the request body is to come."""
        return self.state == _BODY

    @property
    def unread(self) -> int:
        """Bytes of a body of a known length that have not come yet."""
        return self._remaining if self.state == _BODY else 0

    def moved(self, size: int) -> None:
        """So many bytes of such a body went by, not through here; the next may take their time."""
        self._remaining -= size
        self._set_deadline(self._handler.settings.client_body_timeout)

    @property
    def can_persist(self) -> bool:
        """Whether the connection can serve another request after this answer."""
        if not self.keep_alive or (self._handler.draining and not self._buffer):
            return False
        if self.state != _BODY:
            return True
        # Who expects a 100 (Continue) may never send the body (RFC 9110 section 10.1.1).
        block = self._block
        waits = block is not None and block.expect_continue
        return not waits and 0 < self._remaining <= DISCARD_BODY

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def send_continue(self) -> None:
        """100 (Continue)."""
        self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def pause_reading(self) -> None:
        if not self._paused and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()
            if self.state == _BODY and not self.write_blocked:
                self.deadline = NEVER  # it is not the client that is slow

    def resume_reading(self) -> None:
        if self._paused and not self.transport.is_closing():
            self._paused = False
            self.transport.resume_reading()
            if self.state == _BODY and not self.write_blocked:
                self._set_deadline(self._handler.settings.client_body_timeout)

    def finish(self) -> None:
        """The answer is written: next request, or the end."""
        self.exchange = None
        if self.state == _BODY:
            if self.can_persist:
                self.resume_reading()
            else:
                self.linger()
        elif self.state == _WAIT:
            self._next(self._buffer)

    def _next(self, rest: bytes) -> None:
        if not self.keep_alive or (not rest and (self._eof or self._handler.draining)):
            self.close()
            return
        self.state = _HEAD
        handler = self._handler
        self.deadline = deadline = handler.wheel.now + handler.keepalive_timeout
        if deadline < self.visit:
            handler.wheel.hasten(self)
        self._buffer = rest
        if self._paused:
            self.resume_reading()
        if rest:
            # Not from here: a long pipeline must not become a deep stack.
            asyncio.get_running_loop().call_soon(self._read_pipelined)

    def _read_pipelined(self) -> None:
        if self.state == _HEAD and self._buffer:
            data, self._buffer = self._buffer, b""
            self._read_head(data)

    def start_tunnel(self) -> bytes:
        """After an upgrade: bytes are passed on as they come. Returns those already here."""
        self.state = _TUNNEL
        self.deadline = NEVER
        early, self._buffer = self._buffer, b""
        return early

    def write_eof(self) -> None:
        """Half-close, after an upgrade."""
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def close(self) -> None:
        """Close once everything written has gone out."""
        self.exchange = None
        if self.state != _CLOSED:
            self.state = _LINGER
            self._buffer = b""
            self._await_reader()
            self.transport.close()

    def linger(self) -> None:
        """Close our side, and drop what still comes for a while, so that the client can read the
        answer before a reset throws it away (RFC 9112 section 9.6, nginx ``lingering_close``)."""
        self.exchange = None
        if self.state == _CLOSED or self.transport.is_closing():
            return
        self.state = _LINGER
        self._buffer = b""
        settings = self._handler.settings
        # Nothing of a body is waited for any more: the end of all lingering, in whole seconds.
        self._remaining = int(self._handler.wheel.now + settings.lingering_time) + 1
        self._set_deadline(min(settings.lingering_timeout, settings.lingering_time))
        self.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def abort(self) -> None:
        """Reset the connection: the client must not take what it has for a whole answer. A UNIX
        socket knows no reset."""
        self.exchange = None
        sock = self.transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    @property
    def idle(self) -> bool:
        """Whether no request is in progress, nor a part of one here."""
        return self.state == _HEAD and not self._buffer

    def shut_down_idle(self) -> None:
        """Drain: close if no request is in progress."""
        if self.idle:
            self.close()

    # --- deadlines

    def _await_reader(self) -> None:
        self._unsent = self.transport.get_write_buffer_size()
        self._set_deadline(self._handler.settings.send_timeout)

    def _reads_on(self) -> bool:
        """Whether the client has read since :meth:`_await_reader`: nginx counts ``send_timeout``
        from one write to the next, and a loop's transport does not tell of parts."""
        waits = self.write_blocked or self.transport.is_closing()
        return waits and 0 < self.transport.get_write_buffer_size() < self._unsent

    def _set_deadline(self, timeout: float) -> None:
        self.deadline = self._handler.wheel.now + timeout
        self._hasten()

    def _hasten(self) -> None:
        if self.deadline < self.visit:
            self._handler.wheel.hasten(self)

    def expire(self, now: float) -> None:
        """A deadline has passed; called by the wheel."""
        state = self.state
        if state == _HEAD and not self.write_blocked:
            if self._buffer:
                self._refuse(408, "the request head did not come in time", b"")
            else:
                self.close()
        elif self.write_blocked or state == _LINGER:
            if self._reads_on():
                self._await_reader()
                return
            exchange, self.exchange = self.exchange, None
            if exchange is not None:
                exchange.client_gone("client_timeout")
            self.transport.abort()
        elif state == _BODY:
            if self.exchange is not None:
                self.exchange.bad_request(
                    DownstreamError(408, "the request body did not come in time")
                )
            else:
                self.close()
