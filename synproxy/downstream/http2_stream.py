"""One stream of HTTP/2: one request and its answer, as an exchange sees its client."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from synproxy.core.wheel import NEVER
from synproxy.downstream.client import peer_of
from synproxy.errors import DownstreamError
from synproxy.wire import http2 as wire
from synproxy.wire.hpack import status

if TYPE_CHECKING:
    import asyncio

    from synproxy.core.head import HeaderBlock
    from synproxy.core.http2 import MalformedError
    from synproxy.downstream.connection import Exchange
    from synproxy.downstream.http2 import Http2Connection

HIGH_WATER: Final = 64 * 1024
"""Bytes of an answer that wait for the client before its server is read no further."""
_LOW_WATER: Final = 16 * 1024
_WORTH_AN_UPDATE: Final = 256
"""Bytes: to open a window for fewer at a time is work for nothing (CVE-2019-9511)."""


class Http2Stream:
    """``window`` and ``receive_window``: bytes that may be sent and received."""

    __slots__ = (
        "_blocked",
        "_code",
        "_connection",
        "_ended",
        "_expected",
        "_held",
        "_held_end",
        "_offset",
        "_paused",
        "_queue",
        "_taken",
        "_watched",
        "complete",
        "deadline",
        "exchange",
        "keep_alive",
        "number",
        "queued",
        "receive_window",
        "remote_addr",
        "visit",
        "window",
    )

    can_persist: Final = True
    unread: Final = 0
    """Of a body without frames around it; see ``ClientConnection``."""

    def __init__(
        self,
        connection: Http2Connection,
        number: int,
        window: int,
        receive_window: int,
        *,
        complete: bool,
    ) -> None:
        self._connection = connection
        self.number = number
        self.window = window
        self.receive_window = receive_window
        self.complete = complete
        """The request has come whole."""
        self.exchange: Exchange | None = None
        self.keep_alive = True
        self.remote_addr = connection.remote_addr
        """The client's: the peer's unless that is a trusted proxy."""
        self.deadline = NEVER
        self.visit = 0.0
        self.queued = 0
        self._queue: deque[bytes] | None = None
        self._offset = 0
        """Where the rest of the first piece in the queue begins."""
        self._ended = False
        """The end of the answer is sent, or in the queue."""
        self._blocked = False
        self._paused = not complete
        """Until there is a server to take the body."""
        self._held: list[bytes] | None = None
        self._held_end = False
        self._expected = -1
        """Bytes of the body that are still to come; -1: nothing says how many."""
        self._taken = 0
        self._watched = False
        self._code = wire.NO_ERROR
        """For the end of a stream whose request has not come whole: by RFC 9113 section 8.1 the
        rest of it is not wanted."""

    # --- the request

    def begin(self, exchange: Exchange, block: HeaderBlock) -> None:
        """Start the exchange."""
        self.exchange = exchange
        if self.complete:
            exchange.start(complete=True)
            return
        if block.content_length is not None:
            self._expected = block.content_length
        exchange.start(complete=False)

    def receive(self, payload: bytes, *, end: bool) -> None:
        """More of the request's body."""
        size = len(payload)
        if self._expected >= 0:
            self._expected -= size
            if self._expected < 0 or (end and self._expected):
                self._connection.taken(size)
                self._connection.be_patient("bodies of another length")
                self.malformed(DownstreamError(400, "the body is not as long as announced"))
                return
        if end:
            self.complete = True
            self.deadline = NEVER
        elif not self._paused:
            self._set_deadline(self._connection.handler.settings.client_body_timeout)
        if self._paused:
            if self._held is None:
                self._held = []
            self._held.append(payload)
            self._held_end = end
        else:
            self._deliver(payload, end)

    def _deliver(self, payload: bytes, end: bool) -> None:
        exchange = self.exchange
        size = len(payload)
        self._connection.taken(size)
        if not self.complete:
            self._taken += size
            if self._taken >= self.receive_window:
                self._connection.transport.write(wire.window_update(self.number, self._taken))
                self.receive_window += self._taken
                self._taken = 0
        if exchange is None:
            return
        if payload:
            exchange.request_body(payload)
        if end and self.exchange is exchange:
            exchange.request_end()

    def malformed(self, error: DownstreamError | MalformedError) -> None:
        """What follows the head breaks the rules."""
        exchange = self.exchange
        self._code = wire.PROTOCOL_ERROR
        if exchange is not None:
            exchange.bad_request(error)
        else:
            self.fail(wire.PROTOCOL_ERROR)

    def lost(self, reason: str) -> None:
        """The client, or its interest, is gone; nothing can be sent any more."""
        self._forget_deadline()
        exchange, self.exchange = self.exchange, None
        self._drop_held()
        if exchange is not None:
            exchange.client_gone(reason)

    def _drop_held(self) -> None:
        held, self._held = self._held, None
        if held:
            self._connection.taken(sum(map(len, held)))

    def fail(self, code: int) -> None:
        """A stream error (RFC 9113 section 5.4.2), by whichever side."""
        connection = self._connection
        if connection.streams.get(self.number) is self:
            connection.reset(self.number, code)
            connection.forget(self)
        self.lost("client_error")

    # --- what the exchange asks for

    @property
    def peer(self) -> tuple[bytes, bytes]:
        """Address and port of who opened the connection; ``unix:`` for a UNIX socket."""
        return peer_of(self.transport.get_extra_info("peername"))

    @property
    def transport(self) -> asyncio.Transport:
        return self._connection.transport

    def pause_reading(self) -> None:
        self._paused = True
        if not self.complete and not self.queued:
            self.deadline = NEVER  # it is not the client that is slow

    def resume_reading(self) -> None:
        if not self._paused:
            return
        self._paused = False
        held, self._held = self._held, None
        if held:
            self._deliver(b"".join(held), self._held_end)
        if not self.complete and not self._paused and self.exchange is not None:
            self._set_deadline(self._connection.handler.settings.client_body_timeout)

    def send_continue(self) -> None:
        """100 (Continue)."""
        connection = self._connection
        block = connection.first_block(status(100))
        connection.transport.write(wire.headers(self.number, block, end=False))

    def answer(self, block: bytes, body: bytes, *, end: bool) -> None:
        """The head of the answer, packed, and the beginning of its body; ``end``: all of it."""
        connection = self._connection
        head = wire.headers(self.number, connection.first_block(block), end=end and not body)
        size = len(body)
        if not size:
            self._ended = end
            connection.transport.write(head)
        elif self._may_send(size):
            self._ended = end
            connection.transport.write(head + wire.data(self.number, body, end=end))
        else:
            connection.transport.write(head)
            self.send(body, end=end)

    def send(self, data: bytes, *, end: bool) -> None:
        """More of the answer's body; ``end``: the last of it."""
        self._ended = end
        size = len(data)
        if self._may_send(size):
            self.transport.write(wire.data(self.number, data, end=end))
            return
        if self._queue is None:
            self._queue = deque()
        if size:
            self._queue.append(data)
            self.queued += size
        connection = self._connection
        connection.wait(self)
        connection.pump()
        if self.queued:
            self._set_deadline(connection.handler.settings.send_timeout)
            if self.queued > HIGH_WATER and not self._blocked and self.exchange is not None:
                self._blocked = True
                self.exchange.client_writable(False)

    def _may_send(self, size: int) -> bool:
        """Whether so much can go out at once, and if so count it. The end alone takes no room."""
        connection = self._connection
        if self.queued or (
            size
            and (
                connection.write_blocked
                or size > wire.FRAME_SIZE
                or size > self.window
                or size > connection.send_window
            )
        ):
            return False
        self.window -= size
        connection.send_window -= size
        connection.updates_due += 2
        return True

    def send_queued(self, limit: int) -> bool:
        """Send at most ``limit`` bytes, in one frame. False: nothing may be sent."""
        queue = self._queue
        connection = self._connection
        size = min(limit, self.queued, self.window, connection.send_window)
        if size <= 0 or queue is None:
            return False
        first = queue[0]
        piece = first[self._offset : self._offset + size]
        size = len(piece)
        self._offset += size
        if self._offset == len(first):
            queue.popleft()
            self._offset = 0
        self.queued -= size
        self.window -= size
        connection.send_window -= size
        if size >= _WORTH_AN_UPDATE or not self.queued:
            connection.updates_due += 2
        last = self._ended and not self.queued
        connection.transport.write(wire.data(self.number, piece, end=last))
        if self.queued:
            self._set_deadline(connection.handler.settings.send_timeout)
        elif self.exchange is None:
            self._over()
        else:
            self.deadline = NEVER
        if self._blocked and self.queued <= _LOW_WATER and self.exchange is not None:
            self._blocked = False
            self.exchange.client_writable(True)
        return True

    def finish(self) -> None:
        """The answer is complete, but for what waits in the queue."""
        self.exchange = None
        if not self.queued:
            self._over()

    def _over(self) -> None:
        self._forget_deadline()
        connection = self._connection
        self._drop_held()
        if connection.streams.get(self.number) is self:
            if not self.complete:
                connection.reset(self.number, self._code)
            connection.forget(self)

    def close(self) -> None:
        """Cut the answer short: the client must not take what it has for all of it."""
        self.exchange = None
        self.fail(wire.INTERNAL_ERROR)

    abort = close

    # --- deadlines

    def _set_deadline(self, timeout: float) -> None:
        wheel = self._connection.handler.wheel
        self.deadline = wheel.now + timeout
        if not self._watched:
            self._watched = True
            wheel.watch(self)
        elif self.deadline < self.visit:
            wheel.hasten(self)

    def _forget_deadline(self) -> None:
        if self._watched:
            self._watched = False
            self._connection.handler.wheel.forget(self)

    def expire(self, now: float) -> None:
        """A deadline has passed; called by the wheel."""
        exchange = self.exchange
        if self.queued:
            self.exchange = None
            if exchange is not None:
                exchange.client_gone("client_timeout")
            self.fail(wire.CANCEL)
        elif not self.complete:
            if exchange is not None:
                exchange.bad_request(DownstreamError(408, "the request body did not come in time"))
            else:
                self.fail(wire.NO_ERROR)
