"""One request: what is known about it, what templates read of it, and how it is answered here.

Must not know how it gets to a server (``attempts``) or how an answer comes back (``relay``).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, cast

from synproxy.core.record import ExchangeRecord
from synproxy.downstream.client import peer_of
from synproxy.proxy.answers import answer_for, cors_for
from synproxy.proxy.ids import fresh

if TYPE_CHECKING:
    from collections.abc import Mapping

    from synproxy.core.head import HeaderBlock, RequestLine
    from synproxy.core.record import Attempt
    from synproxy.downstream.client import Client
    from synproxy.proxy.answers import LocalAnswer
    from synproxy.proxy.detour import Detour
    from synproxy.proxy.generation import CompiledRoute, Generation
    from synproxy.proxy.handler import Located, Metrics, ProxyHandler
    from synproxy.upstream.connection import ServerConnection
    from synproxy.upstream.pool import Connecting, ServerPool
    from synproxy.wire.coding import Encoder

_NO_CAPTURES: Final[Mapping[str, bytes]] = {}


class Request:
    """Implements the view that templates and maps have of a request."""

    __slots__ = (
        "_attempt_started",
        "_attempts",
        "_balanced",
        "_body",
        "_body_size",
        "_chunked_out",
        "_close_upstream",
        "_connect_time",
        "_connecting",
        "_detour",
        "_encode",
        "_fields",
        "_half_closed",
        "_handler",
        "_header_time",
        "_key",
        "_line",
        "_request_id",
        "_sent",
        "_started",
        "_tunnel",
        "block",
        "bytes_received",
        "bytes_sent",
        "captures",
        "client",
        "complete",
        "generation",
        "index",
        "path",
        "pool",
        "query",
        "route",
        "server",
        "status",
    )

    def __init__(
        self,
        handler: ProxyHandler,
        client: Client,
        line: RequestLine,
        block: HeaderBlock,
    ) -> None:
        self._handler = handler
        self.generation: Generation = handler.generation
        self.client = client
        self._line = line
        self.block = block
        self._started = handler.loop.time()
        self.path = b""
        self.query = b""
        self.captures: Mapping[str, bytes] = _NO_CAPTURES
        self.route: CompiledRoute | None = None
        self.pool: ServerPool | None = None
        self.server: ServerConnection | None = None
        self.index = -1
        self.status = 0
        """Of the answer as the client got it; 0 until its head is on the way."""
        self.complete = False
        """The request has been read whole."""
        self.bytes_received = 0
        self.bytes_sent = 0
        self._connecting: Connecting | None = None
        self._balanced = False
        self._key = b""
        self._detour: Detour | tuple[()] = ()
        self._attempts: list[Attempt] | None = None
        self._attempt_started = 0.0
        self._connect_time = -1.0
        self._header_time = -1.0
        self._fields = b""
        self._close_upstream = False
        self._sent = False
        self._body: list[bytes] | None = None
        self._body_size = 0
        self._chunked_out = False
        self._encode: Encoder | None = None
        self._tunnel = False
        self._half_closed = False
        self._request_id = b""

    # --- what templates and maps read (core.variables.RequestView)

    @property
    def method(self) -> bytes:
        return self._line.method

    @property
    def target(self) -> bytes:
        return self._line.target

    @property
    def version(self) -> bytes:
        return b"HTTP/1.1" if self._line.minor else b"HTTP/1.0"

    @property
    def scheme(self) -> bytes:
        return self._handler.scheme

    @property
    def remote_addr(self) -> bytes:
        return self.client.remote_addr

    @property
    def remote_port(self) -> bytes:
        located = cast("Located | None", self.block.origin)
        if located is None or located.address is not self.client.remote_addr:
            return self.client.peer[1]
        return located.port

    @property
    def socket_peer(self) -> tuple[bytes, bytes]:
        transport = self.client.transport
        peer = transport.get_extra_info("socket_peername") or transport.get_extra_info("peername")
        return peer_of(peer)

    @property
    def proxy_protocol(self) -> tuple[bytes, bytes, bytes, bytes]:
        ends = self.client.transport.get_extra_info("proxy_protocol")
        if ends is None:
            return b"", b"", b"", b""
        host, port, server_host, server_port = ends
        return host.encode(), b"%d" % port, server_host.encode(), b"%d" % server_port

    @property
    def server_addr(self) -> bytes:
        return self._local_address()[0]

    @property
    def server_port(self) -> bytes:
        return self._local_address()[1]

    @property
    def _tls(self) -> Any:
        """The connection's ``ssl.SSLObject``, with the name that was asked for; None: plain."""
        return self.client.transport.get_extra_info("ssl_object")

    @property
    def ssl_protocol(self) -> bytes:
        tls = self._tls
        return b"" if tls is None else (tls.version() or "").encode()

    @property
    def ssl_cipher(self) -> bytes:
        tls = self._tls
        return b"" if tls is None else tls.cipher()[0].encode()

    @property
    def ssl_server_name(self) -> bytes:
        tls = self._tls
        return b"" if tls is None else getattr(tls, "asked_name", "").encode()

    @property
    def host(self) -> bytes:
        if self._line.authority:
            return self._line.authority_host()
        return self.block.host

    @property
    def request_id(self) -> bytes:
        if not self._request_id:
            self._request_id = fresh()
        return self._request_id

    def header(self, name: bytes) -> bytes:
        return self.block.value(name)

    def _local_address(self) -> tuple[bytes, bytes]:
        name = self.client.transport.get_extra_info("sockname")
        if type(name) is tuple:
            return name[0].encode(), b"%d" % name[1]
        return b"unix:" + (name.encode() if isinstance(name, str) else b""), b""

    @property
    def _replayable(self) -> bool:
        """Whether all of the body that has come is still at hand."""
        return self._body_size == 0 or self._body is not None

    # --- answers made here, and the record

    def _answer(self, status: int, *, reason: str, retry_after: float = 0.0) -> None:
        """Answer the request ourselves. ``retry_after``: in seconds; 0: nothing is said."""
        self._send(answer_for(status, retry_after=retry_after, cors=cors_for(self.path)), reason)

    def _send(self, answer: LocalAnswer, reason: str) -> None:
        client = self.client
        minor = self._line.minor
        self.status = answer.status
        client.keep_alive = client.can_persist
        data, self.bytes_sent = answer.render(
            server=self.generation.server_line,
            minor=minor,
            keep_alive=client.keep_alive,
            head_request=self._line.method == b"HEAD",
        )
        client.write(data)
        self._log(reason)
        client.finish()

    def _log(self, reason: str) -> None:
        """The request is over: tell whoever wants to know."""
        metrics = self._handler.metrics
        if metrics is not None:
            self._count(metrics, reason)
        if self._handler.access_log is not None:
            self._record(reason)

    def _count(self, metrics: Metrics, reason: str) -> None:
        again = self._attempt_started if self._detour else 0.0
        metrics.ended(self, self._line.method, reason, self._started, again)

    def _record(self, reason: str) -> None:
        """A line for the access log, which there is."""
        handler = self._handler
        assert handler.access_log is not None
        block = self.block
        line = self._line
        duration = handler.loop.time() - self._started
        route, pool = self.route, self.pool
        attempts = self._attempts or []
        handler.access_log.write(
            ExchangeRecord(
                started=time.time() - duration,
                remote_addr=self.client.remote_addr,
                method=line.method,
                target=line.target,
                version=self.version,
                status=self.status,
                bytes_sent=self.bytes_sent,
                bytes_received=self.bytes_received,
                referer=block.value(b"referer"),
                user_agent=block.value(b"user-agent"),
                host=block.host,
                scheme=handler.scheme,
                request_id=self._request_id,
                route=route.name if route is not None else "",
                pool=pool.name if pool is not None else "",
                server=attempts[-1].server if attempts else "",
                attempts=attempts,
                duration=duration,
                end_reason=reason,
            )
        )
