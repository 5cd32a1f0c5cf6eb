"""Attempts: a server is chosen and connected to, and what follows when it fails.

What to do after a failure is decided in ``core.retry``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from synproxy.core.limits import REPLAY_BODY
from synproxy.core.retry import may_retry, status_for
from synproxy.errors import Failure, UpstreamError
from synproxy.proxy.relay import Relay

if TYPE_CHECKING:
    from synproxy.upstream.connection import ServerConnection

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Attempts(Relay):
    """Implements what the pool expects of who waits for a connection."""

    __slots__ = ()

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


def _is_timeout(error: UpstreamError) -> bool:
    return status_for(error.failure) == 504
