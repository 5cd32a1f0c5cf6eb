"""Where a listener's clients get their exchanges: the tie between a generation and the process."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast
from weakref import WeakSet

from synproxy.core.http2 import MalformedError
from synproxy.core.misroute import Misroutes
from synproxy.core.record import ExchangeRecord, refused_request_line
from synproxy.core.redact import redact
from synproxy.downstream.connection import ClientConnection, Tally
from synproxy.downstream.connections import Connections
from synproxy.proxy.answers import answer_for
from synproxy.proxy.exchange import Exchange
from synproxy.proxy.front import PLAIN_HTTP, FrontExchange, front_of
from synproxy.proxy.http2 import Http2Exchange, packed_answer
from synproxy.proxy.splice import Splicer
from synproxy.upstream.watch import Watches

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from typing import Protocol

    from synproxy.config.model import Http, Listener
    from synproxy.core.client_address import ClientAddresses
    from synproxy.core.head import HeaderBlock, RequestLine
    from synproxy.core.wheel import TimerWheel
    from synproxy.downstream.client import Client as ExchangeClient
    from synproxy.downstream.http2_stream import Http2Stream
    from synproxy.errors import DownstreamError, UpstreamError
    from synproxy.proxy.front import Front
    from synproxy.proxy.generation import Generation
    from synproxy.proxy.request import Request

    Client = ClientConnection | Http2Stream

    class AccessLog(Protocol):
        """Takes a record of each exchange once it has ended."""

        def write(self, record: ExchangeRecord) -> None: ...

    class Metrics(Protocol):
        """Counts; see :class:`synproxy.observe.metrics.Metrics`."""

        def answered(self, request: Request, method: bytes, started: float) -> None:
            """A request is over that its first server has answered. The loop's time when it
            began."""

        def ended(
            self, request: Request, method: bytes, reason: str, started: float, attempt: float
        ) -> None:
            """A request is over. The loop's time when it began, and when its last attempt began,
            0 if that was at once."""

        def refused(self, client: Client, error: DownstreamError) -> None:
            """A head was not accepted."""

        def failed(self, request: Request, error: UpstreamError) -> None:
            """An attempt failed."""

        def note(self, event: str, pool: str, detail: str) -> None:
            """A turn in a request's way: one of the names in ``attempts``."""


_log = logging.getLogger("synproxy.proxy")


@dataclass(frozen=True, slots=True)
class Located:
    """Whose request it is, by the word of trusted proxies; remembered with the fields that say so.

    A block of fields belongs to one connection, so it is always the word of the same proxy.
    """

    told_by: ClientAddresses
    address: bytes
    port: bytes
    handler: ProxyHandler
    """By whose scheme it is taken up."""


class ProxyHandler:
    """Shared by all client connections of a child process, or of one listener that needs its own
    (:meth:`for_listener`)."""

    __slots__ = (
        "__weakref__",
        "_addresses",
        "_exchange",
        "_listeners",
        "_other_scheme",
        "_splicer",
        "_whole",
        "accepted",
        "access_log",
        "begin",
        "connections",
        "draining",
        "front",
        "generation",
        "keepalive_requests",
        "keepalive_timeout",
        "loop",
        "max_streams",
        "metrics",
        "misroutes",
        "scheme",
        "settings",
        "small_head",
        "splicer",
        "watches",
        "wheel",
    )

    def __init__(
        self,
        generation: Generation,
        wheel: TimerWheel,
        loop: asyncio.AbstractEventLoop,
        access_log: AccessLog | None,
        scheme: bytes = b"http",
        beside: ProxyHandler | None = None,
    ) -> None:
        self.loop = loop
        self.wheel = wheel
        self.access_log = access_log
        self.accepted: Tally = beside.accepted if beside else Tally()
        """Client connections since the start."""
        self.metrics: Metrics | None = beside.metrics if beside else None
        self.scheme = scheme
        self.draining = False
        self.connections: Connections = beside.connections if beside else Connections()
        self.watches: Watches = beside.watches if beside else Watches(wheel)
        self._splicer: Splicer = beside._splicer if beside else Splicer(loop)
        self.splicer: Splicer | None = None
        """Moves large bodies; None: they are copied."""
        self.misroutes: Misroutes = beside.misroutes if beside else Misroutes()
        self.front: Front | None = None
        """What the listener does by itself; None: nothing."""
        self._listeners: WeakSet[ProxyHandler] = WeakSet()
        """Weak: one that a reload has replaced lives as long as its connections."""
        self._whole: ProxyHandler = beside or self
        """The one of the child."""
        self._exchange: Callable[[ClientConnection, RequestLine, HeaderBlock], Exchange]
        self._addresses: ClientAddresses | None = None
        self._other_scheme: ProxyHandler | None = None
        """For requests that came to a trusted proxy by the other one of http and https."""
        self.begin: Callable[[ClientConnection, RequestLine, HeaderBlock], Exchange]
        """See :class:`synproxy.downstream.connection.Handler`."""
        self.generation: Generation
        self.settings: Http
        self.keepalive_requests: int
        self.keepalive_timeout: float
        self.small_head: int
        self.max_streams: int
        if beside is None:
            self.use(generation)
        else:
            self._follow(generation)

    def for_listener(self, listener: Listener) -> ProxyHandler:
        """This one, or one that differs from it in what the listener does by itself."""
        front = front_of(listener)
        if front is None:
            return self
        return self._another(front, b"https" if listener.tls is not None else b"http")

    def for_plain_http(self) -> ProxyHandler:
        """For clients that speak without TLS to a listener with it."""
        return self._another(PLAIN_HTTP, b"http")

    def _another(self, front: Front | None, scheme: bytes) -> ProxyHandler:
        other = ProxyHandler(self.generation, self.wheel, self.loop, self.access_log, scheme, self)
        other.draining = self.draining
        other.front = front
        other._follow(self.generation)
        self._listeners.add(other)
        return other

    def log_to(self, access_log: AccessLog | None) -> None:
        """Where exchanges that end from now on are written; None: nowhere."""
        self.access_log = access_log
        for other in self._listeners:
            other.access_log = access_log

    def count_in(self, metrics: Metrics | None) -> None:
        """Where requests from now on are counted; None: nowhere."""
        self.metrics = metrics
        for other in self._listeners:
            other.metrics = metrics

    def drain(self) -> None:
        """Answer what is under way, and keep no connection for another request."""
        self.draining = True
        for other in self._listeners:
            other.draining = True

    def use(self, generation: Generation) -> None:
        """Requests from now on follow this generation; those in progress keep theirs."""
        generation.watch(self.watches)
        self._follow(generation)
        for other in self._listeners:
            other._follow(generation)

    def _follow(self, generation: Generation) -> None:
        self.generation = generation
        plain = self.front is None and generation.ids is None
        self._exchange = partial(Exchange if plain else FrontExchange, self)
        self.splicer = self._splicer if generation.http.splice else None
        self.settings = generation.http
        self.keepalive_requests = generation.http.keepalive_requests
        self.keepalive_timeout = generation.http.keepalive_timeout
        self.small_head = generation.http.large_client_header_buffers.size
        self.max_streams = generation.http.http2_max_concurrent_streams
        addresses = generation.addresses
        if addresses is None and self._addresses is not None:
            for connection in self.connections:
                if isinstance(connection, ClientConnection):  # believe nobody any more
                    connection.remote_addr = connection.peer[0]
        self._addresses = addresses
        self.begin = self._exchange if addresses is None else self._begin_behind

    # --- behind trusted proxies

    def _begin_behind(
        self, client: ClientConnection, line: RequestLine, block: HeaderBlock
    ) -> Exchange:
        return self._located(client, block).handler._exchange(client, line, block)

    def begin_http2(self, client: Http2Stream, line: RequestLine, block: HeaderBlock) -> Exchange:
        """See :class:`synproxy.downstream.http2.Http2Handler`."""
        handler = self if self._addresses is None else self._located(client, block).handler
        # A stream has all that an exchange asks of its client, but tunnels, which it never begins.
        return Http2Exchange(handler, cast("ExchangeClient", client), line, block)

    def _located(self, client: Client, block: HeaderBlock) -> Located:
        located = block.origin
        if type(located) is not Located or located.told_by is not self._addresses:
            located = block.origin = self._locate(client, block)
        client.remote_addr = located.address
        return located

    def _locate(self, client: Client, block: HeaderBlock) -> Located:
        addresses = self._addresses
        assert addresses is not None
        address, port, scheme = addresses.origin(*client.peer, block)
        handler = self
        if scheme and scheme != self.scheme:
            if self._other_scheme is None:
                front = self.front
                if front is not None and scheme == b"https":
                    front = front._replace(redirect_https=False)
                self._other_scheme = self._whole._another(front, scheme)
            handler = self._other_scheme
        return Located(addresses, address, port, handler)

    def close(self) -> None:
        """The process ends: give up what is kept for later."""
        self._splicer.close()

    def refuse(self, client: ClientConnection, error: DownstreamError, head: bytes) -> None:
        """Answer a head that was not accepted, log it, and close."""
        client.keep_alive = False
        data, size = answer_for(error.status, error=error.reason).render(
            server=self.generation.server_line,
            minor=1,
            keep_alive=False,
            head_request=head.startswith(b"HEAD "),
        )
        client.write(data)
        client.linger()
        if self.metrics is not None:
            self.metrics.refused(client, error)
        if self.access_log is not None:
            self.access_log.write(self._refusal(client, error, size, *refused_request_line(head)))

    def refuse_http2(
        self, client: Http2Stream, error: DownstreamError, pseudo: dict[bytes, bytes]
    ) -> None:
        """The same for HTTP/2, where the connection goes on. What is malformed is answered, too,
        but the stream is then to be reset (RFC 9113 section 8.1.1)."""
        answer = answer_for(error.status, error=error.reason)
        malformed = isinstance(error, MalformedError)
        block = packed_answer(answer, self.generation.server_line)
        client.answer(block, answer.body, end=not malformed)
        if not malformed:
            client.finish()
        if self.metrics is not None:
            self.metrics.refused(client, error)
        if self.access_log is not None:
            method, target = pseudo.get(b":method", b""), pseudo.get(b":path", b"")
            line = refused_request_line(b"%b %b HTTP/2.0" % (method, target))
            self.access_log.write(self._refusal(client, error, len(answer.body), *line))

    def _refusal(
        self,
        client: Client,
        error: DownstreamError,
        size: int,
        method: bytes,
        target: bytes,
        version: bytes,
    ) -> ExchangeRecord:
        return ExchangeRecord(
            started=time.time(),
            remote_addr=client.peer[0],  # no field of this head is to be believed
            method=method,
            target=target,
            version=version,
            status=error.status,
            bytes_sent=size,
            scheme=self.scheme,
            end_reason="client_timeout" if error.status == 408 else "client_error",
        )

    def report(self, exchange: Request, error: UpstreamError) -> None:
        """An attempt failed: say so where an operator looks for it, without the query."""
        pool = exchange.pool
        server = pool.settings.servers[exchange.index].address if pool is not None else ""
        _log.warning(
            "%s: %s, pool %s, server %s, %s %s",
            error.failure.value,
            error.reason,
            pool.name if pool is not None else "",
            server,
            exchange.method.decode("ascii", "replace"),
            redact(exchange.target.partition(b"?")[0].decode("ascii", "replace")),
        )

    def misrouted(self, request: Request, other: str) -> None:
        """A server has no such endpoint, and another pool is asked: the route is wrong."""
        route = request.route.name if request.route is not None else ""
        pool = request.pool.name if request.pool is not None else ""
        count = self.misroutes.note(route, request.method, self.wheel.now)
        if count:
            _log.warning(
                "M_UNRECOGNIZED: %s of route %s, pool %s, is asked again of pool %s (%d times);"
                " last: %s",
                request.method.decode("ascii", "replace"),
                route,
                pool,
                other,
                count,
                redact(request.target.partition(b"?")[0].decode("ascii", "replace")),
            )
