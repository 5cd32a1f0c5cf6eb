"""Large bodies, moved from one socket to the other inside the kernel (docs/adr/0020).

Between plain sockets a body of a known length needs no copy in this process: splice(2) moves its
pages into a pipe and out of it. All but the end of such a body goes that way. The connections stay
who they are: a :class:`Splice` stands at both in the place of the exchange, and whatever happens on
either, it gives the body back to them first, at the byte that it has reached. Must not know HTTP.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from synproxy.core.limits import SPLICES
from synproxy.core.wheel import NEVER
from synproxy.downstream.connection import ClientConnection

if TYPE_CHECKING:
    import asyncio

    from synproxy.core.response import ResponseHead
    from synproxy.errors import DownstreamError, UpstreamError
    from synproxy.proxy.exchange import Exchange
    from synproxy.proxy.generation import Generation
    from synproxy.upstream.connection import ServerConnection

_TAIL: Final = 16 * 1024
"""Bytes that are left to the connections, which know what the end of a body means."""
_PIPE_SIZE: Final = 256 * 1024
"""Bytes in a pipe, and at most moved before others have their turn (uvloop reads as many)."""
_KEPT_PIPES: Final = 8
"""Pipes that are kept while nobody needs them."""
_UNUSABLE: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP})
"""What a kernel or sandbox says that cannot do it."""

_log = logging.getLogger("synproxy.proxy")


class Pipe(NamedTuple):
    """Two descriptors."""

    out: int
    into: int


class Splicer:
    """The pipes of a child process. ``moved`` counts bytes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.moved = 0
        self.under_way = 0
        self._idle: list[Pipe] = []
        self._usable = hasattr(os, "splice")

    def download(self, exchange: Exchange, size: int) -> None:
        """Move the body of an answer, of which ``size`` bytes are to come, if that can be."""
        server = exchange.server
        if server is not None and server.sink is exchange and exchange.complete:
            self._begin(exchange, server, _connection(exchange), size)

    def upload(self, exchange: Exchange, size: int) -> None:
        """Move the body of a request, of which ``size`` bytes are to come, if that can be."""
        server = exchange.server
        if server is not None and server.sink is exchange and not exchange.status:
            self._begin(exchange, _connection(exchange), server, size)

    def _begin(
        self,
        exchange: Exchange,
        source: ClientConnection | ServerConnection,
        sink: ClientConnection | ServerConnection,
        size: int,
    ) -> None:
        client = exchange.client
        if (
            not self._usable
            or self.under_way >= SPLICES
            or type(client) is not ClientConnection  # of HTTP/2 only streams have bodies
            or client.exchange is not exchange
        ):
            return
        read = write = -1
        try:
            read = _descriptor(source.transport)
            write = _descriptor(sink.transport)
            if read < 0 or write < 0:
                _close(read, write)
                return
            pipe = self._idle.pop() if self._idle else _new_pipe()
        except OSError:  # no descriptor left
            _close(read, write)
            return
        self.under_way += 1
        Splice(self, exchange, source, sink, pipe, read, write, size - _TAIL).begin()

    def take_back(self, pipe: Pipe, *, empty: bool) -> None:
        """A pipe is not needed any more."""
        self.under_way -= 1
        if empty and len(self._idle) < _KEPT_PIPES:
            self._idle.append(pipe)
        else:
            _close(*pipe)

    def failed(self, error: OSError) -> None:
        """The kernel would not. Of a connection that broke its transport will hear, too."""
        if error.errno in _UNUSABLE and self._usable:
            self._usable = False
            _log.warning("splice() is of no use here, large bodies are copied: %s", error.strerror)

    def close(self) -> None:
        """Give up the pipes that are kept."""
        while self._idle:
            _close(*self._idle.pop())


class Splice:
    """Part of one body on its way from ``source`` to ``sink``.

    Each time the source has something it is moved at once, and the source is not looked at again
    before the sink has taken all of it. The deadlines are the connections' own.
    """

    __slots__ = (
        "_blocked",
        "_exchange",
        "_held",
        "_left",
        "_moving",
        "_pipe",
        "_read",
        "_sink",
        "_source",
        "_splicer",
        "_write",
    )

    def __init__(
        self,
        splicer: Splicer,
        exchange: Exchange,
        source: ClientConnection | ServerConnection,
        sink: ClientConnection | ServerConnection,
        pipe: Pipe,
        read: int,
        write: int,
        size: int,
    ) -> None:
        self._splicer = splicer
        self._exchange = exchange
        self._source = source
        self._sink = sink
        self._pipe: Pipe | None = pipe
        """None: it is over."""
        # Duplicates: uvloop watches no descriptor that belongs to a transport, and one that a
        # transport has closed may be somebody else's.
        self._read = read
        self._write = write
        self._left = size
        """Bytes to read."""
        self._held = 0
        """Bytes in the pipe."""
        self._moving = False
        self._blocked = False
        """The sink takes nothing more for now."""

    # --- moving

    def begin(self) -> None:
        """Once the sink's transport has written what it has."""
        exchange = self._exchange
        client, server = exchange.client, exchange.server
        assert server is not None
        client.exchange = server.sink = self
        self._source.pause_reading()
        transport = self._sink.transport
        transport.set_write_buffer_limits(0)  # so that it tells when it is empty
        if transport.get_write_buffer_size() == 0:
            self._move()

    def _move(self) -> None:
        self._moving = True
        self._sink.transport.set_write_buffer_limits()
        if self._source is self._exchange.client:
            self._exchange.forget_body()
        self._source.moved(0)
        self._splicer.loop.add_reader(self._read, self._readable)

    def _readable(self) -> None:
        pipe = self._pipe
        assert pipe is not None
        try:
            size = os.splice(
                self._read, pipe.into, min(self._left, _PIPE_SIZE), flags=os.SPLICE_F_MOVE
            )
        except BlockingIOError:
            return
        except OSError as error:
            self._splicer.failed(error)
            self._give_back()
            return
        if not size:  # the end, which the transport will find, too
            self._give_back()
            return
        self._held = size
        self._left -= size
        self._source.moved(size)
        self._writable()

    def _writable(self) -> None:
        pipe = self._pipe
        assert pipe is not None
        try:
            size = os.splice(pipe.out, self._write, self._held, flags=os.SPLICE_F_MOVE)
        except BlockingIOError:
            size = 0
        except OSError as error:
            self._splicer.failed(error)
            self._give_back()
            return
        self._held -= size
        self._count(size)
        loop = self._splicer.loop
        if self._held:
            if not self._blocked:
                self._blocked = True
                loop.remove_reader(self._read)
                loop.add_writer(self._write, self._writable)
                self._source.deadline = NEVER
            elif not size:
                return
            self._sink.pause_writing()  # its time runs from the last byte that it took
        elif self._left <= 0:
            self._give_back()
        elif self._blocked:
            self._blocked = False
            loop.remove_writer(self._write)
            loop.add_reader(self._read, self._readable)
            self._sink.resume_writing()
            self._source.moved(0)

    def _count(self, size: int) -> None:
        exchange = self._exchange
        if self._source is exchange.client:
            exchange.bytes_received += size
        else:
            exchange.bytes_sent += size
        self._splicer.moved += size

    # --- the end

    def _give_back(self) -> None:
        """The connections go on where this has come to."""
        pipe, held = self._pipe, self._held
        if pipe is None:
            return
        rest = os.read(pipe.out, held) if held else b""
        self._held -= len(rest)
        blocked = self._blocked
        self._stop()
        if blocked:
            self._sink.resume_writing()
        if rest:
            self._count(len(rest))
            self._sink.write(rest)
        if not self._sink.write_blocked:
            self._source.resume_reading()

    def _stop(self) -> None:
        """Everything is the exchange's again. What is in the pipe is lost."""
        pipe = self._pipe
        if pipe is None:
            return
        self._pipe = None
        loop = self._splicer.loop
        if self._blocked:
            loop.remove_writer(self._write)
        elif self._moving:
            loop.remove_reader(self._read)
        if not self._moving and not self._sink.transport.is_closing():
            self._sink.transport.set_write_buffer_limits()
        _close(self._read, self._write)
        self._splicer.take_back(pipe, empty=not self._held)
        exchange = self._exchange
        if exchange.client.exchange is self:
            exchange.client.exchange = exchange
        server = exchange.server
        if server is not None and server.sink is self:
            server.sink = exchange

    # --- what the client connection tells

    @property
    def generation(self) -> Generation:
        """The exchange's."""
        return self._exchange.generation

    def start(self, *, complete: bool, body: bytes = b"") -> None:
        """Never: the request has begun."""

    def request_body(self, payload: bytes) -> None:
        """Not while it is not read; passed on all the same."""
        self._give_back()
        self._exchange.request_body(payload)

    def request_end(self) -> None:
        """As above."""
        self._give_back()
        self._exchange.request_end()

    def bad_request(self, error: DownstreamError) -> None:
        """The body is late."""
        self._stop()
        self._exchange.bad_request(error)

    def client_gone(self, reason: str) -> None:
        """It cannot be answered any more."""
        self._stop()
        self._exchange.client_gone(reason)

    def client_half_closed(self) -> bool:
        """It sends nothing more."""
        return self._exchange.client_half_closed()

    def client_writable(self, writable: bool) -> None:
        """Its transport has written what it had."""
        if writable and not self._moving and self._sink is self._exchange.client:
            self._move()

    def tunnel_data(self, data: bytes) -> None:
        """Never: there is a body."""

    # --- what the server connection tells

    def whole_response(self, head: ResponseHead, payload: bytes, framed: bytes) -> None:
        """It answers before it has the whole request."""
        self._give_back()
        self._exchange.whole_response(head, payload, framed)

    def response(self, head: ResponseHead | None, pieces: list[bytes], done: bool) -> None:
        """As above."""
        self._give_back()
        self._exchange.response(head, pieces, done)

    def server_failed(self, error: UpstreamError) -> None:
        """The connection is gone."""
        self._stop()
        self._exchange.server_failed(error)

    def server_writable(self, writable: bool) -> None:
        """Its transport has written what it had."""
        if writable and not self._moving and self._sink is self._exchange.server:
            self._move()

    def switched(self, head: ResponseHead, early: bytes) -> None:
        """As :meth:`response`."""
        self._give_back()
        self._exchange.switched(head, early)

    def tunnel_reply(self, data: bytes) -> None:
        """Never: there is a body."""

    def tunnel_reply_end(self) -> bool:
        """Never, as above."""
        return False


def _connection(exchange: Exchange) -> ClientConnection:
    """The client's, which a stream of HTTP/2 only passes for: ``_begin`` sends it away."""
    return cast("ClientConnection", exchange.client)


def _descriptor(transport: asyncio.Transport) -> int:
    """A duplicate of the socket's; -1: what goes through it is not what is in the body."""
    if (
        transport.get_extra_info("ssl_object") is not None
        or transport.get_extra_info("sslcontext") is not None
    ):
        return -1
    socket = transport.get_extra_info("socket")
    return -1 if socket is None else os.dup(socket.fileno())


def _new_pipe() -> Pipe:
    pipe = Pipe(*os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC))
    with suppress(OSError):  # over the user's bound (pipe-user-pages-soft): 64 KiB will do
        fcntl.fcntl(pipe.into, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
    return pipe


def _close(*descriptors: int) -> None:
    for one in descriptors:
        if one >= 0:
            os.close(one)
