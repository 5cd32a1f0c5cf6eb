"""One client connection of HTTP/2: frames, flow control, and what a client may not do (RFC 9113).

Each stream is an ``Http2Stream``, which is to an exchange what a connection is in HTTP/1.1. Must
not know servers, pools or routes. The design is ADR 17.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from synproxy.core.http2 import Fields, MalformedError, check_trailers, judge_fields, usual_line
from synproxy.core.wheel import NEVER
from synproxy.downstream.connection import ClientConnection, Handler, begin
from synproxy.downstream.http2_stream import Http2Stream
from synproxy.errors import DownstreamError
from synproxy.wire import http2 as wire
from synproxy.wire.hpack import NO_TABLE, FieldDecoder
from synproxy.wire.http2 import Frame, FrameReader, Http2Error

if TYPE_CHECKING:
    from synproxy.core.head import HeaderBlock, RequestLine
    from synproxy.downstream.connection import Exchange

STREAM_WINDOW: Final = 256 * 1024
"""Bytes that a client may send on one stream before it hears that they were taken."""
CONNECTION_WINDOW: Final = 1024 * 1024
"""The same for all streams together, and so what a connection can make us keep of bodies."""

_PATIENCE: Final = 400
"""Frames that bring nothing (resets, pings, settings, empty data...) that a client may send at
once."""
_PATIENCE_RATE: Final = 20.0
"""And how many more each second."""
_USUAL_LINE: Final = 4096
"""Bytes of a request line for which a configuration has room that remembers heads at all."""
_RESET_IDS: Final = 256
"""Streams that we have reset and of which frames may still be on their way."""


class Http2Handler(Handler, Protocol):
    """Where a connection takes its requests."""

    max_streams: int
    """At a time (nginx ``http2_max_concurrent_streams``)."""

    def begin_http2(self, client: Http2Stream, line: RequestLine, block: HeaderBlock) -> Exchange:
        """As :meth:`Handler.begin`."""

    def refuse_http2(
        self, client: Http2Stream, error: DownstreamError, pseudo: dict[bytes, bytes]
    ) -> None:
        """A request was not accepted: answer and log."""


class Http2Connection(asyncio.Protocol):
    """asyncio's view of one client. ``or_http1``: one that does not begin as HTTP/2 does is taken
    for a client of HTTP/1.1 (prior knowledge, RFC 9113 section 3.3)."""

    __slots__ = (
        "_continued",
        "_credit",
        "_decoder",
        "_first",
        "_greeted",
        "_handler",
        "_initial_window",
        "_irritation",
        "_irritation_at",
        "_known",
        "_last",
        "_leaving",
        "_lingering",
        "_or_http1",
        "_reader",
        "_ready",
        "_receive_window",
        "_reset_ids",
        "_start",
        "_unsent",
        "deadline",
        "head_started",
        "remote_addr",
        "requests",
        "send_window",
        "streams",
        "transport",
        "updates_due",
        "visit",
        "write_blocked",
    )

    transport: asyncio.Transport

    def __init__(self, handler: Http2Handler, *, or_http1: bool = False) -> None:
        self._handler = handler
        self._or_http1 = or_http1
        self.streams: dict[int, Http2Stream] = {}
        self.deadline = NEVER
        self.visit = 0.0
        self.remote_addr = b"unix:"
        self.requests = 0
        self.write_blocked = False
        self.send_window = wire.INITIAL_WINDOW
        self.updates_due = 0
        """How many WINDOW_UPDATE a client may send for the DATA that it got."""
        self._receive_window = CONNECTION_WINDOW
        self._credit = 0
        """Bytes that were taken, and of which the client has not heard yet."""
        self._initial_window = wire.INITIAL_WINDOW
        self._start: bytes | None = b""
        """What has come of the preface; None: all of it."""
        self.head_started = True
        """A head is on its way; at first the preface is."""
        self._greeted = False
        """The client's first SETTINGS has come."""
        self._leaving = False
        """GOAWAY is sent: streams in progress end, and then the connection."""
        self._lingering = False
        self._last = 0
        self._continued: tuple[Frame, list[bytes]] | None = None
        self._first = NO_TABLE
        self._reader = FrameReader()
        buffers = handler.settings.large_client_header_buffers
        self._decoder = FieldDecoder(2 * buffers.number * buffers.size)
        self._known: tuple[list[tuple[bytes, bytes]], int, RequestLine, HeaderBlock] | None = None
        """The fields of a request without a body, where its path is among them, and what was made
        of them: they often come again, all but the path."""
        self._ready: dict[Http2Stream, None] = {}
        """Streams with bytes to send, the one whose turn it is first."""
        self._reset_ids: dict[int, None] = {}
        self._irritation = 0.0
        self._irritation_at = 0.0

    # --- asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        begin(self, self._handler, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        streams, self.streams = self.streams, {}
        for stream in streams.values():
            stream.lost("client_gone")

    def eof_received(self) -> bool:
        return False

    def data_received(self, data: bytes) -> None:
        start = self._start
        if start is not None:
            data = start + data
            if not data.startswith(wire.PREFACE):
                if wire.PREFACE.startswith(data):
                    self._start = data
                else:
                    self._no_preface(data)
                return
            self._start = None
            self.head_started = False
            self._greet()
            data = data[len(wire.PREFACE) :]
        if self._lingering or self.transport.is_closing():
            return
        try:
            for frame in self._reader.feed(data):
                self._read(frame)
                if self._lingering:
                    return
        except Http2Error as error:
            self._fail(error)

    def pause_writing(self) -> None:
        self.write_blocked = True
        # Or a client that does not read could make us keep answers to its pings.
        self.transport.pause_reading()
        self._await_reader()

    def resume_writing(self) -> None:
        self.write_blocked = False
        if not self.transport.is_closing():
            self.transport.resume_reading()
        if self._lingering:
            self._set_deadline(self._handler.settings.lingering_timeout)
        elif self.streams:
            self.deadline = NEVER
            self.pump()
        else:
            self._set_deadline(self._handler.keepalive_timeout)

    # --- the beginning

    def _no_preface(self, data: bytes) -> None:
        handler = self._handler
        if not self._or_http1:
            self._fail(Http2Error(wire.PROTOCOL_ERROR, "not the preface of HTTP/2"))
            return
        self._leave()
        handler.accepted.count -= 1
        protocol = ClientConnection(handler)
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        protocol.data_received(data)

    def _greet(self) -> None:
        handler = self._handler
        buffers = handler.settings.large_client_header_buffers
        self.transport.write(
            wire.settings(
                {
                    wire.SETTINGS_MAX_CONCURRENT_STREAMS: handler.max_streams,
                    wire.SETTINGS_INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                    wire.SETTINGS_MAX_HEADER_LIST_SIZE: buffers.number * buffers.size,
                }
            )
            + wire.window_update(0, CONNECTION_WINDOW - wire.INITIAL_WINDOW)
        )

    # --- frames

    def _read(self, frame: Frame) -> None:
        kind = frame.kind
        if not self._greeted:
            if kind != wire.SETTINGS or frame.flags & wire.ACK:
                raise Http2Error(wire.PROTOCOL_ERROR, "the first frame is not SETTINGS")
            self._greeted = True
        if self._continued is not None:
            self._continue(frame)
        elif kind == wire.DATA:
            self._read_data(frame)
        elif kind == wire.HEADERS:
            if frame.flags & wire.END_HEADERS:
                self._read_headers(frame, frame.payload)
            else:
                self._continued = frame, [frame.payload]
        elif kind == wire.WINDOW_UPDATE:
            self._read_window_update(frame)
        elif kind == wire.RST_STREAM:
            self._read_reset(frame)
        elif kind == wire.SETTINGS:
            self._read_settings(frame)
        elif kind == wire.PING:
            if not frame.flags & wire.ACK:
                self.be_patient("PING")
                self.transport.write(wire.frame(wire.PING, wire.ACK, 0, frame.payload))
        elif kind == wire.CONTINUATION:
            raise Http2Error(wire.PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        elif kind == wire.PUSH_PROMISE:
            raise Http2Error(wire.PROTOCOL_ERROR, "PUSH_PROMISE from a client")
        else:  # PRIORITY, GOAWAY, and frames of kinds that we do not know
            self.be_patient("frames that mean nothing")

    def be_patient(self, what: str) -> None:
        """A client that makes work and asks for nothing is sent away (CVE-2019-9512 to 9518,
        CVE-2023-44487)."""
        now = self._handler.wheel.now
        calmed = (now - self._irritation_at) * _PATIENCE_RATE
        self._irritation_at = now
        self._irritation = max(0.0, self._irritation - calmed) + 1.0
        if self._irritation > _PATIENCE:
            raise Http2Error(wire.ENHANCE_YOUR_CALM, f"too many {what}")

    def _read_settings(self, frame: Frame) -> None:
        if frame.flags & wire.ACK:
            return
        self.be_patient("SETTINGS")
        for name, value in wire.settings_in(frame.payload):
            if name == wire.SETTINGS_INITIAL_WINDOW_SIZE:
                change = value - self._initial_window
                self._initial_window = value
                for stream in self.streams.values():
                    stream.window += change
                    if stream.window > wire.WINDOW_LIMIT:
                        raise Http2Error(wire.FLOW_CONTROL_ERROR, "a window too large")
        self.transport.write(wire.SETTINGS_ACK)
        self.pump()

    def _read_window_update(self, frame: Frame) -> None:
        increment = wire.number(frame.payload) & wire.WINDOW_LIMIT
        if frame.stream == 0:
            if not increment:
                raise Http2Error(wire.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
            self.send_window += increment
            if self.send_window > wire.WINDOW_LIMIT:
                raise Http2Error(wire.FLOW_CONTROL_ERROR, "a window too large")
        else:
            stream = self.streams.get(frame.stream)
            if stream is None:
                self._check_known(frame.stream)
            elif not increment:
                self._fail_stream(stream, wire.PROTOCOL_ERROR)
            else:
                stream.window += increment
                if stream.window > wire.WINDOW_LIMIT:
                    self._fail_stream(stream, wire.FLOW_CONTROL_ERROR)
        if self.updates_due > 0:
            self.updates_due -= 1
        else:
            self.be_patient("WINDOW_UPDATE")
        if self._ready:
            self.pump()

    def _read_reset(self, frame: Frame) -> None:
        stream = self.streams.get(frame.stream)
        self.be_patient("RST_STREAM")
        if stream is None:
            self._check_known(frame.stream)
            return
        self.forget(stream)
        stream.lost("client_gone")

    def _check_known(self, stream: int) -> None:
        if (stream > self._last and not self._leaving) or not stream & 1:
            raise Http2Error(wire.PROTOCOL_ERROR, "a frame of a stream that was never opened")

    # --- requests

    def _continue(self, frame: Frame) -> None:
        assert self._continued is not None
        first, pieces = self._continued
        if frame.kind != wire.CONTINUATION or frame.stream != first.stream:
            raise Http2Error(wire.PROTOCOL_ERROR, "a header block that is not continued")
        if len(frame.payload) < wire.FRAME_SIZE // 2:  # CVE-2024-27316: one is rarely needed
            self.be_patient("small CONTINUATION")
        pieces.append(frame.payload)
        buffers = self._handler.settings.large_client_header_buffers
        if sum(map(len, pieces)) > buffers.number * buffers.size:
            raise Http2Error(wire.ENHANCE_YOUR_CALM, "a header block that is too long")
        if frame.flags & wire.END_HEADERS:
            self._continued = None
            self._read_headers(first, b"".join(pieces))

    def _read_headers(self, frame: Frame, payload: bytes) -> None:
        fields = self._decoder.decode(payload)
        number = frame.stream
        end = bool(frame.flags & wire.END_STREAM)
        stream = self.streams.get(number)
        if stream is not None:
            self._read_trailers(stream, fields, end=end)
            return
        if not number & 1:
            raise Http2Error(wire.PROTOCOL_ERROR, "a stream with an even number")
        if number <= self._last:
            if number not in self._reset_ids:
                raise Http2Error(wire.STREAM_CLOSED, "HEADERS of a stream that has ended")
            self.be_patient("trailers of streams that were reset")
            return
        if self._leaving:
            self.be_patient("requests after GOAWAY")
            return
        self._last = number
        if len(self.streams) >= self._handler.max_streams:
            self.be_patient("streams at a time")
            self.reset(number, wire.REFUSED_STREAM)
            return
        self._begin(number, fields, end)

    def _begin(self, number: int, fields: list[tuple[bytes, bytes]], end: bool) -> None:
        handler = self._handler
        self.requests += 1
        self.deadline = NEVER
        stream = Http2Stream(self, number, self._initial_window, STREAM_WINDOW, complete=end)
        self.streams[number] = stream
        known = self._again(fields) if end else None
        if known is None:
            try:
                known = self._judge(fields, end)
            except DownstreamError as error:
                handler.refuse_http2(stream, error, dict(fields))
                if isinstance(error, MalformedError):
                    self._fail_stream(stream, wire.PROTOCOL_ERROR)
                return
        if self.requests >= handler.keepalive_requests or handler.draining:
            self.go_away()
        line, block = known
        stream.begin(handler.begin_http2(stream, line, block), block)

    def _again(self, fields: list[tuple[bytes, bytes]]) -> tuple[RequestLine, HeaderBlock] | None:
        """What was made of the same fields before, but for the path."""
        if self._known is None:
            return None
        last, place, line, block = self._known
        if len(fields) != len(last) or fields[place][0] != b":path":
            return None
        if fields[:place] != last[:place] or fields[place + 1 :] != last[place + 1 :]:
            return None
        usual = usual_line(line.method, fields[place][1])
        return None if usual is None else (usual, block)

    def _judge(
        self, fields: list[tuple[bytes, bytes]], end: bool
    ) -> tuple[RequestLine, HeaderBlock]:
        settings = self._handler.settings
        buffers = settings.large_client_header_buffers
        max_count = settings.max_header_count
        asked = Fields(
            fields,
            max_line=buffers.size,
            max_count=max_count,
            max_size=buffers.number * buffers.size,
        )
        block = judge_fields(asked.regular, asked.authority, body=not end, max_count=max_count)
        if end and buffers.size >= _USUAL_LINE:
            place = next(at for at, field in enumerate(fields) if field[0] == b":path")
            self._known = fields, place, asked.line, block
        return asked.line, block

    def _read_trailers(
        self, stream: Http2Stream, fields: list[tuple[bytes, bytes]], *, end: bool
    ) -> None:
        if stream.complete:
            self._fail_stream(stream, wire.STREAM_CLOSED)
            return
        try:
            check_trailers(fields)
            if not end:
                raise MalformedError("trailers that do not end the stream")
        except MalformedError as error:
            self.be_patient("malformed trailers")
            stream.malformed(error)
            return
        stream.receive(b"", end=True)

    def _read_data(self, frame: Frame) -> None:
        self._receive_window -= frame.length
        if self._receive_window < 0:
            raise Http2Error(wire.FLOW_CONTROL_ERROR, "more than the window of the connection")
        stream = self.streams.get(frame.stream)
        if stream is None:
            self._check_known(frame.stream)
            if frame.stream not in self._reset_ids and not self._leaving:
                raise Http2Error(wire.STREAM_CLOSED, "DATA of a stream that has ended")
            if not frame.payload:
                self.be_patient("empty DATA")
            self.taken(frame.length)
            return
        size = len(frame.payload)
        end = bool(frame.flags & wire.END_STREAM)
        if not size and not end:
            self.be_patient("empty DATA")
        stream.receive_window -= frame.length
        if frame.length > size:
            self.taken(frame.length - size)
            stream.receive_window += frame.length - size
        if stream.receive_window < 0:
            self.taken(size)
            self._fail_stream(stream, wire.FLOW_CONTROL_ERROR)
        elif stream.complete:
            self.taken(size)
            self._fail_stream(stream, wire.STREAM_CLOSED)
        else:
            stream.receive(frame.payload, end=end)

    def _fail_stream(self, stream: Http2Stream, code: int) -> None:
        """An error of the client that only one stream has to do with. It costs patience, for it
        would be as good a way as RST_STREAM to make work for nothing (CVE-2025-8671)."""
        stream.fail(code)
        self.be_patient("errors of streams")

    # --- what streams ask for

    @property
    def handler(self) -> Http2Handler:
        return self._handler

    def first_block(self, block: bytes) -> bytes:
        """A header block with what has to be in front of the first one of the connection."""
        if self._first:
            block = self._first + block
            self._first = b""
        return block

    def taken(self, size: int) -> None:
        """Bytes of DATA are with a server, or thrown away: the client may send more."""
        self._credit += size
        if self._credit >= CONNECTION_WINDOW // 2 and not self.transport.is_closing():
            self.transport.write(wire.window_update(0, self._credit))
            self._receive_window += self._credit
            self._credit = 0

    def wait(self, stream: Http2Stream) -> None:
        """The stream has bytes that cannot go out yet."""
        self._ready[stream] = None

    def pump(self) -> None:
        """Send what windows and the client allow, a frame of each stream in turn."""
        ready = self._ready
        idle = 0
        while ready and not self.write_blocked and self.send_window > 0 and idle < len(ready):
            stream = next(iter(ready))
            del ready[stream]
            sent = stream.send_queued(wire.FRAME_SIZE)
            if stream.queued:
                ready[stream] = None
            idle = 0 if sent else idle + 1

    def reset(self, number: int, code: int) -> None:
        """RST_STREAM."""
        ids = self._reset_ids
        ids[number] = None
        if len(ids) > _RESET_IDS:
            del ids[next(iter(ids))]
        self.transport.write(wire.reset(number, code))

    def forget(self, stream: Http2Stream) -> None:
        """The stream has ended."""
        self._ready.pop(stream, None)
        if self.streams.pop(stream.number, None) is None or self.streams:
            return
        if self._leaving:
            self._linger()
        elif not self.write_blocked:
            self._set_deadline(self._handler.keepalive_timeout)

    # --- the end

    def go_away(self) -> None:
        """Take no further request: those in progress are answered, and then it is over."""
        if not self._leaving and not self.transport.is_closing():
            self._leaving = True
            self.transport.write(wire.goaway(self._last, wire.NO_ERROR))
        if not self.streams:
            self._linger()

    def _await_reader(self) -> None:
        """As in HTTP/1.1: a client that reads on, however slowly, has all the time."""
        self._unsent = self.transport.get_write_buffer_size()
        self._set_deadline(self._handler.settings.send_timeout)

    @property
    def idle(self) -> bool:
        """Whether no stream is open, and the client may open others."""
        return self._start is None and not self.streams and not self._leaving

    def shut_down_idle(self) -> None:
        """Drain."""
        self.go_away()

    def _fail(self, error: Http2Error) -> None:
        """The client breaks the rules (RFC 9113 section 5.4.1)."""
        self._leaving = True
        self.transport.write(wire.goaway(self._last, error.code, error.reason))
        streams, self.streams = self.streams, {}
        self._ready.clear()
        for stream in streams.values():
            stream.lost("client_error")
        self._linger()

    def _linger(self) -> None:
        """Close our side, and drop what still comes: a reset would throw away what the client has
        not read yet (nginx ``lingering_close``)."""
        if self._lingering or self.transport.is_closing():
            return
        self._lingering = True
        self._set_deadline(self._handler.settings.lingering_timeout)
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _leave(self) -> None:
        self._handler.connections.discard(self)
        self._handler.wheel.forget(self)

    # --- deadlines

    def _set_deadline(self, timeout: float) -> None:
        wheel = self._handler.wheel
        self.deadline = wheel.now + timeout
        if self.deadline < self.visit:
            wheel.hasten(self)

    def expire(self, now: float) -> None:
        """A deadline has passed; called by the wheel."""
        if self.write_blocked and 0 < self.transport.get_write_buffer_size() < self._unsent:
            self._await_reader()
            return
        if self.write_blocked or self._lingering or not self._greeted:
            streams, self.streams = self.streams, {}
            for stream in streams.values():
                stream.lost("client_timeout")
            self.transport.abort()
        elif not self.streams:
            self.go_away()


def exchanges_of(connection: Any) -> list[Any]:
    """The requests in progress on a connection of any kind."""
    streams = getattr(connection, "streams", None)
    if streams is None:
        exchange = getattr(connection, "exchange", None)
        return [] if exchange is None else [exchange]
    return [stream.exchange for stream in streams.values() if stream.exchange is not None]
