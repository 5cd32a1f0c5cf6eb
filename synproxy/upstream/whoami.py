"""Asks Synapse whose token it is: ``GET /_matrix/client/v3/account/whoami``.

One question at a time for each token, a bounded number for all, and nobody waits for the answer.
Must not know what the answer is for. A token is held until its question has gone out, and written
nowhere else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from synproxy.core.retry import NOT_THE_SERVER
from synproxy.errors import Failure, UpstreamError
from synproxy.upstream.fetch import Fetch, Fetched

if TYPE_CHECKING:
    from synproxy.core.template import RequestView
    from synproxy.upstream.pool import ServerPool

CONCURRENCY: Final = 16
"""Questions under way at the same time."""

WAITING: Final = 1024
"""Questions that wait for their turn. Beyond, a token is asked about when it comes again."""

TIMEOUT: Final = 10.0
"""Seconds for one question; matrix-authentication-service may have to be asked behind it."""

_NOTHING: Final = Fetched(0, b"", UpstreamError(Failure.CONNECT, "no server is up"))

_log = logging.getLogger("synproxy.whoami")


class Whoami:
    """The look-ups of one generation. ``learn`` gets the digest, the status (0: no answer) and
    the body of each answer."""

    __slots__ = ("_failing", "_learn", "_pool", "_questions", "_running", "_sending")

    def __init__(self, pool: ServerPool, learn: Callable[[bytes, int, bytes], None]) -> None:
        self._pool = pool
        self._learn = learn
        self._questions: dict[bytes, bytes] = {}
        """By digest, in order; empty once it has gone out."""
        self._running = 0
        self._sending = False
        self._failing = False

    def use(self, pool: ServerPool) -> None:
        """The pool has other servers: ask those from now on."""
        self._pool = pool

    def ask(self, digest: bytes, token: bytes, view: RequestView) -> None:
        """See :class:`synproxy.core.user_key.Ask`. ``token`` fits into a field line."""
        questions = self._questions
        if digest in questions or len(questions) >= CONCURRENCY + WAITING:
            return
        # With the client's own address and program: Synapse writes down who used the token, and
        # an application service may be bound to addresses.
        questions[digest] = (
            b"GET /_matrix/client/v3/account/whoami HTTP/1.1\r\n"
            b"Host: %b\r\nX-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\n"
            b"User-Agent: %b\r\nAuthorization: Bearer %b\r\n\r\n"
        ) % (
            view.host or b"localhost",
            view.remote_addr,
            view.scheme,
            view.header(b"user-agent") or b"synproxy",
            token,
        )
        self._send()

    def _send(self) -> None:
        """Send what may be sent. Not from inside of itself: when no server can be tried, one
        question after the other is over at once."""
        if self._sending:
            return
        self._sending = True
        while self._running < CONCURRENCY:
            digest = next((digest for digest, request in self._questions.items() if request), None)
            if digest is None:
                break
            request, self._questions[digest] = self._questions[digest], b""
            self._running += 1
            _Question(self._pool, request, partial(self._answered, digest)).attempt()
        self._sending = False

    def _answered(self, digest: bytes, fetched: Fetched) -> None:
        self._running -= 1
        del self._questions[digest]
        self._learn(digest, fetched.status, fetched.body)
        self._note(fetched)
        self._send()

    def _note(self, fetched: Fetched) -> None:
        """Say when look-ups begin to fail and when they work again, not each time."""
        failing = fetched.status not in (200, 401)
        if failing and not self._failing:
            reason = fetched.error.reason if fetched.error else f"status {fetched.status}"
            _log.warning("pool %s cannot say whose tokens are: %s", self._pool.name, reason)
        elif self._failing and not failing:
            _log.info("pool %s says whose tokens are again", self._pool.name)
        self._failing = failing


class _Question:
    """One look-up: server after server until one answers."""

    __slots__ = ("_deadline", "_done", "_index", "_pool", "_request", "_tried")

    def __init__(self, pool: ServerPool, request: bytes, done: Callable[[Fetched], None]) -> None:
        self._pool = pool
        self._request = request
        self._done = done
        self._tried: set[int] = set()
        self._deadline = pool.wheel.now + TIMEOUT
        self._index = 0

    def attempt(self, last: Fetched = _NOTHING) -> None:
        pool = self._pool
        now = pool.wheel.now
        index = pool.balancer.pick(b"", self._tried, now)
        if index is None or now >= self._deadline:
            self._request = b""
            self._done(last)
            return
        self._index = index
        pool.balancer.acquired(index)
        Fetch(pool, index, self._request, self._fetched, self._deadline - now)

    def _fetched(self, fetched: Fetched) -> None:
        error = fetched.error
        stale = error is not None and error.failure is Failure.STALE
        pool = self._pool
        failed = error is not None and error.failure not in NOT_THE_SERVER
        pool.released(self._index, failed, pool.wheel.now)
        if error is None:
            self._request = b""
            self._done(fetched)
            return
        if error.failure is Failure.REFUSED and pool.watched:
            pool.refused(self._index, error.reason)
        if not stale:
            self._tried.add(self._index)
        self.attempt(fetched)
