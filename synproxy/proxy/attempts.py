"""Attempts: a server is chosen and connected to, and what follows when it fails or none is left.

Whether to repeat is decided in ``core.retry``, whom to ask in ``core.balance``. The ways on, in
this order: wait for a place, wait for a restart, another pool, the last resort (ADR 7 and 9).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from synproxy.core.balance import ANY
from synproxy.core.health import Status
from synproxy.core.limits import REPLAY_BODY
from synproxy.core.misroute import may_be_unrecognized
from synproxy.core.retry import NOT_THE_SERVER, may_retry, status_for
from synproxy.core.target import split_target
from synproxy.core.waiting import Ticket
from synproxy.errors import Failure, UpstreamError
from synproxy.proxy.detour import CUTS, Detour, Doubt
from synproxy.proxy.relay import Relay
from synproxy.wire.proxy_protocol import Endpoints, header_v2

if TYPE_CHECKING:
    from synproxy.core.response import ResponseHead
    from synproxy.proxy.generation import PoolTarget
    from synproxy.upstream.connection import ServerConnection

_COME_AGAIN: Final = 5.0
"""Seconds that clients are told to stay away when servers are full or restart."""


class Attempts(Relay):
    """Implements what the pool expects of who waits for a connection, or with a ticket."""

    __slots__ = ()

    def _attempt(self, index: int | None = None) -> None:
        """Try the server ``index``, or the one that is next."""
        pool = self.pool
        route = self.route
        assert pool is not None
        assert route is not None
        handler = self._handler
        if index is None:
            index = pool.balancer.pick(self._key, self._detour, handler.wheel.now)
            if index is None:
                self._no_server()
                return
        connection = pool.take(index)
        if connection is None and pool.restarting(index) and self._hold(index):
            return
        self.index = index
        self._balanced = True
        pool.balancer.acquired(index)
        if handler.access_log is not None:
            self._attempt_started = handler.loop.time()
            self._connect_time = self._header_time = -1.0
        elif self._detour:
            self._attempt_started = handler.loop.time()
        if connection is not None:
            self._assign(connection)
        else:
            self._note("connect", pool.settings.servers[index].address)
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

    def proxy_header(self) -> bytes:
        """From the pool: whose the connection is."""
        client, port = self.remote_addr.decode(), int(self.remote_port or 0)
        address, own_port = self.server_addr.decode(), int(self.server_port or 0)
        return header_v2(Endpoints(client, port, address, own_port))

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
        deadlines = route.deadlines
        connection.start(
            self,
            head,
            route.rules if deadlines is None else deadlines.rules(line.method, line.target),
            sent=self.complete,
            head_request=line.method == b"HEAD",
            upgrade=line.minor == 1 and self.block.upgrade != b"",
            close=self._close_upstream,
        )
        if not self.complete:
            if self.block.expect_continue and line.minor and not self.bytes_received:
                self.client.send_continue()
            if not connection.write_blocked:
                self.client.resume_reading()

    def _give_up_server(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        if self._detour:
            self._leave()
        server, self.server = self.server, None
        if self._balanced:
            self._release(failed=False)
            self._note_attempt(self.status)
        if server is not None:
            server.abort()

    # --- failures

    def server_failed(self, error: UpstreamError) -> None:
        """From the server connection: it is gone."""
        self.server = None
        if self._tunnel:
            self._release(failed=False)
            self._note_attempt(101)
            self._log("upstream_timeout" if _is_timeout(error.failure) else "ok")
            self.client.close()
            return
        if self.status:
            if self._handler.metrics is not None:
                self._handler.metrics.failed(self, error)
            self._release(failed=True)
            self._note_attempt(self.status)
            self._log("upstream_timeout" if _is_timeout(error.failure) else "upstream_error")
            self._cut()
            return
        self._failed(error)

    def _failed(self, error: UpstreamError) -> None:
        """Nothing of an answer has reached the client: wait, another server, or 502 or 504."""
        pool, route = self.pool, self.route
        assert pool is not None
        assert route is not None
        failure = error.failure
        if self._handler.metrics is not None:
            self._handler.metrics.failed(self, error)
        refused = failure is Failure.REFUSED and pool.watched
        self._release(failed=failure not in NOT_THE_SERVER and not refused)
        self._note_attempt(0)
        if refused:
            pool.refused(self.index, error.reason)
        again = may_retry(
            failure,
            self._line.method,
            sent=self._sent,
            replayable=self._replayable,
            conditions=route.next_upstream,
        )
        if not (refused or (again and self._may_be_a_restart(failure))):
            self._handler.report(self, error)  # of restarts the watch tells the log, once
        settings = route.settings
        tries = (self._detour.tries if self._detour else 0) + (failure is not Failure.STALE)
        elapsed = self._handler.loop.time() - self._started
        elsewhere = (
            again
            and not 0 < settings.next_upstream_tries <= tries
            and not 0 < settings.next_upstream_timeout <= elapsed
        )
        if failure is not Failure.STALE:
            if pool.settings.restart_hold and self._wait_after(failure, again, elsewhere):
                return
            self._own_detour().tried.add(self.index)
        if not elsewhere:
            self._answer_failure(failure)
            return
        self._sent = False
        if self._detour and len(self._detour.tried) >= len(pool.settings.servers):
            self._no_server(failure)
        else:
            self._note("retry", failure.value)
            self._attempt()

    def _may_be_a_restart(self, failure: Failure) -> bool:
        """Whether a server that hung up without a byte may be going away. One that has done so
        before, to the same request, may as well be unable to bear it."""
        pool, detour = self.pool, self._detour
        assert pool is not None
        return (
            pool.settings.restart_hold > 0
            and failure in (Failure.CLOSED, Failure.STALE)
            and (not detour or detour.cuts < CUTS)
            and pool.balancer.health(self.index) != Status.DOWN
        )

    def _wait_after(self, failure: Failure, again: bool, elsewhere: bool) -> bool:
        """Whether the request waits, or goes on, because its server may be restarting.

        ``again``: it may be sent to a server again; ``elsewhere``: also to another one.
        """
        pool = self.pool
        assert pool is not None
        stays = (pool.balancer.sticky and self._key) or not elsewhere
        detour = self._own_detour()
        if failure is Failure.REFUSED:
            if not pool.restarting(self.index):
                return False
            if stays:
                return self._hold(self.index)
            if 0 < detour.hold_until <= self._handler.wheel.now:
                return False
        else:
            if not again or not self._may_be_a_restart(failure):
                return False
            detour.cuts += 1
            if stays:
                return self._hold(self.index, confirm=self.index)
            detour.tried.add(self.index)
            detour.cut_by = self.index
            self._sent = False
        self._note("retry", failure.value)
        self._attempt()
        return True

    def _no_server(self, failure: Failure | None = None) -> None:
        """No server of the pool can take the request. ``failure``: of the last attempt, if all
        were tried."""
        pool = self.pool
        assert pool is not None
        balancer, tried = pool.balancer, self._detour
        now = self._handler.wheel.now
        home = balancer.awaited(self._key, tried, now)
        if home is not None:
            if pool.settings.queue is not None:
                if self._queue(home):
                    return
                index = balancer.spill(self._key, tried, now)
                if index is not None:
                    self._note("spill", pool.settings.servers[index].address)
                    self._attempt(index)
                    return
            self._answer(429, reason="overload", retry_after=_COME_AGAIN)
            return
        if self._hold_for_any():
            return
        target = self.generation.targets[pool.name].fallback
        if target is not None:
            self._note("fallback", target.pool.name)
            self._use(target)
            self._attempt()
            return
        if pool.watched:
            index = balancer.last_resort(self._key, tried, now)
            if index is not None:
                self._note("last_resort", pool.settings.servers[index].address)
                self._attempt(index)
                return
            if not balancer.any_up:
                self._answer(503, reason="upstream_error", retry_after=_COME_AGAIN)
                return
        self._answer_failure(failure or Failure.CONNECT)

    def _answer_failure(self, failure: Failure) -> None:
        if failure is Failure.EXHAUSTED:
            self._answer(503, reason="overload", retry_after=_COME_AGAIN)
            return
        self._answer(
            status_for(failure),
            reason="upstream_timeout" if _is_timeout(failure) else "upstream_error",
        )

    def _use(self, target: PoolTarget) -> None:
        """From now on the servers of another pool are asked."""
        self._own_detour().enter_pool()
        self.pool = target.pool
        self.query = split_target(self._line.target)[1]
        self._key = b"" if target.key is None else target.key.render(self)

    def _note(self, event: str, detail: str = "") -> None:
        """Count a turn of the way, if anybody does."""
        metrics, pool = self._handler.metrics, self.pool
        if metrics is not None and pool is not None:
            metrics.note(event, pool.name, detail)

    # --- waiting

    def _own_detour(self) -> Detour:
        detour = self._detour
        if not isinstance(detour, Detour):
            detour = self._detour = Detour()
        return detour

    def _hold_for_any(self) -> bool:
        """Wait for whichever server is back first, if any may be."""
        pool, detour = self.pool, self._detour
        assert pool is not None
        if not pool.settings.restart_hold:
            return False
        if detour and detour.cut_by >= 0:
            cut_by, detour.cut_by = detour.cut_by, -1
            if pool.balancer.health(cut_by) != Status.DOWN:
                detour.tried.discard(cut_by)
                return self._hold(ANY, confirm=cut_by)
        return pool.balancer.restarting(detour) and self._hold(ANY)

    def _hold(self, home: int, *, confirm: int | None = None) -> bool:
        """Wait for a server that restarts; ``confirm``: one that has to be looked at, for it may.
        False: the request has waited long enough, or too many do."""
        pool = self.pool
        assert pool is not None
        detour = self._own_detour()
        now = self._handler.wheel.now
        if not detour.hold_until:
            detour.hold_until = now + pool.settings.restart_hold
        if now >= detour.hold_until:
            return False
        detour.queued = False
        detour.ticket = ticket = self._ticket(home, detour.hold_until)
        if not pool.hold(ticket, confirm=confirm):
            detour.ticket = None
            detour.hold_until = now
            self._note("hold_full")
            return False
        self._note("hold")
        self._sent = False
        return True

    def _queue(self, home: int) -> bool:
        """Wait for a place on a full server; False as for :meth:`_hold`."""
        pool = self.pool
        assert pool is not None
        assert pool.settings.queue is not None
        detour = self._own_detour()
        now = self._handler.wheel.now
        if not detour.queue_until:
            detour.queue_until = now + pool.settings.queue.timeout
        if now >= detour.queue_until:
            return False
        detour.queued = True
        detour.ticket = ticket = self._ticket(home, detour.queue_until)
        if not pool.queue(ticket):
            detour.ticket = None
            detour.queue_until = now
            self._note("queue_full")
            return False
        self._note("queue")
        return True

    def _ticket(self, home: int, deadline: float) -> Ticket:
        return Ticket(self, self._key or self.client.remote_addr, home, deadline)

    def _leave(self) -> None:
        """Wait no more."""
        detour, pool = self._own_detour(), self.pool
        ticket, detour.ticket = detour.ticket, None
        if ticket is not None and pool is not None:
            pool.leave(ticket)

    def admitted(self) -> None:
        """From the lobby: its turn has come, or things have changed."""
        detour, pool = self._own_detour(), self.pool
        ticket, detour.ticket = detour.ticket, None
        assert ticket is not None
        assert pool is not None
        home = ticket.home
        self._attempt(home if home != ANY and pool.balancer.places(home) > 0 else None)

    def wait_over(self) -> None:
        """From the wheel: it has waited long enough; from the lobby: it has to make room."""
        self._leave()
        detour = self._own_detour()
        now = self._handler.wheel.now
        if detour.queued:
            self._note("queue_over")
            detour.queue_until = now
        else:
            self._note("hold_over")
            detour.hold_until = now
        self._attempt()

    # --- answers that tell of a wrong route

    def _doubt(self, head: ResponseHead, pieces: list[bytes], done: bool) -> bool:
        pool = self.pool
        assert pool is not None
        if (
            pool.settings.unrecognized is None
            or (self._detour and self._detour.judged)
            or not (self.complete and self._replayable)
            or not may_be_unrecognized(head)
        ):
            return False
        self._own_detour().judged = True
        doubt = Doubt(self, head)
        assert self.server is not None
        self.server.sink = doubt
        doubt.response(None, pieces, done)
        return True

    def trust(self) -> None:
        """From the doubt: the answer goes to the client after all."""
        assert self.server is not None
        self.server.sink = self

    def ask_again(self, status: int) -> None:
        """From the doubt: the server has no such endpoint, so nothing has been done there."""
        pool, server = self.pool, self.server
        assert pool is not None
        assert server is not None
        target = self.generation.targets[pool.name].unrecognized
        assert target is not None
        self.server = None
        if self._handler.access_log is not None:
            self._header_time = self._handler.loop.time() - self._attempt_started
        self._release(failed=False)
        self._note_attempt(status)
        server.finish()
        self._handler.misrouted(self, target.pool.name)
        self._use(target)
        self._sent = False
        self._attempt()


def _is_timeout(failure: Failure) -> bool:
    return status_for(failure) == 504
