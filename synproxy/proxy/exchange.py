"""One request and its answer: ties a client connection to attempts on servers.

Bytes stream through in both directions; each side's back-pressure stops the other. What to do
after a failure is decided in ``core.retry``. There is no task and no timer here: both connections
have their deadlines, and everything happens in their callbacks.
"""

from __future__ import annotations

import os
import time
import zlib
from typing import TYPE_CHECKING, Final, cast

from synproxy.core.limits import BODY_HIGH_WATER, REPLAY_BODY
from synproxy.core.record import Attempt, ExchangeRecord
from synproxy.core.response import BY_CHUNKS, BY_CLOSE
from synproxy.core.retry import may_retry, status_for
from synproxy.core.variables import FieldsView, RequestNeededError
from synproxy.errors import DownstreamError, Failure, UpstreamError
from synproxy.proxy.answers import answer_for, connection_end, cors_for, date_line
from synproxy.wire.chunked import LAST_CHUNK, encode_chunk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from synproxy.core.compression import Compression
    from synproxy.core.forward import HeadPlan
    from synproxy.core.head import HeaderBlock, RequestLine
    from synproxy.core.response import ResponseHead
    from synproxy.core.variables import RequestView, Template
    from synproxy.downstream.connection import ClientConnection
    from synproxy.proxy.answers import LocalAnswer
    from synproxy.proxy.generation import CompiledRoute, Generation, PoolTarget
    from synproxy.proxy.handler import ProxyHandler
    from synproxy.upstream.connection import ServerConnection
    from synproxy.upstream.pool import Connecting, ServerPool

    Remembered = tuple[HeadPlan, bytes, bool, Template | None, bytes]
    """A plan, what it made of a header block (lines, close), a template, and its value."""

_NO_CAPTURES: Final[Mapping[str, bytes]] = {}
_CHUNKED: Final = b"Transfer-Encoding: chunked\r\n"
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
_CLIENT_CLOSED_REQUEST: Final = 499
"""nginx's code for the log: the client left before an answer began."""


class Exchange:
    """Implements the views that the connections, the variables and the pool have of it."""

    __slots__ = (
        "_attempt_started",
        "_attempts",
        "_balanced",
        "_body",
        "_body_size",
        "_chunked_out",
        "_close_upstream",
        "_compressor",
        "_connect_time",
        "_connecting",
        "_fields",
        "_half_closed",
        "_handler",
        "_header_time",
        "_key",
        "_line",
        "_request_id",
        "_sent",
        "_started",
        "_tried",
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
        client: ClientConnection,
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
        self._tried: set[int] | tuple[()] = ()
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
        self._compressor: zlib._Compress | None = None
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
        return self.client.remote_port

    @property
    def server_addr(self) -> bytes:
        return self._local_address()[0]

    @property
    def server_port(self) -> bytes:
        return self._local_address()[1]

    @property
    def host(self) -> bytes:
        if self._line.authority:
            return self._line.authority_host()
        return self.block.host

    @property
    def request_id(self) -> bytes:
        if not self._request_id:
            self._request_id = os.urandom(16).hex().encode()
        return self._request_id

    def header(self, name: bytes) -> bytes:
        return self.block.value(name)

    def _local_address(self) -> tuple[bytes, bytes]:
        name = self.client.transport.get_extra_info("sockname")
        if type(name) is tuple:
            return name[0].encode(), b"%d" % name[1]
        return b"unix:" + (name.encode() if isinstance(name, str) else b""), b""

    # --- from the client connection

    def start(self, *, complete: bool) -> None:
        """Route the request and make the first attempt; may answer at once."""
        self.complete = complete
        line = self._line
        if line.target == b"*":
            self._answer(204, reason="local")
            return
        raw_path, _, self.query = line.target.partition(b"?")
        generation = self.generation
        try:
            decision = generation.decided((raw_path, line.method)) or generation.decide(
                raw_path, line.method
            )
        except DownstreamError as error:
            self.client.keep_alive = False
            self._answer(error.status, reason="client_error")
            return
        self.path, route, self.captures, accesses = decision
        if route is None:
            self._answer(404, reason="local")
            return
        self.route = route
        if accesses:
            for access in accesses:
                if not access.permits(self.client.remote_addr):
                    self._answer(403, reason="local")
                    return
        length = self.block.content_length
        if length is not None and length > route.max_body > 0:
            self._answer(413, reason="client_error")
            return
        if route.respond is not None:
            self._send(route.respond, "local")
            return
        target = route.target or route.choose(self)
        if target is None:
            self._answer(502, reason="local")
            return
        self.pool = target.pool
        try:
            self._render(route.plan, target)
        except DownstreamError as error:
            self._answer(error.status, reason="client_error")
            return
        self._attempt()

    def _render(self, plan: HeadPlan, target: PoolTarget) -> None:
        """The header block for the server, and the sticky key. One connection sends the same
        block again and again, so what was made of it is remembered there."""
        client = self.client
        key = target.key
        cached: Remembered | None = client.cached  # type: ignore[assignment]
        if cached is not None and cached[0] is plan and not self._line.authority:
            _, self._fields, self._close_upstream, cached_key, known = cached
            if key is not None:
                self._key = known if key is cached_key else key.render(self)
            return
        self._fields, self._close_upstream = plan.render(self, self.block)
        remembered = None
        if key is not None:
            try:
                self._key = key.render(cast("RequestView", FieldsView(self)))
                remembered = key
            except RequestNeededError:
                self._key = key.render(self)
        if plan.cacheable and not self._line.authority:
            client.cached = (plan, self._fields, self._close_upstream, remembered, self._key)

    def request_body(self, payload: bytes) -> None:
        """More of the body: on to the server, or kept until there is one."""
        self.bytes_received += len(payload)
        route = self.route
        if route is None:
            return
        block = self.block
        if block.chunked:
            if self.bytes_received > route.max_body > 0:
                self._give_up_server()
                self._answer_or_cut(413, "client_error")
                return
            payload = encode_chunk(payload)
        server = self.server
        self._keep(payload)
        if server is not None:
            self._sent = True
            server.write(payload)
        elif self._body_size > BODY_HIGH_WATER:
            self.client.pause_reading()

    def _keep(self, framed: bytes) -> None:
        """Keep the body for a retry while it is small, and all of it while there is no server."""
        if self.server is not None and self._body_size + len(framed) > REPLAY_BODY:
            self._body = None
        elif self._body is not None:
            self._body.append(framed)
        elif self._body_size == 0:
            self._body = [framed]
        self._body_size += len(framed)

    def request_end(self) -> None:
        """The body is complete."""
        self.complete = True
        if self.block.chunked:
            self._keep(LAST_CHUNK)
        server = self.server
        if server is not None:
            if self.block.chunked:
                server.write(LAST_CHUNK)
            server.request_sent()

    def bad_request(self, error: DownstreamError) -> None:
        """The body is malformed or late."""
        self._give_up_server()
        self.client.keep_alive = False
        self._answer_or_cut(
            error.status, "client_timeout" if error.status == 408 else "client_error"
        )

    def client_gone(self, reason: str) -> None:
        """The client closed or reset: the server's work is of no use any more."""
        if self._tunnel and self.server is not None:
            server, self.server = self.server, None
            self._release(failed=False)
            self._note_attempt(101)
            server.close()
            self._log("ok")
            return
        self._give_up_server()
        if self.status == 0:
            self.status = _CLIENT_CLOSED_REQUEST
        self._log(reason)

    def client_half_closed(self) -> bool:
        """FIN after a whole request. nginx takes that for a client that is gone
        (``proxy_ignore_client_abort off``), and for a closed browser tab it is right."""
        if self._tunnel:
            server = self.server
            if server is None or self._half_closed:
                return False
            self._half_closed = True
            server.write_eof()
            return True
        return self.route is not None and self.route.settings.ignore_client_abort

    def client_writable(self, writable: bool) -> None:
        server = self.server
        if server is not None:
            if writable:
                server.resume_reading()
            else:
                server.pause_reading()

    def tunnel_data(self, data: bytes) -> None:
        if self.server is not None:
            self.bytes_received += len(data)
            self.server.write(data)

    # --- attempts

    def _attempt(self) -> None:
        pool = self.pool
        route = self.route
        assert pool is not None
        assert route is not None
        handler = self._handler
        index = pool.balancer.pick(self._key, self._tried, handler.wheel.now)
        if index is None:
            self._answer(502, reason="upstream_error")
            return
        self.index = index
        self._balanced = True
        pool.balancer.acquired(index)
        if handler.access_log is not None:
            self._attempt_started = handler.loop.time()
            self._connect_time = self._header_time = -1.0
        connection = pool.take(index)
        if connection is not None:
            self._assign(connection)
        else:
            settings = route.settings
            self._connecting = pool.connect(
                index,
                self,
                timeout=settings.connect_timeout,
                keepalive=settings.socket_keepalive,
            )

    def connected(self, connection: ServerConnection) -> None:
        """From the pool: a new connection is there."""
        self._connecting = None
        self._assign(connection)

    def connect_failed(self, error: UpstreamError) -> None:
        """From the pool: no connection could be made."""
        self._connecting = None
        self._failed(error)

    def _assign(self, connection: ServerConnection) -> None:
        route = self.route
        assert route is not None
        self.server = connection
        line = self._line
        if self._handler.access_log is not None:
            self._connect_time = (
                0.0 if connection.requests else self._handler.loop.time() - self._attempt_started
            )
        head = b"%b %b HTTP/1.1\r\n%b" % (line.method, line.target, self._fields)
        body = self._body
        if body:
            head += b"".join(body)
            if self._body_size > REPLAY_BODY:
                self._body = None
        self._sent = True
        # Rendered already; a held sync keeps nothing that can be done without.
        self.query = b""
        connection.start(
            self,
            head,
            route.rules,
            sent=self.complete,
            head_request=line.method == b"HEAD",
            upgrade=line.minor == 1 and self.block.upgrade != b"",
            close=self._close_upstream,
        )
        if not self.complete:
            if self.block.expect_continue and line.minor and not self.bytes_received:
                self.client.write(_CONTINUE)
            if not connection.write_blocked:
                self.client.resume_reading()

    def server_failed(self, error: UpstreamError) -> None:
        """From the server connection: it is gone."""
        self.server = None
        if self._tunnel:
            self._release(failed=False)
            self._note_attempt(101)
            self._log("upstream_timeout" if _is_timeout(error) else "ok")
            self.client.close()
            return
        if self.status:
            self._release(failed=True)
            self._note_attempt(self.status)
            self._log("upstream_timeout" if _is_timeout(error) else "upstream_error")
            self._cut()
            return
        self._failed(error)

    def _failed(self, error: UpstreamError) -> None:
        """Nothing of an answer has reached the client: another server, or 502 or 504."""
        pool, route = self.pool, self.route
        assert pool is not None
        assert route is not None
        failure = error.failure
        self._release(failed=failure is not Failure.STALE)
        self._note_attempt(0)
        self._handler.report(self, error)
        if failure is not Failure.STALE:
            if not self._tried:
                self._tried = set()
            assert isinstance(self._tried, set)
            self._tried.add(self.index)
        settings = route.settings
        limit = settings.next_upstream_tries or len(pool.settings.servers)
        elapsed = self._handler.loop.time() - self._started
        if (
            may_retry(
                failure,
                self._line.method,
                sent=self._sent,
                replayable=self._body_size == 0 or self._body is not None,
                conditions=route.next_upstream,
            )
            and len(self._tried) < limit
            and not 0 < settings.next_upstream_timeout <= elapsed
        ):
            self._sent = False
            self._attempt()
        else:
            self._answer(
                status_for(failure),
                reason="upstream_timeout" if _is_timeout(error) else "upstream_error",
            )

    def _give_up_server(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        server, self.server = self.server, None
        if self._balanced:
            self._release(failed=False)
            self._note_attempt(self.status)
        if server is not None:
            server.abort()

    def _release(self, *, failed: bool) -> None:
        if self._balanced and self.pool is not None:
            self._balanced = False
            self.pool.balancer.released(self.index, failed, self._handler.wheel.now)

    def _note_attempt(self, status: int) -> None:
        if self.pool is None or self._handler.access_log is None:
            return
        attempt = Attempt(
            self.pool.settings.servers[self.index].address,
            status,
            self._connect_time,
            self._header_time,
            self._handler.loop.time() - self._attempt_started,
        )
        if self._attempts is None:
            self._attempts = [attempt]
        else:
            self._attempts.append(attempt)

    # --- from the server connection

    def whole_response(self, head: ResponseHead, payload: bytes, framed: bytes) -> None:
        """All of an answer in one read, which most answers to a sync are."""
        minor = self._line.minor
        if self.generation.compression is not None or (framed and not minor):
            self.response(head, [payload], True)
            return
        shape = head.shape
        client = self.client
        self.status = status = shape.status
        if status == 401:
            self._token_refused()
        self.bytes_sent = len(payload)
        if self._handler.access_log is not None:
            self._header_time = self._handler.loop.time() - self._attempt_started
        keep_alive = client.can_persist
        client.keep_alive = keep_alive
        client.transport.write(
            b"".join(
                (
                    shape.before,
                    head.date or date_line(int(time.time())),
                    shape.after,
                    _CHUNKED if framed else b"Content-Length: %d\r\n" % len(payload),
                    b"\r\n" if keep_alive and minor else connection_end(minor, keep_alive),
                    framed or payload,
                )
            )
        )
        self._finish()

    def response(self, head: ResponseHead | None, pieces: list[bytes], done: bool) -> None:
        """What one read from the server brought, on to the client."""
        client = self.client
        if head is not None:
            compression = self.generation.compression
            if compression is not None:
                self._compress(compression, head, pieces, done)
        if self._compressor is not None:
            pieces = self._compressed(pieces, done)
        size = 0
        for piece in pieces:
            size += len(piece)
        self.bytes_sent += size
        out = self._client_head(head, size if done else -1) if head is not None else []
        if self._chunked_out:
            if size:
                out.append(b"%x\r\n" % size)
                out += pieces
                out.append(b"\r\n")
            if done:
                out.append(LAST_CHUNK)
        else:
            out += pieces
        if out:
            client.write(out[0] if len(out) == 1 else b"".join(out))
        if done:
            self._finish()

    def _compress(
        self, compression: Compression, head: ResponseHead, pieces: list[bytes], done: bool
    ) -> None:
        """Start to compress this answer if its kind and size allow it, and the client does."""
        shapes = compression.shapes(head, sum(map(len, pieces)) if done else -1)
        if shapes is None:
            return
        head.shape, compressed = shapes
        if compression.wanted(self.block, self._line.minor):
            self._compressor = zlib.compressobj(compression.level, zlib.DEFLATED, _GZIP_WINDOW)
            head.shape = compressed

    def _compressed(self, pieces: list[bytes], done: bool) -> list[bytes]:
        """What came in one read goes out at once: a client may be waiting for it."""
        compressor = self._compressor
        assert compressor is not None
        out = [compressor.compress(piece) for piece in pieces]
        out.append(compressor.flush(zlib.Z_FINISH if done else zlib.Z_SYNC_FLUSH))
        return [piece for piece in out if piece]

    def _client_head(self, head: ResponseHead, size: int) -> list[bytes]:
        """The head for the client. ``size``: bytes of the body as sent, if all of it is here."""
        shape = head.shape
        client = self.client
        minor = self._line.minor
        self.status = status = shape.status
        if status == 401:
            self._token_refused()
        if self._handler.access_log is not None:
            self._header_time = self._handler.loop.time() - self._attempt_started
        keep_alive = client.can_persist
        # RFC 9110 section 6.6.1: a proxy adds the Date that its server left out.
        out = [shape.before, head.date or date_line(int(time.time())), shape.after]
        framing = head.framing
        compressed = self._compressor is not None
        if compressed and size >= 0:
            out.append(b"Content-Length: %d\r\n" % size)
        elif compressed or framing in (BY_CHUNKS, BY_CLOSE):
            if minor:
                self._chunked_out = True
                out.append(_CHUNKED)
            else:
                keep_alive = False  # HTTP/1.0 knows the end of such a body by the close only
        elif head.content_length >= 0 and status >= 200 and status != 204:
            out.append(b"Content-Length: %d\r\n" % head.content_length)
        client.keep_alive = keep_alive
        out.append(connection_end(minor, keep_alive))
        return out

    def _token_refused(self) -> None:
        self.generation.users.refused(
            self.block.value(b"authorization"), self._line.target.partition(b"?")[2]
        )

    def _finish(self) -> None:
        server, self.server = self.server, None
        self._release(failed=False)
        if server is not None:
            server.finish()
        if self._handler.access_log is not None:
            self._note_attempt(self.status)
            self._log("ok")
        self.client.finish()

    def server_writable(self, writable: bool) -> None:
        if writable:
            self.client.resume_reading()
        else:
            self.client.pause_reading()

    def switched(self, head: ResponseHead, early: bytes) -> None:
        """101 (RFC 9110 section 15.2.2): from here both sides are passed on as they are."""
        self._tunnel = True
        self.status = 101
        client = self.client
        shape = head.shape
        client.write(
            b"".join(
                (
                    shape.before,
                    head.date,
                    shape.after,
                    b"Upgrade: %b\r\nConnection: upgrade\r\n\r\n" % shape.upgrade,
                    early,
                )
            )
        )
        self.bytes_sent += len(early)
        sent_early = client.start_tunnel()
        if sent_early:
            self.tunnel_data(sent_early)

    def tunnel_reply(self, data: bytes) -> None:
        self.bytes_sent += len(data)
        self.client.write(data)

    def tunnel_reply_end(self) -> bool:
        if self._half_closed:
            return False
        self._half_closed = True
        self.client.write_eof()
        return True

    # --- ends

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

    def _answer_or_cut(self, status: int, reason: str) -> None:
        if self.status:
            self._log(reason)
            self._cut()
        else:
            self._answer(status, reason=reason)

    def _cut(self) -> None:
        """The answer stays incomplete, and the client must be able to see that."""
        self.client.exchange = None
        if self._chunked_out or self.bytes_sent == 0:
            self.client.close()
        else:
            self.client.abort()

    def _log(self, reason: str) -> None:
        handler = self._handler
        if handler.access_log is None:
            return
        block = self.block
        line = self._line
        route, pool = self.route, self.pool
        attempts = self._attempts or []
        duration = handler.loop.time() - self._started
        handler.access_log.write(
            ExchangeRecord(
                started=time.time() - duration,
                remote_addr=self.client.remote_addr,
                method=line.method,
                target=line.target,
                version=b"HTTP/1.1" if line.minor else b"HTTP/1.0",
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


def _is_timeout(error: UpstreamError) -> bool:
    return status_for(error.failure) == 504
