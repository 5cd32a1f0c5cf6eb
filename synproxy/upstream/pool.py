"""A pool: the servers of one group, their idle connections, and how new ones are made.

Idle connections are kept as nginx's ``keepalive`` does: a bounded number over all servers, the
least recently used goes first. Must not know clients or routes.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import TYPE_CHECKING, Final, Protocol

from synproxy.core.balance import Balancer
from synproxy.core.wheel import TimerWheel
from synproxy.errors import Failure, UpstreamError
from synproxy.upstream.connection import ServerConnection

if TYPE_CHECKING:
    from collections.abc import Callable

    from synproxy.config.model import Pool

_BACKLOG_FULL_RETRY: Final = 0.01
"""Seconds until a UNIX socket whose listen backlog is full is tried again. nginx gives up at once
(its well-known "11: Resource temporarily unavailable"); a worker that is merely busy accepts
again soon."""


class Connector(Protocol):
    """Who waits for a new connection: an exchange."""

    def connected(self, connection: ServerConnection) -> None: ...

    def connect_failed(self, error: UpstreamError) -> None: ...


class Connecting:
    """A connection in the making; may be given up."""

    __slots__ = ("_task", "_timed_out", "_timeout", "_wheel", "deadline", "visit", "waiter")

    def __init__(
        self, pool: ServerPool, index: int, waiter: Connector, timeout: float, keepalive: bool
    ) -> None:
        self.waiter: Connector | None = waiter
        self._wheel = pool.wheel
        self._timed_out = False
        self._timeout = timeout
        self.deadline = pool.wheel.now + timeout
        self.visit = 0.0
        self._wheel.watch(self)
        self._task = asyncio.get_running_loop().create_task(self._connect(pool, index, keepalive))

    def cancel(self) -> None:
        """Nobody waits any more."""
        self.waiter = None
        self._task.cancel()

    def expire(self, now: float) -> None:
        """The connect timeout has passed; called by the wheel."""
        self._timed_out = True
        self._task.cancel()

    async def _connect(self, pool: ServerPool, index: int, keepalive: bool) -> None:
        try:
            connection = await pool.open(index, keepalive)
        except asyncio.CancelledError:
            self._wheel.forget(self)
            if self._timed_out:
                self._failed(Failure.CONNECT_TIMEOUT, f"not connected within {self._timeout:g} s")
                return
            raise
        except OSError as error:
            self._wheel.forget(self)
            self._failed(Failure.CONNECT, error.strerror or type(error).__name__)
            return
        self._wheel.forget(self)
        waiter, self.waiter = self.waiter, None
        if waiter is None:
            connection.abort()
        else:
            waiter.connected(connection)

    def _failed(self, failure: Failure, reason: str) -> None:
        waiter, self.waiter = self.waiter, None
        if waiter is not None:
            waiter.connect_failed(UpstreamError(failure, reason))


class ServerPool:
    """One pool of a loaded configuration."""

    __slots__ = ("_idle", "_order", "balancer", "name", "retired", "settings", "wheel")

    def __init__(self, name: str, settings: Pool, wheel: TimerWheel) -> None:
        self.name = name
        self.settings = settings
        self.wheel = wheel
        self.balancer = Balancer(settings)
        self.retired = False
        self._idle: list[list[ServerConnection]] = [[] for _ in settings.servers]
        self._order: dict[ServerConnection, None] = {}

    @property
    def idle_connections(self) -> int:
        return len(self._order)

    def take(self, index: int) -> ServerConnection | None:
        """The idle connection to a server that was used last, if there is one."""
        idle = self._idle[index]
        while idle:
            connection = idle.pop()
            del self._order[connection]
            if not connection.transport.is_closing():
                return connection
        return None

    def release(self, connection: ServerConnection) -> None:
        """Keep a connection for later, within the bounds."""
        settings = self.settings
        now = self.wheel.now
        if (
            self.retired
            or settings.keepalive == 0
            or connection.requests >= settings.keepalive_requests
            or now - connection.created > settings.keepalive_time
            or connection.transport.is_closing()
        ):
            connection.abort()
            return
        if len(self._order) >= settings.keepalive:
            oldest = next(iter(self._order))
            self.forget(oldest)
            oldest.abort()
        connection.deadline = now + settings.keepalive_timeout
        if connection.deadline < connection.visit:
            self.wheel.hasten(connection)
        self._idle[connection.index].append(connection)
        self._order[connection] = None

    def forget(self, connection: ServerConnection) -> None:
        """An idle connection is no longer usable."""
        if connection in self._order:
            del self._order[connection]
            self._idle[connection.index].remove(connection)

    def retire(self) -> None:
        """Close what is idle, and keep nothing any more: another generation has taken over."""
        self.retired = True
        for connection in list(self._order):
            self.forget(connection)
            connection.abort()

    def connect(
        self, index: int, waiter: Connector, *, timeout: float, keepalive: bool
    ) -> Connecting:
        """Begin to open a connection; ``waiter`` hears how it went."""
        return Connecting(self, index, waiter, timeout, keepalive)

    async def open(self, index: int, keepalive: bool) -> ServerConnection:
        """A new connection.

        :raises OSError: it could not be made.
        """
        loop = asyncio.get_running_loop()
        address = self.settings.servers[index].address

        def factory() -> ServerConnection:
            return ServerConnection(self, index)

        if address.startswith("unix:"):
            return await _open_unix(loop, factory, address[5:])
        host, _, port = address.rpartition(":")
        transport, connection = await loop.create_connection(
            factory, host.strip("[]"), int(port or 80)
        )
        if keepalive:  # nginx proxy_socket_keepalive
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return connection


async def _open_unix(
    loop: asyncio.AbstractEventLoop, factory: Callable[[], ServerConnection], path: str
) -> ServerConnection:
    while True:
        try:
            _, connection = await loop.create_unix_connection(factory, path)
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise
            await asyncio.sleep(_BACKLOG_FULL_RETRY)
        else:
            return connection
