"""A pool: the servers of one group, their idle connections, and how new ones are made.

Idle connections are kept as nginx's ``keepalive`` does: a bounded number over all servers, the
least recently used goes first. Requests that must wait do so in its lobby. Must not know clients or
routes.
"""

from __future__ import annotations

import asyncio
import errno
import re
import socket
from ssl import SSLError
from typing import TYPE_CHECKING, Any, Final, Protocol

from synproxy.config.certificates import CertificateError, client_context, openssl_reason
from synproxy.core.balance import Balancer
from synproxy.core.health import Status
from synproxy.core.limits import EXHAUSTED
from synproxy.core.names import ResolvedServer, is_service
from synproxy.core.wheel import TimerWheel
from synproxy.errors import Failure, UpstreamError
from synproxy.upstream.connecting import connected_socket
from synproxy.upstream.connection import ServerConnection
from synproxy.upstream.lobby import Lobby

if TYPE_CHECKING:
    from collections.abc import Callable
    from ssl import SSLContext

    from synproxy.config.model import Pool, Server, UpstreamTls
    from synproxy.core.waiting import Ticket
    from synproxy.upstream.watch import Watch, Watches

_BACKLOG_FULL_RETRY: Final = 0.01
"""Seconds until a UNIX socket whose listen backlog is full is tried again. nginx gives up at once
(its well-known "11: Resource temporarily unavailable"); a worker that is merely busy accepts
again soon."""


_REFUSING: Final = frozenset({errno.ECONNREFUSED, errno.ENOENT})
"""Nobody listens there."""
_ERROR_NUMBER: Final = re.compile(r"\[Errno ([0-9]+)\]")


class Connector(Protocol):
    """Who waits for a new connection: an exchange, or the watch of a server."""

    def connected(self, connection: ServerConnection) -> None: ...

    def connect_failed(self, error: UpstreamError) -> None: ...

    def proxy_header(self) -> bytes:
        """The PROXY protocol header that says whose the connection is, where a pool sends one."""


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
        self._wheel.forget(self)  # a task that has not begun yet never will
        self._task.cancel()

    def expire(self, now: float) -> None:
        """The connect timeout has passed; called by the wheel."""
        self._timed_out = True
        self._task.cancel()

    async def _connect(self, pool: ServerPool, index: int, keepalive: bool) -> None:
        try:
            connection = await pool.open(index, keepalive, self.waiter)
        except asyncio.CancelledError:
            self._wheel.forget(self)
            if self._timed_out:
                self._failed(Failure.CONNECT_TIMEOUT, f"not connected within {self._timeout:g} s")
                return
            raise
        except OSError as error:
            self._wheel.forget(self)
            self._failed(_kind_of(error), _reason(error))
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

    __slots__ = (
        "_idle",
        "_keepalive",
        "_keepalive_requests",
        "_keepalive_time",
        "_keepalive_timeout",
        "_order",
        "_says_who",
        "_tls",
        "_watches",
        "balancer",
        "lobby",
        "name",
        "retired",
        "reuses",
        "settings",
        "wheel",
    )

    def __init__(self, name: str, settings: Pool, wheel: TimerWheel) -> None:
        self.name = name
        self.settings = settings
        self.wheel = wheel
        self.balancer = Balancer(settings)
        self.retired = False
        self.reuses = [0] * len(settings.servers)
        """By server: requests on connections that had carried another, of those that are closed."""
        self.lobby: Lobby | None = None
        """Where requests wait; only there while some do."""
        self._watches: list[Watch] = []
        self._tls: SSLContext | None = None
        """Made for the first connection."""
        # Attributes of a pydantic model are slow to look up.
        self._says_who = settings.send_proxy_protocol != "off"
        # A connection that says whose it is must not carry another client's request.
        self._keepalive = 0 if self._says_who else settings.keepalive
        self._keepalive_requests = settings.keepalive_requests
        self._keepalive_time = settings.keepalive_time
        self._keepalive_timeout = settings.keepalive_timeout
        self._idle: list[list[ServerConnection]] = [[] for _ in settings.servers]
        self._order: dict[ServerConnection, None] = {}

    @property
    def idle_connections(self) -> int:
        return len(self._order)

    def reuses_at(self, index: int) -> int:
        """As ``reuses``, with those of the connections that are idle."""
        idle = sum(connection.requests - 1 for connection in self._idle[index])
        return self.reuses[index] + idle

    def idle_at(self, index: int) -> int:
        """Idle connections to one server."""
        return len(self._idle[index])

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
        wheel = self.wheel
        now = wheel.now
        keepalive = self._keepalive
        order = self._order
        if (
            self.retired
            or keepalive == 0
            or connection.requests >= self._keepalive_requests
            or now - connection.created > self._keepalive_time
            or connection.transport.is_closing()
        ):
            connection.abort()
            return
        if len(order) >= keepalive:
            oldest = next(iter(order))
            self.forget(oldest)
            oldest.abort()
        connection.deadline = deadline = now + self._keepalive_timeout
        if deadline < connection.visit:
            wheel.hasten(connection)
        self._idle[connection.index].append(connection)
        order[connection] = None

    def forget(self, connection: ServerConnection) -> None:
        """An idle connection is no longer usable."""
        if connection in self._order:
            del self._order[connection]
            self._idle[connection.index].remove(connection)

    def take_over(self, old: ServerPool) -> None:
        """Keep the idle connections of the pool whose place this one takes, where the servers are
        the same and spoken to in the same way."""
        if old.settings.tls != self.settings.tls:
            return  # what was not verified, or not encrypted, would go on to be so
        indexes = {_where(server): n for n, server in enumerate(self.settings.servers)}
        for place, server in enumerate(old.settings.servers):
            if (index := indexes.get(_where(server))) is not None:
                self.reuses[index] += old.reuses[place]
        for connection in list(old._order):
            index = indexes.get(_where(old.settings.servers[connection.index]))
            if index is not None:
                old.forget(connection)
                connection.pool = self
                connection.index = index
                self.release(connection)

    def retire(self) -> None:
        """Close what is idle, and keep nothing any more: another generation has taken over."""
        self.retired = True
        for connection in list(self._order):
            self.forget(connection)
            connection.abort()
        for watch in self._watches:
            watch.prune()

    # --- the health of servers, and who waits for them

    @property
    def watched(self) -> bool:
        """Whether refused connections and checks have a say."""
        return bool(self._watches)

    def reason(self, index: int) -> str:
        """What took a watched server out; empty while it is up."""
        return self._watches[index].health.reason if self._watches else ""

    def watch(self, watches: Watches) -> None:
        """Begin to serve: watch the servers if the configuration wants it."""
        if self.settings.health_check is not None or self.settings.restart_hold:
            self._watches = [watches.of(self, index) for index in range(len(self._idle))]
            for index in range(len(self._watches)):
                self._subscribe(index)

    def _subscribe(self, index: int) -> None:
        """Hear of changes. A server that is marked down is nobody's concern."""
        if not self.settings.servers[index].down:
            self._watches[index].tell(self, index)

    @property
    def over(self) -> bool:
        """Retired, and no request needs it any more."""
        return self.retired and self.lobby is None and not self.balancer.in_use

    def restarting(self, index: int) -> bool:
        """Whether it is worth to wait for a server whose socket refuses."""
        return bool(self._watches) and self.balancer.health(index) == Status.RESTARTING

    def refused(self, index: int, reason: str) -> None:
        """A connection to a watched server was refused: its process is not there."""
        for connection in self._idle[index].copy():
            self.forget(connection)
            connection.abort()
        self._subscribe(index)  # a retired pool may have been forgotten
        self._watches[index].refused(reason)

    def drain(self, index: int, drained: bool) -> None:
        """Give a server no new requests, or give it some again; those under way go on."""
        if self.balancer.drained(index) == drained or self.settings.servers[index].down:
            return
        self.balancer.drain(index, drained)
        if drained:
            for connection in self._idle[index].copy():
                self.forget(connection)
                connection.abort()
        if self.lobby is not None:
            if drained:
                self.lobby.server_away(index)
            else:
                self.lobby.server_back(index)

    def server_changed(self, index: int, status: int) -> None:
        """From the watch of a server: its :class:`Status` is another one."""
        self.balancer.mark(index, status)
        if self.lobby is not None:
            if status == Status.UP:
                self.lobby.server_back(index)
            else:
                self.lobby.server_away(index)

    def server_answered(self, index: int) -> None:
        """From the watch of a server that was up before: it still is."""
        if self.lobby is not None:
            self.lobby.server_back(index)

    def hold(self, ticket: Ticket, *, confirm: int | None = None) -> bool:
        """Let a request wait for a server that restarts, or, with ``confirm``, until it is known
        whether that server still takes connections; False: too many wait already."""
        if self.lobby is None:
            self.lobby = Lobby(self)
        held = self.lobby.hold(ticket)
        if held and confirm is not None:
            self._watches[confirm].look_soon()
        return held

    def queue(self, ticket: Ticket) -> bool:
        """Let a request wait for a place on a full server; False: too many wait already."""
        if self.lobby is None:
            self.lobby = Lobby(self)
        return self.lobby.queue(ticket)

    def released(self, index: int, failed: bool, now: float) -> None:
        """An attempt has ended while requests wait."""
        self.balancer.released(index, failed, now)
        if self.lobby is not None:
            self.lobby.place_free(index)

    def leave(self, ticket: Ticket) -> None:
        """A request waits no more; harmless when it has been admitted."""
        if self.lobby is not None:
            self.lobby.leave(ticket)

    # --- new connections

    def connect(
        self, index: int, waiter: Connector, *, timeout: float, keepalive: bool
    ) -> Connecting:
        """Begin to open a connection; ``waiter`` hears how it went."""
        return Connecting(self, index, waiter, timeout, keepalive)

    async def open(
        self, index: int, keepalive: bool, waiter: Connector | None = None
    ) -> ServerConnection:
        """A new connection, which says whose it is if the pool wants it.

        :raises OSError: it could not be made.
        """
        loop = asyncio.get_running_loop()
        server = self.settings.servers[index]
        address = server.address
        first = waiter.proxy_header() if self._says_who and waiter is not None else b""

        def factory() -> ServerConnection:
            return ServerConnection(self, index)

        if address.startswith("unix:"):
            opened = await _open_unix(loop, factory, address[5:])
            if first:
                opened.transport.write(first)
            return opened
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        places: tuple[str, ...] = ()
        if isinstance(server, ResolvedServer):
            host, places = server.name, server.places
        elif server.resolve and is_service(address):
            raise OSError(errno.EADDRNOTAVAIL, f"the name {address} is not resolved yet")
        tls = self.settings.tls
        secure: dict[str, Any] = {}
        if tls is not None:
            if self._tls is None:
                self._tls = _client_context(tls)
            secure = {"ssl": self._tls, "server_hostname": tls.server_name or host}
        number = int(port or (80 if tls is None else 443))
        if first or places:
            sock = await connected_socket(loop, places or (host,), number, first)
            made = loop.create_connection(factory, sock=sock, **secure)
        else:
            made = loop.create_connection(factory, host, number, **secure)
        transport, connection = await made
        if keepalive:  # nginx proxy_socket_keepalive
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return connection


def _where(server: Server) -> tuple[str, ...]:
    """What has to be the same for a connection to be one to this server."""
    return (server.address, *(server.places if isinstance(server, ResolvedServer) else ()))


def _client_context(tls: UpstreamTls) -> SSLContext:
    try:
        return client_context(tls)
    except CertificateError as error:
        raise OSError(0, str(error)) from None


async def _open_unix(
    loop: asyncio.AbstractEventLoop, factory: Callable[[], ServerConnection], path: str
) -> ServerConnection:
    # The connect is our own: asyncio takes EAGAIN, which for a UNIX socket means that nothing
    # happened (connect(2)), for a connection that is on its way, and never hears of it again.
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        while True:
            try:
                sock.connect(path)
                break
            except BlockingIOError:
                await asyncio.sleep(_BACKLOG_FULL_RETRY)
    except BaseException:
        sock.close()
        raise
    _, connection = await loop.create_unix_connection(factory, sock=sock)
    return connection


def _reason(error: OSError) -> str:
    if isinstance(error, SSLError):
        return openssl_reason(error)
    return error.strerror or type(error).__name__


def _kind_of(error: OSError) -> Failure:
    """asyncio puts the errors of several addresses into one text."""
    numbers = [error.errno] if error.errno is not None else _numbers_in(str(error))
    if any(number in EXHAUSTED for number in numbers):
        return Failure.EXHAUSTED
    if numbers and all(number in _REFUSING for number in numbers):
        return Failure.REFUSED
    return Failure.CONNECT


def _numbers_in(text: str) -> list[int]:
    return [int(number) for number in _ERROR_NUMBER.findall(text)]
