"""A small GET of synproxy's own to a server of a pool; the answer comes as a whole.

For questions that the proxy has itself, over the pool's own connections. Must not know what is
asked or why, nor choose the server.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from synproxy.core.response import ResponseHead
from synproxy.core.wheel import NEVER
from synproxy.errors import Failure, UpstreamError
from synproxy.upstream.connection import AttemptRules
from synproxy.wire.proxy_protocol import LOCAL_HEADER
from synproxy.wire.response_reader import ResponseReader

if TYPE_CHECKING:
    from synproxy.upstream.connection import ServerConnection
    from synproxy.upstream.pool import Connecting, ServerPool

BODY_LIMIT: Final = 64 * 1024
"""Bytes of an answer; a longer one counts as a failure."""

_RULES: Final = AttemptRules(ResponseReader(), NEVER, NEVER)
"""No timeouts: the whole request has one."""


class Fetched(NamedTuple):
    """What became of a request: an answer, or a failure and status 0."""

    status: int
    body: bytes
    error: UpstreamError | None = None


class Fetch:
    """One attempt. ``done`` is called once, from a callback of the connection, unless it is
    given up before. ``timeout``: seconds for all of it. ``fresh``: on a connection of its own,
    which ends with it."""

    __slots__ = (
        "_body",
        "_connecting",
        "_done",
        "_fresh",
        "_request",
        "_server",
        "_size",
        "_status",
        "_timeout",
        "_wheel",
        "deadline",
        "visit",
    )

    def __init__(
        self,
        pool: ServerPool,
        index: int,
        request: bytes,
        done: Callable[[Fetched], None],
        timeout: float,
        *,
        fresh: bool = False,
    ) -> None:
        self._request = request
        self._fresh = fresh
        self._done: Callable[[Fetched], None] | None = done
        self._timeout = timeout
        self._wheel = pool.wheel
        self._server: ServerConnection | None = None
        self._connecting: Connecting | None = None
        self._body: list[bytes] = []
        self._size = 0
        self._status = 0
        self.deadline = pool.wheel.now + timeout
        self.visit = 0.0
        self._wheel.watch(self)
        connection = None if fresh else pool.take(index)
        if connection is not None:
            self.connected(connection)
        else:
            self._connecting = pool.connect(index, self, timeout=timeout, keepalive=False)

    def give_up(self) -> None:
        """Nobody wants the answer any more."""
        self._done = None
        self._end(Fetched(0, b""))

    # --- from the pool and the connection

    def connected(self, connection: ServerConnection) -> None:
        self._connecting = None
        self._server = connection
        request, self._request = self._request, b""
        connection.start(
            self,
            request,
            _RULES,
            sent=True,
            head_request=False,
            upgrade=False,
            close=self._fresh,
        )

    def proxy_header(self) -> bytes:
        """The connection is nobody's but ours."""
        return LOCAL_HEADER

    def connect_failed(self, error: UpstreamError) -> None:
        self._connecting = None
        self._end(Fetched(0, b"", error))

    def whole_response(self, head: ResponseHead, payload: bytes, framed: bytes) -> None:
        self.response(head, [payload], True)

    def response(self, head: ResponseHead | None, pieces: list[bytes], done: bool) -> None:
        if head is not None:
            self._status = head.shape.status
        self._body += pieces
        self._size += sum(map(len, pieces))
        if self._size > BODY_LIMIT:
            self._fail(Failure.INVALID, f"an answer of more than {BODY_LIMIT} bytes")
        elif done:
            server, self._server = self._server, None
            if server is not None:
                server.finish()
            self._end(Fetched(self._status, b"".join(self._body)))

    def server_failed(self, error: UpstreamError) -> None:
        self._server = None
        self._end(Fetched(0, b"", error))

    def expire(self, now: float) -> None:
        """The time is up; called by the wheel."""
        self._fail(Failure.READ_TIMEOUT, f"no answer within {self._timeout:g} s")

    def server_writable(self, writable: bool) -> None:
        """Nothing is to be held back: the request has gone out whole."""

    def switched(self, head: ResponseHead, early: bytes) -> None:
        raise AssertionError("an upgrade that was not asked for is refused before")

    def tunnel_reply(self, data: bytes) -> None:
        raise AssertionError("there is no tunnel")

    def tunnel_reply_end(self) -> bool:
        raise AssertionError("there is no tunnel")

    # --- the end

    def _fail(self, failure: Failure, reason: str) -> None:
        self._end(Fetched(0, b"", UpstreamError(failure, reason)))

    def _end(self, fetched: Fetched) -> None:
        self._wheel.forget(self)
        self._request = b""
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        server, self._server = self._server, None
        if server is not None:
            server.abort()
        done, self._done = self._done, None
        if done is not None:
            done(fetched)
