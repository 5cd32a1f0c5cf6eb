"""One connection to a Synapse server: sends one request at a time and reads its answer.

Never pipelines. It goes back to its pool only when the request was sent whole, the answer had an
end of its own and nothing came after it. Must not know clients or routes.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol, cast

from synproxy.core.limits import INTERIM_RESPONSES, RESPONSE_HEAD
from synproxy.core.response import BY_CHUNKS, BY_LENGTH, NO_BODY, ResponseHead
from synproxy.core.wheel import NEVER
from synproxy.errors import Failure, UpstreamError
from synproxy.wire.chunked import ChunkedDecoder, ChunkedError, whole_chunk
from synproxy.wire.http1 import has_bare_lf
from synproxy.wire.response_reader import ResponseReader

if TYPE_CHECKING:
    from synproxy.upstream.pool import ServerPool


# What the next byte from the server means. Module constants: in CPython 3.11 an attribute of a
# class or of an enum costs many times as much, and there are dozens of these a request.
_IDLE: Final = 0
_HEAD: Final = 1
_LENGTH: Final = 2
_CHUNKED: Final = 3
_CLOSE: Final = 4  # the body ends with the connection
_TUNNEL: Final = 5
_DONE: Final = 6  # the answer is complete, the exchange has not said so yet
_CLOSED: Final = 7


class Sink(Protocol):
    """Who hears of the answer: an exchange."""

    def whole_response(self, head: ResponseHead, payload: bytes, framed: bytes) -> None:
        """One read brought all of an answer. ``framed``: its body as one chunk, otherwise
        empty."""

    def response(self, head: ResponseHead | None, pieces: list[bytes], done: bool) -> None:
        """What one read brought: perhaps the head, some of the body, perhaps its end."""

    def server_failed(self, error: UpstreamError) -> None:
        """The attempt failed; the connection is gone."""

    def server_writable(self, writable: bool) -> None:
        """Back-pressure: the server reads slower than the client writes, or has caught up."""

    def switched(self, head: ResponseHead, early: bytes) -> None:
        """101: from here the connection is a tunnel."""

    def tunnel_reply(self, data: bytes) -> None:
        """Bytes from the server after an upgrade."""

    def tunnel_reply_end(self) -> bool:
        """The server half-closed the tunnel; False if the client has already, so it is over."""


_HEAD_END: Final = b"\r\n\r\n"


class AttemptRules:
    """What holds for all attempts of a route. Times are in seconds."""

    __slots__ = ("read_timeout", "reader", "send_timeout")

    def __init__(self, reader: ResponseReader, read_timeout: float, send_timeout: float) -> None:
        self.reader = reader
        self.read_timeout = read_timeout
        self.send_timeout = send_timeout


_RULES: Final = AttemptRules(ResponseReader(), 0.0, 0.0)


class ServerConnection(asyncio.Protocol):
    """asyncio's view of one server connection."""

    __slots__ = (
        "_buffer",
        "_decoder",
        "_head_request",
        "_interim",
        "_paused",
        "_remaining",
        "_reusable",
        "_rules",
        "_sent",
        "_upgrade",
        "created",
        "deadline",
        "index",
        "pool",
        "requests",
        "sink",
        "state",
        "transport",
        "visit",
        "write_blocked",
    )

    transport: asyncio.Transport

    def __init__(self, pool: ServerPool, index: int) -> None:
        self.pool = pool
        self.index = index
        """Which server of the pool."""
        self.sink: Sink | None = None
        self.state = _IDLE
        self.deadline = NEVER
        self.visit = 0.0
        self.requests = 0
        self.created = 0.0
        self.write_blocked = False
        self._buffer = b""
        self._decoder: ChunkedDecoder | None = None
        self._remaining = 0
        self._reusable = False
        self._sent = True
        self._head_request = False
        self._rules = _RULES
        self._upgrade = False
        self._interim = 0
        self._paused = False

    # --- what the exchange asks for

    def start(
        self,
        sink: Sink,
        data: bytes,
        rules: AttemptRules,
        *,
        sent: bool,
        head_request: bool,
        upgrade: bool,
        close: bool,
    ) -> None:
        """Send a request, or its beginning when ``sent`` is false."""
        self.sink = sink
        self.state = _HEAD
        self.requests += 1
        self._sent = sent
        self._reusable = not close
        self._head_request = head_request
        self._rules = rules
        self._upgrade = upgrade
        self._interim = 0
        wheel = self.pool.wheel
        self.deadline = deadline = wheel.now + rules.read_timeout if sent else NEVER
        if deadline < self.visit:
            wheel.hasten(self)
        self.transport.write(data)

    def write(self, data: bytes) -> None:
        """More of the request body, framed, or of the tunnel."""
        if self.state == _TUNNEL:
            self.deadline = self.pool.wheel.now + self._rules.read_timeout
        self.transport.write(data)

    def request_sent(self) -> None:
        """The request is complete: from now on the server's time runs."""
        self._sent = True
        if not self.write_blocked:
            self._set_deadline(self._rules.read_timeout)

    @property
    def reused(self) -> bool:
        """Whether this is not the first request on this connection."""
        return self.requests > 1

    def finish(self) -> None:
        """The exchange is over: back to the pool, or closed."""
        self.sink = None
        if self._reusable and self.state == _DONE and self._sent and not self.write_blocked:
            self.state = _IDLE
            if self._paused:
                self.resume_reading()
            self.pool.release(self)
        else:
            self.abort()

    def abort(self) -> None:
        """Drop the connection at once, whatever is under way."""
        self.sink = None
        if self.state != _CLOSED:
            self.state = _CLOSED
            self.deadline = NEVER
            self._buffer = b""
            self.transport.abort()

    def close(self) -> None:
        """End a tunnel once everything written has gone out."""
        self.sink = None
        self._set_deadline(self._rules.send_timeout)
        self.transport.close()

    def pause_reading(self) -> None:
        if not self._paused and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()
            self.deadline = NEVER  # it is the client that is slow, and its timeout runs

    def resume_reading(self) -> None:
        if self._paused and not self.transport.is_closing():
            self._paused = False
            self.transport.resume_reading()
            if self.state != _IDLE:
                self._set_deadline(self._rules.read_timeout)

    @property
    def unread(self) -> int:
        """Bytes of a body of a known length that have not come yet."""
        return self._remaining if self.state == _LENGTH else 0

    def moved(self, size: int) -> None:
        """So many bytes of such a body went by, not through here; the next may take their time."""
        self._remaining -= size
        self._set_deadline(self._rules.read_timeout)

    def write_eof(self) -> None:
        """Half-close a tunnel."""
        if self.transport.can_write_eof():
            self.transport.write_eof()

    # --- asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.created = self.pool.wheel.now
        self.pool.wheel.watch(self)

    def data_received(self, data: bytes) -> None:
        state = self.state
        sink = self.sink
        if state == _HEAD:
            if self._buffer:
                data = self._buffer + data
                self._buffer = b""
            head = self._read_head(data)
            if head is None:
                return
            data = self._buffer
            self._buffer = b""
            state = self.state
            if state == _CHUNKED:
                payload = whole_chunk(data)
                if payload and sink is not None:
                    self.state = _DONE
                    sink.whole_response(head, payload, data)
                    return
                self._decoder = ChunkedDecoder()
            elif state == _LENGTH:
                if len(data) == self._remaining and sink is not None:
                    self.state = _DONE
                    sink.whole_response(head, data, b"")
                    return
            elif state == _TUNNEL:
                if sink is not None:
                    sink.switched(head, data)
                return
        elif state == _IDLE:
            # Bytes before we asked are no answer to what we will ask (CVE-2026-1642).
            self.pool.forget(self)
            self.abort()
            return
        elif state == _TUNNEL:
            self.deadline = self.pool.wheel.now + self._rules.read_timeout
            if sink is not None:
                sink.tunnel_reply(data)
            return
        else:
            head = None
        if not self._paused:
            self.deadline = self.pool.wheel.now + self._rules.read_timeout
        if sink is None:
            return
        pieces: list[bytes]
        done = False
        if state == _LENGTH:
            size = len(data)
            if size < self._remaining:
                self._remaining -= size
                pieces = [data] if data else []
            else:
                if size > self._remaining:
                    self._reusable = False
                    data = data[: self._remaining]
                pieces = [data]
                done = True
        elif state == _CHUNKED:
            pieces = []
            if data:
                assert self._decoder is not None
                try:
                    rest = self._decoder.feed(data, pieces)
                except ChunkedError as error:
                    if head is not None or pieces:
                        sink.response(head, pieces, False)
                    self._fail(Failure.TRUNCATED, str(error))
                    return
                if rest is not None:
                    done = True
                    self._decoder = None
                    if rest:
                        self._reusable = False
        elif state == _CLOSE:
            pieces = [data] if data else []
        else:  # DONE: no body, or bytes after the end
            pieces = []
            done = True
            if data:
                self._reusable = False
                if head is None:
                    return
        if done:
            self.state = _DONE
        sink.response(head, pieces, done)

    def eof_received(self) -> bool:
        if self.state == _TUNNEL and self.sink is not None:
            return self.sink.tunnel_reply_end()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and self.sink is not None:
            self._hear_last_words()
        state = self.state
        self.state = _CLOSED
        self.deadline = NEVER
        pool = self.pool
        pool.wheel.forget(self)
        if self.requests > 1:
            pool.reuses[self.index] += self.requests - 1
        sink, self.sink = self.sink, None
        if state == _IDLE:
            self.pool.forget(self)
        elif sink is None or state == _CLOSED:
            pass
        elif state == _CLOSE and exc is None:
            self._reusable = False
            sink.response(None, [], True)
        elif state == _TUNNEL:
            sink.server_failed(UpstreamError(Failure.CLOSED, "tunnel closed by the server"))
        elif state == _HEAD:
            if self._buffer:
                failure = Failure.TRUNCATED
            else:
                failure = Failure.STALE if self.reused else Failure.CLOSED
            sink.server_failed(UpstreamError(failure, _reason(exc)))
        elif state != _DONE:
            sink.server_failed(UpstreamError(Failure.TRUNCATED, _reason(exc)))

    def _hear_last_words(self) -> None:
        """Take what the server sent before it closed while more of the request went out to it: the
        error of that write is the first that the event loop finds, and it does not look further."""
        transport = self.transport
        sock = transport.get_extra_info("socket")
        if sock is None or transport.get_extra_info("sslcontext") is not None:
            return
        self._reusable = False
        with suppress(OSError):
            while self.state != _CLOSED and (data := os.read(sock.fileno(), 65536)):
                self.data_received(data)

    def pause_writing(self) -> None:
        self.write_blocked = True
        self._set_deadline(self._rules.send_timeout)
        if self.sink is not None:
            self.sink.server_writable(False)

    def resume_writing(self) -> None:
        self.write_blocked = False
        if not self._sent:
            self.deadline = NEVER  # the client's timeout runs
        else:
            self._set_deadline(self._rules.read_timeout)
        if self.sink is not None:
            self.sink.server_writable(True)

    def expire(self, now: float) -> None:
        """A deadline has passed; called by the wheel."""
        if self.state == _IDLE:
            self.pool.forget(self)
            self.abort()
        elif self.write_blocked:
            self._fail(Failure.SEND_TIMEOUT, f"no byte taken for {self._rules.send_timeout:g} s")
        else:
            self._fail(Failure.READ_TIMEOUT, f"no byte sent for {self._rules.read_timeout:g} s")

    # --- inside

    def _read_head(self, data: bytes) -> ResponseHead | None:
        """The final head, with what follows it left in the buffer; None if there is none yet."""
        while True:
            end = data.find(_HEAD_END)
            if end < 0:
                if len(data) > RESPONSE_HEAD:
                    self._fail(Failure.INVALID, f"a head of more than {RESPONSE_HEAD} bytes")
                elif has_bare_lf(data):
                    self._fail(Failure.INVALID, "a line that ends in LF without CR")
                else:
                    self._buffer = data
                    self.deadline = self.pool.wheel.now + self._rules.read_timeout
                return None
            end += 4
            try:
                if end > RESPONSE_HEAD:
                    raise UpstreamError(
                        Failure.INVALID, f"a head of {end} bytes, at most {RESPONSE_HEAD}"
                    )
                head = self._rules.reader.read(data[:end], head_request=self._head_request)
                shape = head.shape
                if shape.status >= 200:
                    break
                if shape.status == 101:
                    if not (self._upgrade and shape.upgrade):
                        raise UpstreamError(Failure.INVALID, "101 that was not asked for")
                    self._buffer = data[end:]
                    self.state = _TUNNEL
                    self._set_deadline(self._rules.read_timeout)
                    return head
                # 100 and 103 end here: the 100 (Continue) is ours. nginx passes any on as if it
                # were final, and the client waits for ever (docs/nginx-differences.md).
                self._interim += 1
                if self._interim > INTERIM_RESPONSES:
                    raise UpstreamError(Failure.INVALID, "too many interim responses")
            except UpstreamError as error:
                self._fail(error.failure, error.reason)
                return None
            data = data[end:]
        self._buffer = data[end:]
        if not shape.keep_alive:
            self._reusable = False
        framing = head.framing
        if framing == NO_BODY:
            self.state = _DONE
        elif framing == BY_LENGTH:
            self.state = _LENGTH
            self._remaining = head.content_length
        elif framing == BY_CHUNKS:
            self.state = _CHUNKED
        else:
            self.state = _CLOSE
        return head

    def _fail(self, failure: Failure, reason: str) -> None:
        sink = self.sink
        self.abort()
        if sink is not None:
            sink.server_failed(UpstreamError(failure, reason))

    def _set_deadline(self, timeout: float) -> None:
        self.deadline = self.pool.wheel.now + timeout
        if self.deadline < self.visit:
            self.pool.wheel.hasten(self)


def _reason(exc: Exception | None) -> str:
    return f"connection reset: {exc}" if exc is not None else "connection closed"
